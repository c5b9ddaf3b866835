"""What was saved is loaded bitwise, or refused; never something else."""

import collections
import contextlib
import gc
import hashlib
import io
import json
import os
import pickle
import shutil
import sys
import tempfile

import hypothesis
import numpy as np
import pytest
import tensorflow_federated as tff
import tree
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.testing.blocks import drawn_block
from tests.testing.resources import no_file_above
from tff_pipeline import errors, experiment
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    ServerConfig,
)
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.state_files import InvalidCheckpointError, write_arrays
from tff_pipeline.runtime.local import LocalWorker

ModelWeights = tff.learning.models.ModelWeights

# Quiet and signalling NaNs, with payloads that arithmetic would change.
NANS = np.array(
    [0x7FC00000, 0x7F800001, 0xFFC12345, 0x7FFFFFFF], np.uint32
).view(np.float32)
MANIFEST = "manifest.json"
TINY = {"model": (np.float32([1.5, np.nan]), np.int32(3)), "none": ()}


def bits(state):
    """Everything about a state's leaves that can be told apart."""
    return [
        (path, leaf.dtype.str, leaf.shape, leaf.tobytes())
        for path, leaf in (
            (path, np.asarray(leaf))
            for path, leaf in tree.flatten_with_path(state)
        )
    ]


def assert_same(loaded, saved):
    tree.assert_same_structure(loaded, saved)
    assert bits(loaded) == bits(saved)


def learning_state(trainable, non_trainable=()):
    """A server state as tff.learning makes them, with momentum."""
    return tff.learning.templates.LearningAlgorithmState(
        global_model_weights=ModelWeights(list(trainable), list(non_trainable)),
        distributor=(),
        client_work=(),
        aggregator=collections.OrderedDict(value_sum_process=(), weight=()),
        finalizer=collections.OrderedDict(
            learning_rate=np.float32(0.1),
            accumulator=[np.full_like(array, 0.5) for array in trainable],
        ),
    )


@pytest.fixture
def checkpoints(tmp_path):
    """Where `store` keeps its checkpoints."""
    return tmp_path / "checkpoints"


@pytest.fixture
def store(checkpoints):
    return CheckpointStore(str(checkpoints))


def damage(checkpoint):
    """Flips a bit in the middle of a checkpoint's arrays."""
    path = checkpoint / "state.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forge(checkpoint, state, **changes):
    """Puts other arrays into a checkpoint, with sums that fit them."""
    (checkpoint / "state.npz").write_bytes(state)
    content = json.loads((checkpoint / MANIFEST).read_text())["content"]
    content["sha256"]["state.npz"] = hashlib.sha256(state).hexdigest()
    content.update(changes)
    text = json.dumps(content, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest = {"content": content, "sha256": digest}
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "state",
    [
        np.arange(6, dtype=np.int64).reshape(2, 3),
        (),
        {"a": (), "b": [], "c": {}},
        {"nested": ({"deep": [np.float32(1.5)]}, (np.int32(-1), ()))},
        (NANS, NANS.reshape(2, 2)[:, :1], NANS.astype(">f4"), NANS[1]),
        [np.array(True), np.bool_(False), np.array([True, False])],
        [np.array(7, dtype) for dtype in (np.float32, np.int32, np.int64)],
        [np.zeros((0, 3), np.float32), np.zeros((2, 0), np.int32)],
        [np.float64(-0.0), np.float16(6e-8), np.uint8(255), np.complex64(1j)],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        list(np.arange(12)),
        learning_state([np.ones((2, 3), np.float32), NANS], [np.int64(2**62)]),
    ],
)
def test_a_state_is_loaded_bitwise_as_it_was_saved(store, state):
    store.save(3, state)
    assert_same(store.load(3, state), state)
    round_number, latest, *_ = store.load_latest(state)
    assert round_number == 3
    assert_same(latest, state)


dtypes = st.sampled_from(["<f4", "<f8", "<i4", "<i8", "?", "<f2", "|u1"])
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, min_side=0))
scalars = dtypes.flatmap(
    lambda dtype: npst.from_dtype(np.dtype(dtype)).map(np.dtype(dtype).type)
)
keys = st.text("abcxyz_0123456789", min_size=1)
states = st.recursive(
    arrays | scalars,
    lambda below: (
        st.dictionaries(keys, below, max_size=3)
        | st.lists(below, max_size=3)
        | st.lists(below, max_size=3).map(tuple)
    ),
)


@hypothesis.given(state=states)
@hypothesis.settings(max_examples=60, deadline=None)
def test_any_nested_state_is_loaded_bitwise_as_it_was_saved(state):
    with tempfile.TemporaryDirectory() as directory:
        store = CheckpointStore(directory)
        # Below a key: a field of a server state, as in a run.
        store.save(0, {"state": state})
        assert_same(store.load(0, {"state": state}), {"state": state})


def test_a_server_state_of_tff_is_loaded_bitwise_after_a_round(store):
    config = ExperimentConfig(
        data=DataConfig(task="digits_2nn", num_clients=3),
        clients=ClientConfig(clients_per_round=3),
        server=ServerConfig(optimizer=OptimizerConfig("server", "adam", 0.01)),
    )
    task = experiment.load_task(config)
    process = fed_avg.build(task.tff_model_fn, config.clients, config.server)
    batches = [
        drawn_block(task.train.load(name), client=i)
        for i, name in enumerate(task.train.client_ids)
    ]
    with LocalWorker():
        initial = process.initialize()
        state = process.next(initial, batches).state
        store.save(1, state)
        loaded = store.load(1, initial)
        assert_same(loaded, state)
        # The worker takes what was loaded as it takes what it gave.
        assert_same(
            process.next(loaded, batches).state,
            process.next(state, batches).state,
        )


def test_only_the_newest_are_kept(checkpoints):
    store = CheckpointStore(str(checkpoints), keep=2)
    kept = []
    for round_number in (1, 2, 9, 10, 1000000):
        store.save(round_number, {"round": np.int32(round_number)})
        kept.append(store.rounds())
    assert kept == [[1], [1, 2], [2, 9], [9, 10], [10, 1000000]]
    assert sorted(os.listdir(checkpoints)) == ["round_000010", "round_1000000"]
    for round_number in (10, 1000000):
        loaded = store.load(round_number, {"round": np.int32(0)})
        assert loaded["round"] == round_number


def test_0_keeps_all(checkpoints):
    store = CheckpointStore(str(checkpoints), keep=0)
    for round_number in range(20):
        store.save(round_number, TINY)
    assert store.rounds() == list(range(20))


@pytest.mark.parametrize("keep", [1, 2])
def test_what_was_just_saved_is_kept_beside_a_damaged_newer_one(
    checkpoints, keep
):
    store = CheckpointStore(str(checkpoints), keep=keep)
    for round_number in (5, 10):
        CheckpointStore(str(checkpoints)).save(round_number, TINY)
    damage(checkpoints / "round_000010")
    # The run goes on from round 5 and is saved again before round 10.
    assert store.load_latest(TINY)[0] == 5
    store.save(6, TINY)
    assert store.load_latest(TINY)[0] == 6


def test_rounds_of_a_future_that_is_trained_anew_are_dropped(
    store, checkpoints
):
    for round_number in (5, 10, 15):
        store.save(round_number, {"a": np.int32(0)})
    damage(checkpoints / "round_000015")
    damage(checkpoints / "round_000010")
    assert store.load_latest({"a": np.int32(0)})[0] == 5
    assert store.rounds() == [5, 10, 15], "until there is something better"
    store.save(6, {"a": np.int32(1)})
    assert store.rounds() == [5, 6]


def test_a_round_saved_again_is_replaced(store, checkpoints):
    store.save(4, {"a": np.float32(1)})
    store.save(4, {"b": np.int32(2)})
    assert_same(store.load(4, {"b": np.int32(0)}), {"b": np.int32(2)})
    assert os.listdir(checkpoints) == ["round_000004"]


def test_rounds_are_the_saved_ones_and_nothing_else(store, checkpoints):
    assert store.rounds() == []
    for round_number in (0, 9, 10):
        store.save(round_number, TINY)
    for name in (
        *("round_", "round_x", "round_-1", "round_1.5", "round_000003.old"),
        *(".tmp-round_000004-abc", "round", "notes", "000007"),
    ):
        (checkpoints / name).mkdir()
    (checkpoints / "README").write_text("not a checkpoint")
    assert store.rounds() == [0, 9, 10]


def test_what_a_killed_process_left_is_removed_when_a_run_goes_on(
    store, checkpoints
):
    store.save(1, TINY)
    (checkpoints / ".tmp-round_000002-abc").mkdir()
    (checkpoints / ".tmp-round_000002-abc" / "state.npz").write_text("half")
    assert store.load_latest(TINY)[0] == 1
    assert os.listdir(checkpoints) == ["round_000001"]


def each_damage(path, bits_of):
    """Flips each byte of `path` in turn; yields what was done.

    Args:
      path: The file; as it was when the generator ends.
      bits_of: Index of a byte -> the bits of it to flip, one after the other.
    """
    whole = path.read_bytes()
    for i in range(len(whole)):
        for bit in bits_of(i):
            flipped = whole[i] ^ (1 << bit)
            path.write_bytes(whole[:i] + bytes([flipped]) + whole[i + 1 :])
            yield f"byte {i} of {path.name}: {whole[i]:#x} -> {flipped:#x}"
    path.write_bytes(whole)


def each_truncation(path):
    """Cuts `path` to every shorter length in turn; yields what was done."""
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        yield f"{path.name} cut to {length} of {len(whole)} bytes"
    path.write_bytes(whole)


# The lowest makes another digit or letter, 5 another case or no punctuation.
TEXT_BITS = (0, 5)


def test_every_flipped_bit_is_found_or_harmless(store, checkpoints):
    store.save(1, TINY)
    folder = checkpoints / "round_000001"
    found = {"state.npz": 0, MANIFEST: 0}
    for name in found:
        # The arrays have a SHA-256: one bit a byte stands for them all.
        one = name == "state.npz"
        for what in each_damage(
            folder / name, lambda i, one=one: [i % 8] if one else TEXT_BITS
        ):
            try:
                loaded = store.load(1, TINY)
            except InvalidCheckpointError:
                found[name] += 1
            else:
                assert bits(loaded) == bits(TINY), what
    assert found["state.npz"] == (folder / "state.npz").stat().st_size
    assert found[MANIFEST] > 0
    assert_same(store.load(1, TINY), TINY)


@pytest.mark.parametrize("name", ["state.npz", MANIFEST])
def test_every_truncation_is_found(store, checkpoints, name):
    store.save(1, TINY)
    for what in each_truncation(checkpoints / "round_000001" / name):
        with pytest.raises(InvalidCheckpointError):
            pytest.fail(f"{what}, got {store.load(1, TINY)}")


def test_every_flipped_bit_is_found_or_harmless_to_the_weights(
    store, checkpoints
):
    state = learning_state([np.float32([1, 2]), np.float32([3, 4])])
    store.save(1, state)
    weights = state.global_model_weights
    manifest = checkpoints / "round_000001" / MANIFEST
    wrong = []
    for what in each_damage(manifest, lambda i: TEXT_BITS):
        with contextlib.suppress(InvalidCheckpointError):
            if bits(store.load_weights()[1]) != bits(weights):
                wrong.append(what)
    assert not wrong


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: os.remove(folder / MANIFEST),
        lambda folder: os.remove(folder / "state.npz"),
        lambda folder: shutil.rmtree(folder) or folder.mkdir(),
        lambda folder: shutil.rmtree(folder) or folder.write_text("a file"),
        lambda folder: (folder / MANIFEST).write_text("null"),
        lambda folder: (folder / MANIFEST).write_text("[]"),
        lambda folder: (folder / MANIFEST).write_text("{}"),
        lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
        lambda folder: (folder / "state.npz").write_bytes(bytes(4096)),
    ],
    ids=[
        *("no manifest", "no arrays", "empty folder", "a file", "null"),
        *("list", "object", "not text", "zeros"),
    ],
)
def test_a_spoilt_checkpoint_is_passed_over_and_named(
    store, checkpoints, caplog, spoil
):
    older, newest = {"a": NANS}, {"a": np.zeros_like(NANS)}
    for round_number, state in ((2, older), (7, older), (9, newest)):
        store.save(round_number, state)
    spoil(checkpoints / "round_000009")
    round_number, loaded, *_ = store.load_latest(newest)
    assert round_number == 7
    assert_same(loaded, older)
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(checkpoints / "round_000009") in warnings[0].getMessage()


def test_a_checkpoint_of_another_round_is_refused(store, checkpoints):
    store.save(1, TINY)
    (checkpoints / "round_000001").rename(checkpoints / "round_000002")
    with pytest.raises(InvalidCheckpointError, match="round 1"):
        store.load(2, TINY)


def test_if_all_are_damaged_that_is_an_error_and_no_fresh_start(
    store, checkpoints
):
    for round_number in (1, 2, 3):
        store.save(round_number, TINY)
        damage(checkpoints / f"round_{round_number:06d}")
    with pytest.raises(InvalidCheckpointError) as raised:
        store.load_latest(TINY)
    assert str(checkpoints) in str(raised.value)
    assert "--overwrite" in str(raised.value)
    assert store.rounds() == [1, 2, 3], "damaged ones are kept to look at"


def test_nothing_saved_is_no_error(store, checkpoints):
    assert store.load_latest(TINY) is None
    checkpoints.mkdir()
    assert store.load_latest(TINY) is None


def test_a_round_that_is_missing_is_refused(store):
    store.save(1, TINY)
    with pytest.raises(InvalidCheckpointError, match="round_000002"):
        store.load(2, TINY)


ONES = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("like", "named"),
    [
        ({"a": {"b": ONES.T}, "c": np.int32(0)}, ["a/b", "[3, 2]", "[2, 3]"]),
        ({"a": {"b": ONES.ravel()}, "c": np.int32(0)}, ["a/b", "[6]"]),
        (
            {"a": {"b": ONES.astype(np.float64)}, "c": np.int32(0)},
            ["a/b", "float32", "float64"],
        ),
        ({"a": {"b": ONES}, "c": np.int64(0)}, ["c", "int32", "int64"]),
        ({"a": {"b": ONES}, "c": np.int32([0])}, ["c", "int32[]", "int32[1]"]),
        ({"a": {"b": ONES}}, ["c", "None"]),
        ({"a": {"b": ONES}, "c": np.int32(0), "d": ONES}, ["d", "None"]),
        ({"a": {"x": ONES}, "c": np.int32(0)}, ["a/x"]),
        ({"a": (ONES,), "c": np.int32(0)}, ["a/0"]),
    ],
)
def test_another_structure_is_refused_and_the_array_named(store, like, named):
    store.save(1, {"a": {"b": ONES}, "c": np.int32(5)})
    for load in (lambda: store.load(1, like), lambda: store.load_latest(like)):
        with pytest.raises(InvalidCheckpointError) as raised:
            load()
        for words in named:
            assert words in str(raised.value)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("whole_file", [True, False])
def test_a_pickle_is_never_opened(store, checkpoints, tmp_path, whole_file):
    state = {"a": np.zeros(1, np.float32)}
    store.save(1, state)
    trace = tmp_path / "trace"
    objects = np.empty(1, object)
    objects[0] = Payload(trace)
    pickled = io.BytesIO()
    if whole_file:
        pickle.dump(objects, pickled)
    else:
        np.savez(pickled, a=objects)
    arrays = {"a": ["object", [1]]}
    forge(checkpoints / "round_000001", pickled.getvalue(), arrays=arrays)
    for load in (
        lambda: store.load(1, state),
        lambda: store.load_latest(state),
        store.load_weights,
    ):
        with pytest.raises(InvalidCheckpointError, match="pickle"):
            load()
    assert not trace.exists()
    # Opened, it would have left its trace.
    loaded = np.load(
        checkpoints / "round_000001" / "state.npz", allow_pickle=True
    )
    assert whole_file or loaded["a"].shape == (1,)
    assert trace.exists()


@pytest.mark.parametrize("leaf", [None, object(), np.array([1, "a"], object)])
def test_a_state_that_would_need_a_pickle_is_not_saved(
    store, checkpoints, leaf
):
    store.save(1, {"a": {"b": np.float32(0)}})
    for round_number in (1, 2):
        with pytest.raises(TypeError, match="a/b"):
            store.save(round_number, {"a": {"b": leaf}})
    assert os.listdir(checkpoints) == ["round_000001"]
    assert store.load_latest({"a": {"b": np.float32(0)}})[0] == 1


def test_weights_are_loaded_without_the_structure_and_in_order(store):
    trainable = [np.float32([i, -i]) for i in range(12)]
    trainable[11] = NANS
    fixed = [np.int32(i) for i in range(11)]
    store.save(3, learning_state(trainable, fixed))
    round_number, weights = store.load_weights()
    assert round_number == 3
    assert isinstance(weights, ModelWeights)
    assert bits(weights) == bits(ModelWeights(trainable, fixed))


def test_weights_are_of_the_round_asked_for_else_of_the_newest(store):
    for round_number in (2, 9, 10):
        store.save(round_number, learning_state([np.float32([round_number])]))
    for asked, got in ((2, 2), (9, 9), (10, 10), (None, 10)):
        round_number, weights = store.load_weights(asked)
        assert round_number == got
        assert weights.trainable == [np.float32([got])]


def test_weights_of_an_unknown_round_name_the_saved_ones(store, checkpoints):
    for round_number in (2, 10):
        store.save(round_number, learning_state([ONES]))
    with pytest.raises(errors.PipelineError) as raised:
        store.load_weights(3)
    assert "--round=3" in str(raised.value)
    assert "2, 10" in str(raised.value)
    assert str(checkpoints) in str(raised.value)


def test_weights_of_a_run_without_checkpoints_are_an_error(store, checkpoints):
    with pytest.raises(errors.RunDirectoryError) as raised:
        store.load_weights()
    assert str(checkpoints) in str(raised.value)


def test_weights_that_are_damaged_are_refused(store, checkpoints):
    for round_number in (1, 2):
        store.save(round_number, learning_state([ONES]))
    damage(checkpoints / "round_000001")
    with pytest.raises(errors.RunDirectoryError, match="round_000001"):
        store.load_weights(1)


def test_a_disk_that_fills_while_saving_leaves_what_was_saved(
    store, checkpoints
):
    small = {"a": np.zeros(10)}
    store.save(1, small)
    store.save(2, small)
    for round_number in (2, 3):
        with (
            pytest.raises(errors.RunDirectoryError) as raised,
            no_file_above(100_000),
        ):
            store.save(round_number, {"a": np.zeros(100_000)})
        path = checkpoints / f"round_{round_number:06d}"
        assert str(path) in str(raised.value)
        assert sorted(os.listdir(checkpoints)) == [
            "round_000001",
            "round_000002",
        ]
    assert_same(store.load(2, small), small)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = CheckpointStore(str(tmp_path / "file" / "checkpoints"))
    with pytest.raises(errors.RunDirectoryError) as raised:
        store.save(1, TINY)
    assert str(tmp_path / "file") in str(raised.value)


def test_python_has_nothing_to_add_of_a_disk_that_was_full(
    tmp_path, monkeypatch
):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    with no_file_above(1000), pytest.raises(OSError):
        write_arrays(str(tmp_path / "a.npz"), {"a": np.zeros(10_000)})
    gc.collect()
    assert not heard
