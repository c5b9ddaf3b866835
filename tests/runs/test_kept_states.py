"""What clients keep comes back to the bit, and an object does not change."""

import collections
import gc
import hashlib
import os
import pathlib
import tempfile

import hypothesis
import numpy as np
import pytest
import tree
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tff_pipeline.files import storage
from tff_pipeline.runs import checkpoint_folder
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptIndex, KeptStates
from tff_pipeline.runs.state_files import InvalidCheckpointError

# A quiet NaN with a payload that arithmetic would change, and -0.0.
NAN = np.array([0x7FC12345, 0x80000000], np.uint32).view(np.float32)

INITIAL = {
    "variates": (np.zeros((2, 3), np.float32), np.zeros(2, np.float32)),
    "rounds": np.int64(0),
    "seen": [np.zeros((0, 4), np.int32), np.bool_(False), ()],
}
SERVER = {"a": np.float32(0)}


def row(number):
    return {
        "variates": (np.full((2, 3), number, np.float32), NAN * 1),
        "rounds": np.int64(number),
        "seen": [np.zeros((0, 4), np.int32), np.bool_(number % 2), ()],
    }


def bits(rows):
    """All that can be told apart in a nested structure of arrays."""
    return [
        (path, leaf.dtype.str, leaf.shape, leaf.tobytes())
        for path, leaf in (
            (path, np.asarray(leaf))
            for path, leaf in tree.flatten_with_path(rows)
        )
    ]


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "checkpoints")


@pytest.fixture
def fresh(folder):
    return KeptStates(folder, INITIAL)


def restored(kept):
    """What another process has, from the arrays of the index and the files."""
    arrays = {name: array.copy() for name, array in kept.index.arrays().items()}
    again = KeptStates(os.path.dirname(kept.files.folder), kept.initial)
    return again.restored(KeptIndex.from_arrays(arrays))


def files_of(folder):
    path = pathlib.Path(folder) / "kept_rows"
    return sorted(os.listdir(path)) if path.exists() else []


def file_of(kept, client_id):
    name = f"{kept.index.rows[client_id]}.row"
    return pathlib.Path(kept.files.folder) / name


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_who_never_took_part_has_the_initial_row(fresh):
    tree.assert_same_structure(fresh.rows(["a"])[0], INITIAL)
    assert bits(fresh.rows(["a", "b"])) == bits([INITIAL, INITIAL])
    assert fresh.rows([]) == []
    assert fresh.client_ids == []


def test_clients_get_back_what_they_gave_in_the_order_that_is_asked(fresh):
    kept = fresh.updated(["a", "b"], [row(1), row(2)])
    kept = kept.updated(["c", "a"], [row(3), row(4)])
    assert kept.client_ids == ["a", "b", "c"]
    rows = kept.rows(["c", "new", "a", "b", "a"])
    expected = [row(3), INITIAL, row(4), row(2), row(4)]
    for one, other in zip(rows, expected):
        tree.assert_same_structure(one, other)
    assert bits(rows) == bits(expected)


def test_the_one_that_came_last_counts_if_a_client_took_part_twice(fresh):
    kept = fresh.updated(["a", "a"], [row(1), row(2)])
    assert bits(kept.rows(["a"])) == bits([row(2)])


def test_a_row_that_was_read_may_be_written_to(fresh):
    kept = fresh.updated(["a"], [row(1)])
    kept.rows(["a"])[0]["variates"][0][:] = 9
    assert bits(kept.rows(["a"])) == bits([row(1)])


def test_an_object_is_not_changed_by_what_comes_after(fresh):
    second = fresh.updated(["a"], [row(1)])
    before = [fresh.digest(), second.digest()]
    third = second.updated(["a", "b"], [row(2), row(3)])
    assert bits(third.rows(["a", "b"])) == bits([row(2), row(3)])
    assert bits(second.rows(["a", "b"])) == bits([row(1), INITIAL])
    assert bits(fresh.rows(["a", "b"])) == bits([INITIAL, INITIAL])
    assert [fresh.digest(), second.digest()] == before


def test_nothing_changes_with_an_update_that_is_refused(fresh, folder):
    kept = fresh.updated(["a"], [row(1)])
    before = files_of(folder)
    wrong = {**row(3), "rounds": np.float32(3)}
    with pytest.raises(ValueError, match="Client b gave back"):
        kept.updated(["a", "b"], [row(2), wrong])
    assert bits(kept.rows(["a", "b"])) == bits([row(1), INITIAL])
    assert files_of(folder) == before


WRONG = [
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
]


@pytest.mark.parametrize("wrong", WRONG)
def test_rows_of_another_structure_are_refused(fresh, folder, wrong):
    with pytest.raises(ValueError, match="gave back"):
        fresh.updated(["a"], [wrong])
    # Nor are those that another algorithm wrote taken for this one's.
    other = KeptStates(folder, wrong).updated(["a"], [wrong])
    with pytest.raises(InvalidCheckpointError, match="another algorithm"):
        fresh.restored(other.index).rows(["a"])
    CheckpointStore(folder).save(1, SERVER, other)
    with pytest.raises(InvalidCheckpointError, match="another algorithm"):
        CheckpointStore(folder).load_latest(SERVER, fresh)


@pytest.mark.parametrize("rows", [[], [row(1)], [row(1)] * 3])
def test_there_is_a_row_for_each_client(fresh, rows):
    with pytest.raises(ValueError, match=f"2 clients gave back {len(rows)}"):
        fresh.updated(["a", "b"], rows)


def test_what_would_need_a_pickle_is_refused(fresh, folder):
    with pytest.raises(TypeError, match="is not an array"):
        KeptStates(folder, {"a": None})
    with pytest.raises(TypeError, match="rounds is not an array"):
        fresh.updated(["a"], [{**row(1), "rounds": object()}])


def test_arrays_that_are_no_index_are_refused(fresh):
    arrays = fresh.updated(["a", "b"], [row(1), row(2)]).index.arrays()
    for name, array in arrays.items():
        for wrong in (
            {n: a for n, a in arrays.items() if n != name},
            {**arrays, name: array[:1]},
            {
                **arrays,
                name: array.astype(np.uint16 if array.ndim == 2 else str),
            },
            {**arrays, "more": array},
        ):
            with pytest.raises(ValueError, match="are no index"):
                KeptIndex.from_arrays(wrong)


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
def test_rows_come_back_to_the_bit(folder, initial, ids):
    def changed(number):
        return tree.map_structure(
            lambda leaf: (
                np.asarray(leaf)[..., ::-1]
                if np.ndim(leaf)
                else np.asarray(leaf)
            ),
            initial,
        )

    kept = KeptStates(folder, initial).updated(ids, list(map(changed, ids)))
    again = restored(kept)
    asked = [*ids, "new"]
    for one, other in zip(again.rows(asked), kept.rows(asked)):
        tree.assert_same_structure(one, other)
    assert bits(again.rows(asked)) == bits(kept.rows(asked))
    assert bits(again.rows(asked)) == bits([*map(changed, ids), initial])
    assert again.digest() == kept.digest()
    assert again.client_ids == sorted(ids)


@hypothesis.given(
    rows=st.dictionaries(
        st.text(max_size=8),
        npst.arrays(np.uint32, 3, elements=st.integers(0, 2**32 - 1)).map(
            lambda array: array.view(np.float32)
        ),
        max_size=5,
    )
)
@hypothesis.example(rows={"a": NAN[[0, 1, 0]], "a\0": NAN[[1, 1, 0]]})
@hypothesis.settings(deadline=None, max_examples=40)
def test_any_bits_of_any_client_come_back(rows):
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptStates(folder, np.zeros(3, np.float32))
        kept = restored(kept.updated(list(rows), list(rows.values())))
        assert bits(kept.rows(list(rows))) == bits(list(rows.values()))


# What is on the disk.


def test_a_file_is_named_by_its_sum_and_tells_nobodys_name(fresh, folder):
    fresh.updated(["Jane Doe", "John Doe"], [row(1), row(2)])
    names = files_of(folder)
    assert len(names) == 2
    for name in names:
        path = pathlib.Path(folder) / "kept_rows" / name
        content = path.read_bytes()
        assert name == f"{hashlib.sha256(content).hexdigest()}.row"
        assert b"Doe" not in content


def test_a_file_holds_lines_and_bytes_that_need_no_pickle(folder):
    initial = collections.OrderedDict(
        control=np.zeros([2], "<f4"), rounds=np.array(0, "<i2")
    )
    kept = KeptStates(folder, initial).updated(
        ["a"], [{"control": np.array([1, 2], "<f4"), "rounds": np.int16(3)}]
    )
    assert file_of(kept, "a").read_bytes() == (
        b"control <f4 (2,)\n\0\0\x80?\0\0\0@rounds <i2 ()\n\x03\0"
    )


def test_only_rows_that_changed_are_written(fresh, folder, monkeypatch):
    kept = fresh.updated(["a", "b", "c"], [row(1), row(2), row(3)])
    created, create = [], storage.local.create

    def watched(path, mode=0o666):
        created.append(os.path.basename(path))
        return create(path, mode)

    monkeypatch.setattr(storage.local, "create", watched)
    # a keeps its row, b has another, c has the one that b had.
    kept = kept.updated(["a", "b", "c"], [row(1), row(4), row(2)])
    assert created == [f".tmp-{file_of(kept, 'b').name}"]
    assert bits(kept.rows(["a", "b", "c"])) == bits([row(1), row(4), row(2)])


def test_clients_with_the_same_row_share_a_file(fresh, folder):
    kept = fresh.updated(["a", "b"], [row(1), row(1)])
    assert len(files_of(folder)) == 1
    kept = kept.updated(["a"], [row(2)])
    CheckpointStore(folder).save(1, SERVER, kept)
    assert bits(kept.rows(["a", "b"])) == bits([row(2), row(1)])


def test_the_digest_is_of_who_keeps_what(fresh):
    kept = fresh.updated(["a", "b"], [row(1), row(2)])
    lines = "".join(
        f'{hashlib.sha256(file_of(kept, i).read_bytes()).hexdigest()} "{i}"\n'
        for i in ("a", "b")
    )
    assert kept.digest() == hashlib.sha256(lines.encode()).hexdigest()
    assert kept.digest() == kept.updated(["b"], [row(2)]).digest()
    others = [
        fresh,
        fresh.updated(["a"], [row(1)]),
        fresh.updated(["a", "b"], [row(2), row(1)]),
        fresh.updated(["a", "c"], [row(1), row(2)]),
        kept.updated(["a"], [{**row(1), "rounds": np.int64(7)}]),
    ]
    assert len({each.digest() for each in [kept, *others]}) == 6


def test_the_digest_reads_no_row(fresh):
    kept = fresh.updated(["a"], [row(1)])
    file_of(kept, "a").unlink()
    assert restored(kept).digest() == kept.digest()


def test_a_flipped_bit_of_any_byte_and_any_cut_of_a_row_is_found(fresh):
    kept = fresh.updated(["a"], [row(1)])
    path = file_of(kept, "a")
    whole = path.read_bytes()
    damaged = [
        whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :]
        for i in range(len(whole))
    ]
    damaged += [whole[:length] for length in range(len(whole))]
    for content in [*damaged, whole + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(InvalidCheckpointError, match=f"{path} is damaged"):
            kept.rows(["a"])
        assert not path.exists(), "put aside"
    path.write_bytes(whole)
    assert bits(kept.rows(["a"])) == bits([row(1)])


# Checkpoints.


def test_a_checkpoint_has_them_beside_the_state(fresh, folder):
    kept = fresh.updated(["b", "a"], [row(1), row(2)])
    CheckpointStore(folder).save(1, SERVER, kept, {"log": "x"})
    store = CheckpointStore(folder)
    saved = store.load_latest(SERVER, KeptStates(folder, INITIAL))
    assert bits(saved.kept.rows(["a", "b"])) == bits([row(2), row(1)])
    assert saved.kept.digest() == store.check(1).kept_state == kept.digest()
    assert saved.notes == store.check(1).notes == {"log": "x"}


def test_a_checkpoint_without_them_is_as_it_was(folder):
    CheckpointStore(folder).save(1, SERVER)
    assert os.listdir(folder) == ["round_000001"]
    names = os.listdir(os.path.join(folder, "round_000001"))
    assert sorted(names) == ["manifest.json", "state.npz"]
    assert CheckpointStore(folder).check(1).kept_state is None


def test_rows_that_lie_elsewhere_are_not_saved(folder, tmp_path):
    kept = KeptStates(str(tmp_path / "other"), INITIAL)
    with pytest.raises(ValueError, match="What clients keep lies in"):
        CheckpointStore(folder).save(1, SERVER, kept)


def train(store, kept, rounds):
    """Has two of five clients take part in each round; saves every second."""
    for number in rounds:
        ids = [f"client {(number + i) % 5}" for i in (0, 2)]
        kept = kept.updated(ids, [row(10 * number + i) for i in (0, 1)])
        if number % 2 == 0:
            store.save(number, SERVER, kept)
    return kept


def expected_rows(rounds):
    return {
        f"client {(number + i) % 5}": row(10 * number + place)
        for number in rounds
        for place, i in enumerate((0, 2))
    }


def assert_has(kept, rounds):
    expected = expected_rows(rounds)
    assert kept.client_ids == sorted(expected)
    assert bits(kept.rows(list(expected))) == bits(list(expected.values()))


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_every_checkpoint_that_is_left_has_all_its_rows(folder, keep):
    store = CheckpointStore(folder, keep)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 13))
    assert store.rounds() == list(range(2, 13, 2))[-keep:]
    for number in store.rounds():
        index = checkpoint_folder.CheckpointFolder.open(
            os.path.join(folder, f"round_{number:06d}"), number
        ).kept_index()
        assert_has(kept.restored(index), range(1, number + 1))


def test_rows_that_nobody_refers_to_are_removed(folder):
    store = CheckpointStore(folder, keep=1)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 13))
    assert files_of(folder) == sorted(f"{d}.row" for d in kept.row_digests)
    # Between checkpoints too, when the next one is saved.
    store = CheckpointStore(folder, keep=0)
    kept = train(store, kept, range(13, 14))
    thirteen = kept.updated(["client 3"], [row(999)])
    only_there = file_of(thirteen, "client 3").name
    assert only_there in files_of(folder)
    del thirteen
    train(store, kept, range(14, 15))
    assert only_there not in files_of(folder)


def test_rows_of_an_object_in_use_stay(folder):
    store = CheckpointStore(folder, keep=1)
    fresh = KeptStates(folder, INITIAL)
    second = fresh.updated(["a"], [row(1)])
    third = second.updated(["a"], [row(2)])
    fourth = third.updated(["a"], [row(3)])
    store.save(1, SERVER, third)
    for kept, number in ((second, 1), (third, 2), (fourth, 3)):
        assert bits(kept.rows(["a"])) == bits([row(number)])
    second = kept = None
    gc.collect()
    store.save(2, SERVER, third)
    assert files_of(folder) == sorted(
        file_of(each, "a").name for each in (third, fourth)
    )
    # A row that was removed is written again when it comes again.
    fifth = fourth.updated(["a"], [row(1)])
    assert bits(fifth.rows(["a"])) == bits([row(1)])


def test_what_a_killed_process_left_is_removed_when_a_run_goes_on(folder):
    store = CheckpointStore(folder)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 3))
    before = files_of(folder)
    train(store, kept, range(3, 4))
    (pathlib.Path(folder) / "kept_rows" / ".tmp-x.row").write_text("half")
    assert len(files_of(folder)) == len(before) + 3
    saved = CheckpointStore(folder).load_latest(
        SERVER, KeptStates(folder, INITIAL)
    )
    assert files_of(folder) == before
    assert_has(saved.kept, range(1, 3))


def test_all_rows_are_removed_if_nothing_was_saved(folder):
    KeptStates(folder, INITIAL).updated(["a"], [row(1)])
    gc.collect()
    store = CheckpointStore(folder)
    assert store.load_latest(SERVER, KeptStates(folder, INITIAL)) is None
    assert files_of(folder) == []


def test_rows_of_a_damaged_checkpoint_stay(folder):
    store = CheckpointStore(folder)
    train(store, KeptStates(folder, INITIAL), range(1, 5))
    before = files_of(folder)
    manifest = pathlib.Path(folder) / "round_000004" / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(b"{}")
    again = KeptStates(folder, INITIAL)
    assert CheckpointStore(folder).load_latest(SERVER, again).round_number == 2
    assert files_of(folder) == before
    manifest.write_bytes(whole)
    saved = CheckpointStore(folder).load_latest(SERVER, again)
    assert_has(saved.kept, range(1, 5))


@pytest.mark.parametrize("spoil", [flip, pathlib.Path.unlink])
def test_the_checkpoint_before_is_taken_if_a_row_is_not_right(
    folder, spoil, caplog
):
    store = CheckpointStore(folder)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 5))
    path = file_of(kept, "client 4")
    del kept
    spoil(path)
    with pytest.raises(InvalidCheckpointError, match=path.name):
        store.check(4)
    saved = CheckpointStore(folder).load_latest(
        SERVER, KeptStates(folder, INITIAL)
    )
    assert saved.round_number == 2
    assert "round_000004 lacks what a client keeps" in caplog.text
    assert str(path) in caplog.text
    # The rounds that come again mend the row.
    again = train(CheckpointStore(folder), saved.kept, range(3, 5))
    assert_has(again, range(1, 5))
    assert store.check(4).kept_state == again.digest()


def test_large_rows_are_checked_when_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "_READ_AT_START", 100)
    store = CheckpointStore(folder)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 5))
    path = file_of(kept, "client 4")
    del kept
    flip(path)
    fresh = KeptStates(folder, INITIAL)
    saved = CheckpointStore(folder).load_latest(SERVER, fresh)
    assert saved.round_number == 4
    with pytest.raises(InvalidCheckpointError) as raised:
        saved.kept.rows(["client 3", "client 4"])
    assert f"{path} is damaged" in str(raised.value)
    assert "start the run again" in str(raised.value)
    # It is then.
    saved = CheckpointStore(folder).load_latest(SERVER, fresh)
    assert saved.round_number == 2
    assert_has(saved.kept, range(1, 3))
    assert path.with_suffix(".damaged").exists()


def test_where_folders_are_not_renamed_it_is_the_same():
    folder = "ram://kept_states/checkpoints"
    store = CheckpointStore(folder, keep=1)
    kept = train(store, KeptStates(folder, INITIAL), range(1, 9))
    saved = CheckpointStore(folder).load_latest(
        SERVER, KeptStates(folder, INITIAL)
    )
    assert_has(saved.kept, range(1, 9))
    names = storage.file_system(folder).names(f"{folder}/kept_rows")
    assert names == sorted(f"{digest}.row" for digest in kept.row_digests)
