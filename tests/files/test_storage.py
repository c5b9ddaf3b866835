"""A run lies wherever TensorFlow has a file system; here in its memory."""

import errno
import json
import logging
import os

import numpy as np
import pytest

from tests.testing.scripts import run_script
from tff_pipeline import errors, experiment
from tff_pipeline.commands import saved_runs, verify
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.files import durable, storage
from tff_pipeline.files.append_only import Journal
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore

TINY = {"a": np.float32([1.5, np.nan])}


@pytest.fixture
def memory(request):
    """A folder of this test's own in TensorFlow's memory."""
    return f"ram://{request.node.name.partition('[')[0]}"


@pytest.fixture
def files():
    return storage.file_system("ram://")


def config_of(path, rounds):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=12),
        clients=ClientConfig(clients_per_round=3, batch_size=16),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=2,
            rounds_per_eval=2,
        ),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of 4 rounds here, and one there that stopped on its way."""
    here = str(tmp_path_factory.mktemp("here") / "run")
    there = "ram://test/run"
    experiment.run(config_of(here, 4))
    experiment.run(config_of(there, 2))
    assert experiment.run(config_of(there, 4)).round_number == 4
    return here, there


def log_of(path):
    """What happened in a run, without where."""
    return [
        {
            name: value
            for name, value in record.content.items()
            if name not in ("environment", "files")
        }
        for record in round_log.read(f"{path}/rounds.jsonl")
    ]


def rows_of(path):
    lines = storage.read_text(f"{path}/metrics.csv").splitlines()
    column = lines[0].split(",").index("seconds")
    return [
        [cell for i, cell in enumerate(line.split(",")) if i != column]
        for line in lines
    ]


def test_a_run_that_went_on_there_has_the_bits_of_one_here(runs):
    here, there = runs
    for name in ("round_000002", "round_000004"):
        state = [
            storage.file_system(path).read(
                f"{path}/checkpoints/{name}/state.npz"
            )
            for path in runs
        ]
        assert state[0] == state[1], name
    assert rows_of(there) == rows_of(here)
    kinds = [content["kind"] for content in log_of(there)]
    assert kinds.count("resumed") == 1
    assert [c for c in log_of(there) if c["kind"] == "round"] == [
        c for c in log_of(here) if c["kind"] == "round"
    ]
    assert log_of(there)[-1] == log_of(here)[-1]


def test_a_run_there_has_all_that_one_here_has(runs, files):
    here, there = runs
    assert files.names(there) == sorted(os.listdir(here))
    for folder in ("saved_model", "plots", "checkpoints", "tensorboard"):
        assert files.is_folder(f"{there}/{folder}")
    picture = files.read(f"{there}/plots/learning_curve.png")
    assert picture.startswith(b"\x89PNG")


def test_a_run_there_is_verified_and_a_change_is_found(runs, files):
    _, there = runs
    assert all(each.holds for each in verify.verify(there))
    path = f"{there}/checkpoints/round_000002/state.npz"
    whole = files.read(path)
    durable.write_bytes(path, whole[:-1] + b"x")
    said = [each.text for each in verify.verify(there) if not each.holds]
    durable.write_bytes(path, whole)
    assert len(said) == 1
    assert f"{there}/checkpoints/round_000002 is damaged" in said[0]
    path = f"{there}/saved_model/variables/variables.index"
    whole = files.read(path)
    files.remove(path)
    said = [each.text for each in verify.verify(there) if not each.holds]
    assert said == [f"{there}/saved_model was changed: {path[-25:]}."]
    durable.write_bytes(path, whole)
    assert all(each.holds for each in verify.verify(there))


def test_a_run_there_is_exported_and_evaluated(runs, files, tmp_path):
    here, there = runs
    target = "ram://test/model"
    assert saved_runs.export(there, target, round_number=2) == (2, [target])
    assert files.exists(f"{target}/saved_model.pb")
    with pytest.raises(errors.RunDirectoryError, match="exists"):
        saved_runs.export(there, target)
    path, report = saved_runs.evaluate(there)
    assert path == f"{there}/evaluations/round_000004.json"
    assert json.loads(storage.read_text(path)) == report
    assert report == saved_runs.evaluate(here)[1]


def test_another_experiment_is_refused_there_too(runs):
    _, there = runs
    other = config_of(there, 4)
    clients = ClientConfig(clients_per_round=4, batch_size=16)
    other = ExperimentConfig(other.data, clients, run=other.run)
    with pytest.raises(errors.ConfigError, match="clients_per_round"):
        experiment.run(other)


@pytest.mark.soak
def test_train_shows_a_run_there_to_the_end():
    done = run_script(
        "train.py",
        "--task=digits_2nn",
        "--partition=iid",
        "--num_clients=12",
        "--clients_per_round=3",
        "--total_rounds=1",
        "--aggregator=dp_gaussian",
        "--dp_clip=0.5",
        "--dp_delta=1e-3",
        "--dp_noise_multiplier=1",
        "--profile",
        "--output_dir=ram://train/run",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Privacy         ram://train/run/privacy.txt\n  " in done.stdout
    assert "SavedModel      ram://train/run/saved_model\n" in done.stdout


def test_files_are_written_read_and_removed(memory, files):
    path = f"{memory}/deep/er/file"
    with pytest.raises(FileNotFoundError) as raised:
        files.read(path)
    assert raised.value.errno == errno.ENOENT
    files.make_folder(f"{memory}/deep/er")
    assert files.is_folder(f"{memory}/deep/er")
    assert not files.exists(path)
    with files.create(path) as file:
        file.write(b"one")
    files.append(path, b" and two")
    assert files.exists(path) and not files.is_folder(path)
    assert (files.read(path), files.size(path)) == (b"one and two", 11)
    assert files.names(f"{memory}/deep") == ["er"]
    files.replace(path, f"{memory}/deep/er/other")
    assert files.names(f"{memory}/deep/er") == ["other"]
    storage.remove_any(f"{memory}/deep/er/other")
    assert files.names(f"{memory}/deep/er") == []
    for call in (files.remove, files.size, files.names):
        with pytest.raises(FileNotFoundError):
            call(path)
    storage.remove_any(memory)
    assert not files.exists(f"{memory}/deep")


def test_a_file_system_that_is_not_there_is_an_error_that_names_the_path():
    path = "nowhere://bucket/file"
    with pytest.raises(OSError) as raised:
        storage.file_system(path).read(path)
    assert raised.value.filename == path
    with pytest.raises(errors.RunDirectoryError) as refused:
        durable.write_text(path, "text")
    assert f"{path} cannot be written" in str(refused.value)


def test_write_text_replaces_what_is_there(memory, files):
    path = f"{memory}/file"
    for text in ("the old version, which is longer", "ä\N{SNOWMAN}\r\n", ""):
        durable.write_text(path, text)
        assert files.read(path).decode() == text
        assert files.names(memory) == ["file"]


def test_new_file_is_there_when_the_block_ends_well(memory, files):
    path = f"{memory}/deep/file"
    with (
        pytest.raises(ValueError),
        durable.new_file(path) as temporary,
    ):
        durable.write_text(temporary, "half")
        raise ValueError
    assert files.names(f"{memory}/deep") == []
    with durable.new_file(path) as temporary:
        durable.write_text(temporary, "whole")
        assert not files.exists(path)
    assert files.names(f"{memory}/deep") == ["file"]


def test_a_journal_grows_by_lines_and_begins_anew(memory, files):
    journal = Journal(f"{memory}/journal")
    journal.begin("one\n")
    journal.append("two ä\n")
    journal.append("three\n")
    journal.sync()
    assert files.read(journal.path).decode() == "one\ntwo ä\nthree\n"
    journal.begin("new\n")
    journal.append("line\n")
    assert files.read(journal.path) == b"new\nline\n"
    assert files.names(memory) == ["journal"]


def test_a_file_is_cut_to_its_first_bytes(memory, files):
    path = f"{memory}/file"
    durable.write_text(path, "one\ntwo\n")
    for size, content in ((8, b"one\ntwo\n"), (4, b"one\n"), (0, b"")):
        files.truncate(path, size)
        assert files.read(path) == content
    assert files.names(memory) == ["file"]


@pytest.mark.parametrize("half", [b"", b"tw"])
def test_a_line_that_was_not_written_whole_is_cut_off(
    memory, files, monkeypatch, half
):
    journal = Journal(f"{memory}/journal")
    journal.begin("one\n")
    append, failed = files.append, []

    def fail_once(path, content):
        if failed:
            return append(path, content)
        failed.append(path)
        append(path, half)
        raise OSError(errno.EAGAIN, "the store is busy", path)

    monkeypatch.setattr(files, "append", fail_once)
    journal.append("two\n")
    assert failed == [journal.path]
    journal.append("three\n")
    assert files.read(journal.path) == b"one\ntwo\nthree\n"


def test_remove_temporary_removes_temporary_names_only(memory, files):
    for name in (
        ".tmp-file",
        ".tmp-folder/below/file",
        "file",
        "folder/.tmp-x",
    ):
        files.make_folder(os.path.dirname(f"{memory}/{name}"))
        with files.create(f"{memory}/{name}") as file:
            file.write(b"content")
    durable.remove_temporary(memory)
    assert files.names(memory) == ["file", "folder"]
    assert files.names(f"{memory}/folder") == [".tmp-x"]


def fill(folder):
    os.makedirs(os.path.join(folder, "deep"))
    for name in ("a", "deep/b", "marker", "z"):
        with open(os.path.join(folder, name), "w") as file:
            file.write(name)


def test_folder_copies_all_and_its_marker_last(memory, files, monkeypatch):
    path, created, create = f"{memory}/folder", [], files.create

    def watched(target, mode=0o666):
        created.append(target)
        return create(target, mode)

    monkeypatch.setattr(files, "create", watched)
    for _ in range(2):
        created.clear()
        with durable.folder(path, "marker") as folder:
            fill(folder)
            # It is filled on this machine.
            assert storage.is_local(folder)
        assert created[-1] == f"{path}/marker"
        assert sorted(created) == [
            f"{path}/{name}" for name in ("a", "deep/b", "marker", "z")
        ]
        assert files.read(f"{path}/deep/b") == b"deep/b"
        assert not os.path.exists(folder)
    assert files.names(memory) == ["folder"]


def test_an_exception_in_the_block_leaves_a_folder_as_it_was(memory, files):
    path = f"{memory}/folder"
    with durable.folder(path, "marker") as folder:
        fill(folder)
    with pytest.raises(ValueError), durable.folder(path, "marker") as folder:
        raise ValueError
    assert files.names(path) == ["a", "deep", "marker", "z"]
    assert not os.path.exists(folder)


@pytest.fixture
def stop_at(files, monkeypatch):
    """Has the file layer stop for good before it creates its nth file."""

    def stop(place, error):
        create, created = files.create, []

        def stopping(target, mode=0o666):
            created.append(target)
            if len(created) == place:
                raise error
            return create(target, mode)

        monkeypatch.setattr(files, "create", stopping)
        return lambda: monkeypatch.setattr(files, "create", create)

    return stop


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.EPERM, "it may not")]
)
def test_a_checkpoint_without_its_manifest_is_passed_over(
    request, files, stop_at, place, error, caplog
):
    memory = f"ram://passed_over/{request.node.callspec.id}"
    store = CheckpointStore(memory)
    store.save(1, TINY, notes={"log": "first"})
    go_on = stop_at(place, error)
    with pytest.raises((KeyboardInterrupt, errors.RunDirectoryError)):
        store.save(2, {"a": TINY["a"] * 2})
    go_on()
    assert not files.exists(f"{memory}/round_000002/manifest.json")
    with caplog.at_level(logging.WARNING):
        saved = store.load_latest(TINY)
    assert (saved.round_number, saved.notes) == (1, {"log": "first"})
    assert saved.state["a"].tobytes() == TINY["a"].tobytes()
    named = "Passing over a checkpoint" in caplog.text
    assert named == (2 in store.rounds())
    # And the round is saved when it comes again.
    store.save(2, {"a": TINY["a"] * 2})
    assert store.load_latest(TINY).round_number == 2


def test_a_checkpoint_that_was_to_be_replaced_is_not_half_old(
    memory, files, stop_at
):
    store = CheckpointStore(memory)
    store.save(1, TINY)
    store.save(2, TINY)
    go_on = stop_at(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        store.save(2, {"a": TINY["a"] * 2})
    go_on()
    assert files.names(f"{memory}/round_000002") == ["state.npz"]
    assert store.load_latest(TINY).round_number == 1


def test_old_checkpoints_are_removed_there(memory, files):
    store = CheckpointStore(memory, keep=2)
    for number in range(1, 5):
        store.save(number, TINY)
    assert store.rounds() == [3, 4]
    assert files.names(memory) == ["round_000003", "round_000004"]
