"""scripts/supervise.py: a run that dies goes on to the same bits."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from tests.testing.killed_runs import config_of
from tests.testing.scripts import (
    ROOT,
    SCRIPTS,
    SMALL_RUN,
    run_script,
    start_script,
)
from tff_pipeline import errors
from tff_pipeline.commands.supervise import Supervisor
from tff_pipeline.config import RunConfig
from tff_pipeline.flags import exit_status
from tff_pipeline.runs import restarts, round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.training import failures

SEED = 20261201
# For what a loaded machine does at last; nothing is asserted of it.
PATIENCE = 300
_RECORDED = ("round", "state", "kept_state", "cohort", "metrics")
# A process that does on its n-th start what n says, having saved n rounds.
_CHILD = """
import faulthandler, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
number = len(list((folder / "checkpoints").glob("round_*"))) + 1
(folder / "checkpoints" / f"round_{number:06d}").mkdir(parents=True)
"""


@contextlib.contextmanager
def supervised(*arguments, own=()):
    """scripts/supervise.py, running: the process, as `psutil` has it."""
    process = psutil.Popen(
        [
            *(sys.executable, str(SCRIPTS / "supervise.py"), *own),
            *("--", "train", *map(str, arguments)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.communicate()


def eventually(find, process=None):
    """The first answer of `find` that is not empty, while a process runs."""
    until = time.monotonic() + PATIENCE
    while not (answer := find()):
        assert time.monotonic() < until
        if process is not None and process.poll() is not None:
            pytest.fail(f"It ended: {process.communicate()}")
        time.sleep(0.02)
    return answer


def child_of(process, after=None):
    """The process that trains, and is not `after`."""

    def others():
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for each in process.children() if each != after]
        return []

    return eventually(others, process)[0]


def records_of(path):
    """Returns what a run's log says of its rounds: hashes, metrics."""
    return [
        [each.content.get(name) for name in _RECORDED]
        for each in round_log.read(str(path / "rounds.jsonl"))
        if each.content["kind"] == "round"
    ]


def saved_of(path):
    return max(CheckpointStore(str(path / "checkpoints")).rounds(), default=0)


def supervisor(path, program, **options):
    """A `Supervisor` of a small program that is given the run directory."""
    settings = {"overwrite": False, "max_restarts": 3, "hang_seconds": 0.0}
    return Supervisor(
        [sys.executable, "-c", program, str(path)],
        RunDirectory(str(path)),
        **{**settings, **options},
    )


def endings(path):
    notes = restarts.read(RunDirectory(str(path)).restarts)
    return [note.get("ended") for note in notes]


@pytest.mark.parametrize(
    "stops", [False, pytest.param(True, marks=pytest.mark.soak)]
)
def test_a_run_that_dies_goes_on_to_the_same_bits(tmp_path, stops):
    """Killed before it deletes an older run and after, then asked to stop."""
    draw, path, whole = random.Random(SEED), tmp_path / "run", tmp_path / "all"
    flags = tmp_path / "run.flags"
    config = config_of("scaffold" if stops else "adaptive", path)
    flags.write_text(config.flagfile())
    train = (f"--flagfile={flags}", "--finishers=none")
    # To go on with a run of another seed would be refused.
    other = run_script(
        *("train.py", *train, f"--output_dir={path}"),
        *("--seed=7", "--total_rounds=2"),
        cwd=ROOT,
    )
    assert (other.returncode, saved_of(path)) == (0, 2), other.stderr

    flags.write_text(config.flagfile() + "--overwrite\n")
    own = ("--hang_seconds=60",) if stops else ()
    with supervised(
        *(*train, f"--output_dir={path}", "--total_rounds=100000"), own=own
    ) as process:
        child = child_of(process)
        child.kill()
        child = child_of(process, child)
        notes = restarts.read(str(path / "restarts.jsonl"))
        assert [set(note) for note in notes] == [
            {"time", "overwrites"},
            {"time", "ended", "round"},
        ]
        eventually(lambda: not (path / "restarts.jsonl").exists(), process)
        saved = []
        for stopped in (False, True, False) if stops else (False,):
            least = saved_of(path) + draw.randint(4, 20)
            eventually(lambda least=least: saved_of(path) >= least, process)
            time.sleep(draw.random() / 4)
            child.suspend() if stopped else child.kill()
            child.wait()
            saved.append(saved_of(path))
            child = child_of(process, child)
            eventually(lambda: saved_of(path) > saved[-1], process)
        process.terminate()
        output, complaints = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "Stopped by SIGTERM after round " in output
    assert len(complaints.splitlines()) == 1 + len(saved), complaints
    assert complaints.startswith("supervise: the run ended by SIGKILL; it ")
    notes = restarts.read(str(path / "restarts.jsonl"))
    assert [note["round"] for note in notes] == saved
    ended = [note["ended"] for note in notes]
    assert ended == (["by SIGKILL", "by --hang_seconds"] * 2)[: len(saved)]

    log = records_of(path)
    assert [n for n, *_ in log] == list(range(1, len(log) + 1))
    assert len(log) > saved[-1]
    flags.write_text(config.flagfile())
    done = run_script(
        *("train.py", *train, f"--output_dir={whole}"),
        f"--total_rounds={len(log)}",
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    unbroken = records_of(whole)
    # The last round of a run is evaluated, where nobody asked it to stop.
    last, unbroken[-1] = log.pop(), unbroken[-1][:-1]
    assert [*log, last[:-1]] == unbroken


def test_a_run_that_saves_nothing_is_given_up(tmp_path):
    with supervised(
        *(*SMALL_RUN, f"--output_dir={tmp_path / 'run'}"),
        own=("--max_restarts=1",),
    ) as process:
        child = child_of(process)
        child.kill()
        child_of(process, child).kill()
        output, complaints = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (1, "")
    first, last = complaints.splitlines()
    assert first == (
        "supervise: the run ended by SIGKILL; it starts again after round 0 in "
        "2 s; without a new checkpoint: 1 of 1 times."
    )
    assert last.startswith("error: The run ended by SIGKILL, 2 times in a row")
    assert "(--max_restarts=1)" in last


def test_a_run_ends_with_its_supervisor(tmp_path):
    path = tmp_path / "run"
    with supervised(*SMALL_RUN, f"--output_dir={path}") as process:
        child = child_of(process)
        process.kill()
        # Who adopts it may not wait for it.
        eventually(
            lambda: (
                not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
            )
        )


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        # Found by the supervisor, and by the run.
        (["--task=no"], 2, "--task=no: must be one of"),
        (["--model_fn=nowhere:f"], 2, "names the module nowhere"),
        (
            [
                *("--task=csv", "--data_dir=no.csv"),
                *("--label_column=a", "--client_column=b"),
            ],
            1,
            "no.csv",
        ),
    ],
)
def test_a_mistake_is_said_once(tmp_path, flags, status, words):
    done = start_script(
        *("supervise.py", "--", "train", *flags),
        f"--output_dir={tmp_path / 'run'}",
    )
    assert done.returncode == status
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "after -- is nothing, which cannot be supervised; write train"),
        (["--"], "after -- is nothing"),
        (["--", "verify", "--rerun"], "after -- is 'verify', which cannot"),
        (["train"], "'train' is not a flag"),
        (["--max_restarts=-1", "--", "train"], "--max_restarts=-1: must be"),
        (["--hang_seconds=nan", "--", "train"], "--hang_seconds=nan: must be"),
        (["--", "train"], "--output_dir is not set"),
        (["--", "train", "--max_restart=1"], "--max_restart"),
    ],
)
def test_a_mistake_is_a_sentence(arguments, words):
    done = run_script("supervise.py", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_is_that_of_the_command_that_is_asked():
    own = run_script("supervise.py", "--help", "--", "train", "--help")
    assert "--max_restarts=10" in own.stdout
    assert "--total_rounds" not in own.stdout
    trains = run_script("supervise.py", "--", "train", "--help")
    assert trains.stdout == run_script("train.py", "--help").stdout


def test_what_is_no_answer_is_tried_again(tmp_path, capfd):
    """Deaths of small processes, each of which saves a round first."""
    path = tmp_path / "run"
    program = (
        _CHILD
        + """
print("start", number, *sys.argv[2:], flush=True)
[
    lambda: os._exit(1),
    lambda: os.kill(os.getpid(), signal.SIGKILL),
    lambda: faulthandler.dump_traceback_later(0.1, exit=True),
    lambda: 1 / 0,
    lambda: sys.exit(64 + 2),
][number - 1]()
time.sleep(60 if number == 3 else 0)
"""
    )
    assert supervisor(path, program, max_restarts=0).run() == 2
    output, complaints = capfd.readouterr()
    assert output.splitlines() == [f"start {n}" for n in range(1, 6)]
    assert endings(path) == [
        "with exit status 1",
        "by SIGKILL",
        "with exit status 1",
        "with exit status 1",
    ]
    notes = restarts.read(str(path / "restarts.jsonl"))
    assert [note["round"] for note in notes] == [1, 2, 3, 4]
    said = [x for x in complaints.splitlines() if x.startswith("supervise: ")]
    assert len(said) == 4
    assert all("again after round" in x and x.endswith("in 1 s.") for x in said)


def test_a_run_that_writes_nothing_is_killed_with_what_it_started(tmp_path):
    path = tmp_path / "run"
    program = (
        _CHILD
        + """
if number > 1:
    sys.exit()
if not os.fork():
    time.sleep(600)
(folder / "children").write_text(str(os.getpid()))
with open(folder / "rounds.jsonl", "a") as log:
    for _ in range(20):
        print("{}", file=log, flush=True)
        time.sleep(0.2)
(folder / "wrote").touch()
os.kill(os.getpid(), signal.SIGSTOP)
"""
    )
    # Less than it writes for, and more than between two lines.
    assert supervisor(path, program, hang_seconds=3.0).run() == 0
    assert endings(path) == ["by --hang_seconds"]
    assert (path / "wrote").exists()
    group = int((path / "children").read_text())
    with pytest.raises(ProcessLookupError):
        # Killed, they are there until who adopted them has waited for them.
        for _ in range(100):
            os.killpg(group, 0)
            time.sleep(0.1)


def test_it_can_be_stopped_while_it_waits(tmp_path):
    path = tmp_path / "run"

    def stop():
        eventually((path / "restarts.jsonl").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    program = _CHILD + "os.abort()"
    assert supervisor(path, program).run() == 128 + signal.SIGTERM
    thread.join()
    assert endings(path) == ["by SIGABRT"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_failures_that_only_come_again_are_marked(monkeypatch):
    assert exit_status.lasting(1) == 1
    monkeypatch.setenv(exit_status.SUPERVISED, "1")
    for status in (1, 2, 130):
        assert exit_status.answer(exit_status.lasting(status)) == status
        assert exit_status.answer(status) is None
    may_pass = {
        name: error.may_pass
        for name, error in vars(errors).items()
        if isinstance(error, type)
    }
    assert [name for name in may_pass if may_pass[name]] == ["TrainingError"]
    policy = failures.Policy(RunConfig(max_consecutive_failures=1))
    with pytest.raises(errors.NotFiniteError):
        policy.check([{"round": 1, "rejected_update": 1}])
    for error, lasts in ((FloatingPointError(), True), (MemoryError(), False)):
        explained = failures.explained(error, 1, 1)
        assert isinstance(explained, errors.NotFiniteError) == lasts
