"""What clients keep comes back to the bit, and a store does not change."""

import collections
import copy

import hypothesis
import numpy as np
import pytest
import tree
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.client_states import ClientStates

# A quiet NaN with a payload that arithmetic would change, and -0.0.
NAN = np.array([0x7FC12345, 0x80000000], np.uint32).view(np.float32)

INITIAL = {
    "variates": (np.zeros((2, 3), np.float32), np.zeros(2, np.float32)),
    "rounds": np.int64(0),
    "seen": [np.zeros((0, 4), np.int32), np.bool_(False), ()],
}


def state(number):
    return {
        "variates": (np.full((2, 3), number, np.float32), NAN * 1),
        "rounds": np.int64(number),
        "seen": [np.zeros((0, 4), np.int32), np.bool_(number % 2), ()],
    }


def bits(states):
    """All that can be told apart in a nested structure of arrays."""
    return [
        (path, leaf.dtype.str, leaf.shape, leaf.tobytes())
        for path, leaf in (
            (path, np.asarray(leaf))
            for path, leaf in tree.flatten_with_path(states)
        )
    ]


def restored(store):
    """The store as another process has it, from its arrays alone."""
    return ClientStates(store.initial).restored(
        {name: array.copy() for name, array in store.arrays().items()}
    )


def test_who_never_took_part_has_the_initial_state():
    store = ClientStates(INITIAL)
    tree.assert_same_structure(store.of_clients(["a"])[0], INITIAL)
    assert bits(store.of_clients(["a", "b"])) == bits([INITIAL, INITIAL])
    assert store.of_clients([]) == []


def test_clients_get_back_what_they_gave_in_the_order_that_is_asked():
    store = ClientStates(INITIAL).updated(["a", "b"], [state(1), state(2)])
    store = store.updated(["c", "a"], [state(3), state(4)])
    found = store.of_clients(["c", "new", "a", "b", "a"])
    wanted = [state(3), INITIAL, state(4), state(2), state(4)]
    for one, other in zip(found, wanted):
        tree.assert_same_structure(one, other)
    assert bits(found) == bits(wanted)


def test_the_one_that_came_last_counts_if_a_client_took_part_twice():
    store = ClientStates(INITIAL).updated(["a", "a"], [state(1), state(2)])
    assert bits(store.of_clients(["a"])) == bits([state(2)])


def test_a_store_is_not_changed_by_what_comes_after():
    first = ClientStates(INITIAL)
    second = first.updated(["a"], [state(1)])
    before = [copy.deepcopy(store.arrays()) for store in (first, second)]
    third = second.updated(["a", "b"], [state(2), state(3)])
    assert bits(third.of_clients(["a", "b"])) == bits([state(2), state(3)])
    assert bits([first.arrays(), second.arrays()]) == bits(before)
    assert bits(second.of_clients(["a", "b"])) == bits([state(1), INITIAL])
    assert bits(first.of_clients(["a", "b"])) == bits([INITIAL, INITIAL])


def test_a_store_is_not_changed_by_an_update_that_is_refused():
    store = ClientStates(INITIAL).updated(["a"], [state(1)])
    wrong = {**state(3), "rounds": np.float32(3)}
    with pytest.raises(ValueError, match="Client b gave back"):
        store.updated(["a", "b"], [state(2), wrong])
    assert bits(store.of_clients(["a", "b"])) == bits([state(1), INITIAL])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        (),
        np.float32(1),
        {**INITIAL, "more": np.float32(1)},
        {name: INITIAL[name] for name in ("variates", "rounds")},
        {**INITIAL, "rounds": np.int32(0)},
        {**INITIAL, "rounds": np.zeros(1, np.int64)},
        {**INITIAL, "variates": INITIAL["variates"][::-1]},
        {**INITIAL, "variates": INITIAL["variates"][:1]},
        {**INITIAL, "variates": (np.zeros((3, 2), np.float32), NAN)},
    ],
)
def test_states_of_another_structure_are_refused(wrong):
    with pytest.raises(ValueError, match="gave back"):
        ClientStates(INITIAL).updated(["a"], [wrong])
    arrays = ClientStates(wrong).updated(["a"], [wrong]).arrays()
    with pytest.raises(ValueError, match="and this run has"):
        ClientStates(INITIAL).restored(arrays)


@pytest.mark.parametrize("states", [[], [state(1)], [state(1)] * 3])
def test_there_is_a_state_for_each_client(states):
    with pytest.raises(ValueError, match=f"2 clients gave back {len(states)}"):
        ClientStates(INITIAL).updated(["a", "b"], states)


def test_arrays_that_do_not_go_together_are_refused():
    store = ClientStates(INITIAL).updated(["a", "b"], [state(1), state(2)])
    arrays = store.arrays()
    for name in arrays:
        missing = {n: array for n, array in arrays.items() if n != name}
        short = {**arrays, name: arrays[name][:1]}
        for wrong in (missing, short):
            with pytest.raises(ValueError, match="and this run has"):
                store.restored(wrong)


@pytest.mark.parametrize(
    "initial",
    [
        np.float32(1.5),
        NAN,
        (),
        [],
        [(), {"a": ()}],
        {"a": {"b": [np.uint8(1), (np.float64(-0.0),)]}},
        collections.OrderedDict(b=np.int32(1), a=np.float16(2)),
        np.zeros((0, 3), np.float32),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        NAN.astype(">f4"),
        np.array([b"ab", b"c"]),
    ],
)
@pytest.mark.parametrize("ids", [[], ["a"], ["b", "a", "ä\N{SNOWMAN}", ""]])
def test_a_store_comes_back_to_the_bit(initial, ids):
    def changed(number):
        return tree.map_structure(
            lambda leaf: (
                np.asarray(leaf)[..., ::-1]
                if np.ndim(leaf)
                else np.asarray(leaf)
            ),
            initial,
        )

    store = ClientStates(initial).updated(ids, list(map(changed, ids)))
    again = restored(store)
    asked = [*ids, "new"]
    for one, other in zip(again.of_clients(asked), store.of_clients(asked)):
        tree.assert_same_structure(one, other)
    assert bits(again.of_clients(asked)) == bits(store.of_clients(asked))
    assert bits(again.of_clients(asked)) == bits([*map(changed, ids), initial])
    assert bits(again.arrays()) == bits(store.arrays())


@hypothesis.given(
    kept=st.dictionaries(
        st.text(max_size=8),
        npst.arrays(np.uint32, 3, elements=st.integers(0, 2**32 - 1)).map(
            lambda array: array.view(np.float32)
        ),
        max_size=5,
    )
)
@hypothesis.example(kept={"a": NAN[[0, 1, 0]], "a\0": NAN[[1, 1, 0]]})
def test_any_bits_of_any_client_come_back(kept):
    store = ClientStates(np.zeros(3, np.float32))
    store = restored(store.updated(list(kept), list(kept.values())))
    assert bits(store.of_clients(list(kept))) == bits(list(kept.values()))


def test_a_checkpoint_has_them_beside_the_state(tmp_path):
    store = ClientStates(INITIAL).updated(["b", "a"], [state(1), state(2)])
    checkpoints = CheckpointStore(str(tmp_path))
    checkpoints.save(1, {"a": np.float32(0)}, store, {"log": "x"})
    saved = checkpoints.load_latest({"a": np.float32(1)}, ClientStates(INITIAL))
    assert bits(saved.clients.of_clients(["a", "b"])) == bits(
        [state(2), state(1)]
    )
    assert bits(saved.clients.arrays()) == bits(store.arrays())
