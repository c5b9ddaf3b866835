"""Two processes never write one run directory, and a dead one is in no way."""

import collections
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.testing.scripts import ROOT, SCRIPTS, SMALL_RUN, rows_of, run_script
from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.runs import lock as run_lock

HOST = socket.gethostname()

# Holds the lock until it is told to end, by a line or by its death.
HOLD = """
import sys
from tff_pipeline.runs import lock as run_lock
with run_lock.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def child(source, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def refusal(path):
    with (
        pytest.raises(errors.RunDirectoryError) as raised,
        run_lock.held(str(path)),
    ):
        pass
    return str(raised.value)


def holder(**changes):
    """What a lock file says of this process, with changes."""
    me = {
        "host": HOST,
        "process": os.getpid(),
        "started": run_lock._started(os.getpid()),
    }
    return json.dumps({**me, **changes}) + "\n"


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "run" / "run.lock"


@pytest.fixture(params=["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def no_locks(request, monkeypatch):
    """A file system that has no locks, and says so in one of its ways."""
    number = getattr(errno, request.param)

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def dead():
    """The id of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def alive():
    """A process of another program."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def test_who_holds_it_stands_in_the_file_and_it_goes_at_the_end(lock):
    with run_lock.held(str(lock)):
        said = json.loads(lock.read_text())
        (lock.parent / "metrics.csv").write_text("")
    assert (said["host"], said["process"]) == (HOST, os.getpid())
    assert os.listdir(lock.parent) == ["metrics.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_it_goes_with_an_exception_too(lock, error):
    with pytest.raises(error), run_lock.held(str(lock)):
        raise error
    # Nor is a folder left of a run that came to nothing.
    assert not lock.parent.exists()
    with run_lock.held(str(lock)):
        pass


def test_a_living_holder_is_named_and_keeps_it(lock):
    with child(HOLD, lock) as process:
        assert process.stdout.readline() == "held\n"
        before = lock.read_text()
        said = refusal(lock)
        assert f"{lock.parent} is being written by process {process.pid} " in (
            said
        )
        assert f"on {HOST}; " in said
        assert "stop it, or give another --output_dir" in said
        # Who was refused took nothing away: it is still held.
        assert lock.read_text() == before
        assert f"process {process.pid} " in refusal(lock)
        process.communicate("end\n")
    assert process.returncode == 0
    with run_lock.held(str(lock)):
        assert json.loads(lock.read_text())["process"] == os.getpid()


def test_one_process_does_not_hold_it_twice(lock):
    with run_lock.held(str(lock)):
        assert f"process {os.getpid()} on {HOST}" in refusal(lock)
        assert json.loads(lock.read_text())["process"] == os.getpid()


def test_a_killed_holder_is_in_nobodys_way(lock):
    with child(HOLD, lock) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert json.loads(lock.read_text())["process"] == process.pid
    with run_lock.held(str(lock)):
        assert json.loads(lock.read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"process": "x"}', '{"host": "elsewhere"}']
)
def test_a_file_that_nobody_has_locked_is_nobodys(lock, text):
    lock.parent.mkdir()
    lock.write_text(text * 2)
    with run_lock.held(str(lock)):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert not lock.exists()


def test_a_lock_whose_file_is_unreadable_is_still_a_lock(lock):
    with child(HOLD, lock) as process:
        assert process.stdout.readline() == "held\n"
        lock.write_text("{")
        assert "is being written by process ? on ?;" in refusal(lock)
        process.communicate("end\n")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "run.lock"
    assert f"{path} cannot be written" in refusal(path)


# Each takes the lock a few times, and writes when it has it and until when.
TAKE_TURNS = """
import os, sys, time
from tff_pipeline import errors
from tff_pipeline.runs import lock as run_lock
path, witness, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
log = os.open(witness, os.O_WRONLY | os.O_APPEND)
print("ready", flush=True)
sys.stdin.readline()
while times:
    try:
        with run_lock.held(path):
            os.write(log, b"begin %d\\n" % os.getpid())
            time.sleep(0.002)
            os.write(log, b"end %d\\n" % os.getpid())
        times -= 1
    except errors.RunDirectoryError as error:
        assert "is being written by" in str(error), error
    time.sleep(0.001)
"""
PROCESSES, TURNS = 8, 5


def test_of_many_that_start_at_once_one_holds_it_at_any_time(lock):
    lock.parent.mkdir()
    witness = lock.with_name("witness")
    witness.write_text("")
    processes = [
        child(TAKE_TURNS, lock, witness, TURNS) for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    said = [line.split() for line in witness.read_text().splitlines()]
    assert [word for word, _ in said] == ["begin", "end"] * PROCESSES * TURNS
    begins, ends = said[::2], said[1::2]
    assert [who for _, who in begins] == [who for _, who in ends]
    held = collections.Counter(int(who) for _, who in begins)
    assert held == {process.pid: TURNS for process in processes}
    assert os.listdir(lock.parent) == ["witness"]


def test_it_works_where_there_are_no_locks(lock, no_locks):
    with run_lock.held(str(lock)):
        assert lock.read_text() == holder()
        (lock.parent / "metrics.csv").write_text("")
    assert os.listdir(lock.parent) == ["metrics.csv"]


def test_without_locks_a_living_holder_is_named(lock, no_locks, alive):
    lock.parent.mkdir()
    text = holder(process=alive, started=run_lock._started(alive))
    lock.write_text(text)
    assert f"written by process {alive} on {HOST};" in refusal(lock)
    assert lock.read_text() == text


@pytest.mark.parametrize(
    "text", ['{"host": "elsewhere", "process": 7, "started": 7}', "{"]
)
def test_without_locks_another_machine_is_believed(lock, no_locks, text):
    lock.parent.mkdir()
    lock.write_text(text)
    said = refusal(lock)
    assert ("process 7 on elsewhere" in said) == (text != "{")
    assert f"or if that process has ended, remove {lock}." in said
    assert lock.read_text() == text
    # The advice helps.
    lock.unlink()
    with run_lock.held(str(lock)):
        assert lock.read_text() == holder()


def test_without_locks_a_dead_holder_is_in_nobodys_way(lock, no_locks, dead):
    lock.parent.mkdir()
    lock.write_text(holder(process=dead))
    with run_lock.held(str(lock)):
        assert lock.read_text() == holder()
    assert not lock.exists()


def test_without_locks_a_number_that_is_used_again_is_another_process(
    lock, no_locks, alive
):
    lock.parent.mkdir()
    before = run_lock._started(alive) - 1
    lock.write_text(holder(process=alive, started=before))
    with run_lock.held(str(lock)):
        assert lock.read_text() == holder()
    assert not lock.exists()


def test_an_object_store_is_asked_who_holds_it(dead, alive):
    folder = "ram://test_run_lock"
    path, files = f"{folder}/run.lock", storage.file_system(folder)

    with run_lock.held(path):
        assert files.read(path).decode() == holder()
    assert files.names(folder) == []
    living = holder(process=alive, started=run_lock._started(alive))
    durable.write_text(path, living)
    assert f"{folder} is being written by process {alive} " in refusal(path)
    durable.write_text(path, holder(host="elsewhere"))
    assert f"if that process has ended, remove {path}." in refusal(path)
    for text in (holder(process=dead), holder(process=alive, started=1)):
        durable.write_text(path, text)
        with run_lock.held(path):
            assert files.read(path).decode() == holder()
        assert files.names(folder) == []


def test_train_is_refused_where_another_trains(tmp_path):
    path = tmp_path / "run"
    # On one thread, to leave some to the other.
    flags = (*SMALL_RUN, "--total_rounds=5000", "--client_threads=1")
    flags = (*flags, f"--output_dir={path}")
    command = [sys.executable, str(SCRIPTS / "train.py"), *flags]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        for line in first.stdout:
            if line.startswith("round 1/"):
                break
        before = (path / "run.lock").read_text()
        # Not even with leave to delete the run.
        second = run_script("train.py", *flags, "--overwrite")
        assert first.poll() is None
        assert (path / "run.lock").read_text() == before
        first.send_signal(signal.SIGTERM)
        said, errors_said = first.communicate()
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: {path} is being written by ")
    assert f"process {first.pid} on {HOST};" in second.stderr
    assert second.stderr.count("\n") == 1
    assert first.returncode == 0, errors_said
    assert "Stopped by SIGTERM after round" in said
    assert not (path / "run.lock").exists()
    assert len(rows_of(path)) == int(said.split("after round ")[1].split()[0])
