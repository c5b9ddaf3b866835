"""The benchmark's figures are those of its processes and of their rounds.

How long anything takes is asserted nowhere: clocks stand still or are scripted.
"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from benchmarks import measure, processes, rounds, workloads
from benchmarks.contenders import CONTENDERS
from tests.testing.scripts import ROOT

COMMAND = (sys.executable, "-m", "benchmarks.run", "--workloads=2nn_50_ragged")


def run(*arguments):
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.soak
def test_contenders_end_with_the_same_weights(tmp_path):
    done = run(
        "--contenders=pipeline,tf_loop", "--rounds=2", f"--output={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "latest.json").read_text())
    assert [r["contender"] for r in records] == ["pipeline", "tf_loop"]
    for record in records:
        assert record["workload"] == "2nn_50_ragged"
        assert record["timed_rounds"] == 2
        assert record["reference"] == "pipeline"
        assert record["relative_difference"] < 1e-4
    # They measure the same, too.
    for name in ("train_loss", "train_accuracy"):
        assert abs(records[0][name] - records[1][name]) < 1e-4
    document = (tmp_path / "latest.md").read_text()
    for words in ("tff_pipeline", "TF loop", "2nn_50_ragged", " cores, "):
        assert words in document
    assert "| TF loop " in done.stdout


# A contender whose rounds last 3, 5 and 0.25 seconds by its clock, and whose
# weights take 100 seconds to hand out, which is no part of a round.
ROUNDS = """
import sys, time
now = 0.0
time.perf_counter = lambda: now
from benchmarks.rounds import Rounds

def weights():
    global now
    now += 100
    return []

ends = Rounds(*map(int, sys.argv[1:]))
for number, seconds in enumerate((3, 5, 0.25)):
    ends.wait(weights, {"loss": number})
    now += seconds
ends.wait(weights, {"loss": 3})
"""


def test_a_round_lasts_from_its_command_until_the_next_is_awaited(tmp_path):
    theirs, commands = os.pipe()
    answers, their_answers = os.pipe()
    with (
        subprocess.Popen(
            [sys.executable, "-c", ROUNDS, str(theirs), str(their_answers)],
            cwd=ROOT,
            pass_fds=(theirs, their_answers),
        ),
        os.fdopen(answers) as lines,
        os.fdopen(commands, "w") as orders,
    ):
        os.close(theirs)
        os.close(their_answers)

        def ask(**command):
            orders.write(json.dumps(command) + "\n")
            orders.flush()
            return json.loads(lines.readline())

        for number, seconds in enumerate((3, 5, 0.25), start=1):
            answer = ask(do=rounds.ROUND)
            assert answer == {"seconds": seconds, "metrics": {"loss": number}}
            ask(do=rounds.WEIGHTS, path=str(tmp_path / "weights.npz"))


class Scripted:
    """A contender's process whose figures are written down beforehand.

    Round n lasts n seconds of the pipeline, 10 n of others, and takes twice as
    much of the processors' time. It learns to add `learned` to its weights.
    """

    order: list[tuple[str, int]]

    def __init__(self, contender, workload, log, folder):
        open(log, "w").close()
        self.name, self.number, self.cpu = contender.name, 0, 7.0
        self.scale = 1 if contender.name == "pipeline" else 10
        self.learned = 1.0 if contender.name == "pipeline" else 1.1
        self.initial = workloads.initial_weights(workload)

    def ask(self, do, **arguments):
        if do == rounds.WEIGHTS:
            learned = [array + self.learned for array in self.initial]
            np.savez(arguments["path"], *learned)
        if do != rounds.ROUND:
            return {}
        self.number += 1
        Scripted.order.append((self.name, self.number))
        self.cpu += 2 * self.scale * self.number
        loss = 1 / self.number
        return {
            "seconds": self.scale * self.number,
            "metrics": {"loss": loss},
        }

    def age(self):
        return 60.0

    def cpu_seconds(self):
        return self.cpu

    def peak_mb(self):
        return 100.0 * self.number

    def end(self):
        pass


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """Measures two scripted contenders over so many rounds and seconds."""
    monkeypatch.setattr(measure, "Child", Scripted)
    monkeypatch.setattr(Scripted, "order", [], raising=False)

    def outcome(timed, seconds):
        contenders = [CONTENDERS["pipeline"], CONTENDERS["tf_loop"]]
        workload = workloads.WORKLOADS["2nn_10"]
        return measure.measure(
            workload, contenders, timed, seconds, str(tmp_path), lambda _: None
        )

    return outcome


def test_figures_are_those_of_the_timed_rounds(scripted):
    outcome = scripted(5, 1e9)
    assert not outcome.failures
    ours, theirs = outcome.records
    # Rounds 2 to 6, for the first is not timed.
    assert (ours.min_seconds, ours.median_seconds, ours.max_seconds) == (
        *(2, 4, 6),
    )
    assert (ours.timed_rounds, ours.cpu_seconds, ours.peak_mb) == (5, 8, 600)
    assert (theirs.median_seconds, theirs.cpu_seconds) == (40, 80)
    assert ours.first_round_seconds == theirs.first_round_seconds == 60
    assert ours.train_loss == pytest.approx(1 / 6)
    assert ours.train_accuracy is None
    assert ours.relative_difference == 0
    assert theirs.relative_difference == pytest.approx(0.1, rel=1e-3)
    assert theirs.reference == "pipeline"


def test_contenders_take_turns_in_being_the_first(scripted):
    scripted(4, 1e9)
    ours, theirs = "pipeline", "tf_loop"
    assert Scripted.order == [
        *((ours, 1), (theirs, 1), (ours, 2), (theirs, 2)),
        *((theirs, 3), (ours, 3), (ours, 4), (theirs, 4)),
        *((theirs, 5), (ours, 5)),
    ]


def test_a_slow_contender_does_no_more_rounds_than_weights_need(scripted):
    # Rounds 2 and 3 are 5 seconds of one and 50 of the other.
    ours, theirs = scripted(5, 20).records
    assert (ours.timed_rounds, theirs.timed_rounds) == (5, 2)
    assert theirs.peak_mb == 300


# Says how much of the processors' time it and a child of it took, and waits.
WORK = """
import subprocess, sys, time
depth = int(sys.argv[1])
held = bytearray(80 * 2**20)
while time.process_time() < 0.5:
    pass
del held
if depth:
    child = subprocess.Popen(
        [sys.executable, "-c", sys.argv[2], str(depth - 1), sys.argv[2]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    below = float(child.stdout.readline())
else:
    below = 0.0
print(time.process_time() + below, flush=True)
sys.stdin.read()
"""


def test_time_and_memory_are_those_of_all_descendants():
    with subprocess.Popen(
        [sys.executable, "-c", WORK, "2", WORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        reported = float(process.stdout.readline())
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == len(processes.descendants(process.pid)) == 2
        seconds = processes.cpu_seconds(process.pid)
        peak = processes.peak_mb(process.pid)
        process.stdin.close()
    # The kernel counts in ticks of a hundredth, and they go on a little.
    assert reported >= 1.5
    assert seconds == pytest.approx(reported, abs=0.2)
    # What was given back counts, in each of the three.
    assert peak > 3 * 80
    for each in family:
        each.wait(60)


@pytest.mark.soak
def test_nothing_outlives_a_benchmark_that_is_killed(tmp_path):
    benchmark = subprocess.Popen(
        [*COMMAND, "--contenders=tff_shipped", f"--output={tmp_path}"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: worker_of(benchmark.pid))
        family = psutil.Process(benchmark.pid).children(recursive=True)
    finally:
        benchmark.send_signal(signal.SIGKILL)
        benchmark.wait()
    wait_for(lambda: not any(alive(each) for each in family))


def worker_of(pid):
    children = psutil.Process(pid).children(recursive=True)
    return any(child.name() == "worker_binary" for child in children)


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_wrong_name_is_refused_in_a_line():
    done = run("--contenders=pipelin")
    assert done.returncode == 2
    last = done.stderr.strip().split("\n")[-1]
    assert "--contenders" in last
    assert "'pipelin'" in last
    assert "Traceback" not in done.stderr
