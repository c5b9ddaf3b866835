"""The benchmark measures: real processes, the same weights in the end."""

import json
import signal
import subprocess
import sys
import time

import psutil

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
        assert (
            0
            < record["min_seconds"]
            <= record["median_seconds"]
            <= record["max_seconds"]
            < record["first_round_seconds"]
        )
        assert record["cpu_seconds"] > 0
        assert record["peak_mb"] > 100
    # They measure the same, too.
    for name in ("train_loss", "train_accuracy"):
        assert abs(records[0][name] - records[1][name]) < 1e-4
    document = (tmp_path / "latest.md").read_text()
    for words in ("tff_pipeline", "TF loop", "2nn_50_ragged", " cores, "):
        assert words in document
    assert "| TF loop " in done.stdout


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
