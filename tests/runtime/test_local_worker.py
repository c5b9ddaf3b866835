"""TFF's worker ends with its parent, and not before; real processes."""

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import psutil
import pytest
import tensorflow_federated as tff

from tests.testing.scripts import ROOT, SCRIPTS, SMALL_RUN
from tests.testing.soaked import soaked
from tff_pipeline.runtime.local import LocalWorker

# Guards against a hang; nothing here is a measurement of speed.
PATIENCE = 120
# A script that holds a worker, says which, and ends in the way it is told to.
HOLD_A_WORKER = """
import sys
from tff_pipeline import silence
silence.silence()
import numpy as np
import tensorflow_federated as tff
from tff_pipeline.runtime.local import LocalWorker

@tff.tensorflow.computation(np.int32)
def next_number(x):
    return x + 1

with LocalWorker() as worker:
    assert next_number(1) == 2
    print(worker.pid, flush=True)
    if sys.stdin.readline() == "raise\\n":
        raise RuntimeError("raised on purpose")
print("the end")
"""


@contextlib.contextmanager
def started(command, **options):
    """A process with pipes, killed if it is not done in time."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
        **options,
    ) as process:
        guard = threading.Timer(PATIENCE, os.killpg, (process.pid, 9))
        guard.start()
        try:
            yield process
        finally:
            guard.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def assert_ends(worker):
    """Waits for the end; a zombie has ended, whoever is to bury it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if worker.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)
    worker.kill()
    pytest.fail(f"the worker {worker.pid} outlives its parent")


@pytest.fixture(scope="module")
def worker():
    with LocalWorker() as worker:
        yield worker


@tff.tensorflow.computation(np.int32)
def next_number(x):
    return x + 1


def test_computations_run_on_the_worker(worker):
    process = psutil.Process(worker.pid)
    assert process.ppid() == os.getpid()
    assert "worker_binary" in process.name()

    @tff.federated_computation(tff.FederatedType(np.float32, tff.CLIENTS))
    def mean(values):
        return tff.federated_mean(values)

    before = sum(process.cpu_times()[:2])
    deadline = time.monotonic() + PATIENCE
    while sum(process.cpu_times()[:2]) == before:
        assert mean([1.0, 2.0, 6.0]) == 3.0
        assert time.monotonic() < deadline


def test_the_worker_is_out_of_reach_of_ctrl_c(worker):
    # A terminal sends SIGINT to the foreground process group.
    assert os.getpgid(worker.pid) == worker.pid != os.getpgid(0)
    assert os.getsid(worker.pid) == worker.pid


def test_the_worker_holds_no_file_of_its_parent(tmp_path, worker):
    del worker  # That of the module lives beside the one below.
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)
        with LocalWorker() as inner:
            process = psutil.Process(inner.pid)
            assert next_number(1) == 2
            held = os.listdir(f"/proc/{inner.pid}/fd")
            targets = {
                os.readlink(f"/proc/{inner.pid}/fd/{number}") for number in held
            }
            assert str(tmp_path / "file") not in targets
            for number in (0, 1, 2):
                assert os.readlink(f"/proc/{inner.pid}/fd/{number}") == (
                    os.devnull
                )
    assert not process.is_running()


def test_after_the_block_the_outer_worker_serves_again(worker):
    with LocalWorker() as inner:
        assert inner.pid != worker.pid
        assert next_number(1) == 2
    assert not psutil.pid_exists(inner.pid)
    assert next_number(2) == 3
    assert psutil.Process(worker.pid).status() != psutil.STATUS_ZOMBIE


def test_an_exception_in_the_block_ends_the_worker_and_passes():
    with pytest.raises(ZeroDivisionError), LocalWorker() as inner:
        assert next_number(1) == 2
        raise ZeroDivisionError
    assert not psutil.pid_exists(inner.pid)


def watching_channels():
    """The threads of gRPC's that wait for channels to change."""
    frames = sys._current_frames()
    return {
        thread
        for thread in threading.enumerate()
        for frame, _ in traceback.walk_stack(frames.get(thread.ident))
        if frame.f_code.co_name == "_poll_connectivity"
    }


def test_a_block_that_ends_at_once_ends_without_a_complaint(monkeypatch):
    complaints = []
    monkeypatch.setattr(
        threading,
        "excepthook",
        lambda failure: complaints.append(repr(failure.exc_value)),
    )
    before = watching_channels()
    with LocalWorker():
        (watching,) = watching_channels() - before
    # It may complain until it ends, once it notices that the channel is closed.
    watching.join(PATIENCE)
    assert not watching.is_alive()
    assert complaints == []


@pytest.mark.soak
def test_memory_stays_flat_when_the_cohort_size_varies(worker):
    model_type = tff.TensorType(np.float32, [50_000])

    @tff.tensorflow.computation(model_type, np.float32)
    def scale(model, factor):
        return model * factor

    @tff.federated_computation(
        tff.FederatedType(model_type, tff.SERVER),
        tff.FederatedType(np.float32, tff.CLIENTS),
    )
    def mean_of_scaled(model, factors):
        return tff.federated_mean(
            tff.federated_map(scale, (tff.federated_broadcast(model), factors))
        )

    process = psutil.Process(worker.pid)
    model = np.ones(50_000, np.float32)
    sizes = np.random.default_rng(0).integers(3, 20, size=150)
    used = []
    for size in map(int, sizes):
        result = mean_of_scaled(model, [float(i) for i in range(size)])
        assert result[0] == pytest.approx((size - 1) / 2)
        used.append(process.memory_info().rss / 1e6)
    # TFF's own executor factory goes from 200 MB to 350 here.
    assert used[-1] < 1.2 * used[50] + 20


@pytest.mark.parametrize(
    "ending", [*soaked("exit", "raise", "SIGTERM"), "SIGKILL"]
)
def test_the_worker_ends_when_its_parent_ends(ending):
    with started([sys.executable, "-c", HOLD_A_WORKER]) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.status() != psutil.STATUS_ZOMBIE
        if ending.startswith("SIG"):
            parent.send_signal(getattr(signal, ending))
            # A pipe that the worker held would stay open.
            said, complaint = parent.communicate(timeout=PATIENCE)
            assert parent.returncode == -getattr(signal, ending)
            assert said == ""
        else:
            said, complaint = parent.communicate(
                f"{ending}\n", timeout=PATIENCE
            )
            assert parent.returncode == (ending == "raise")
            assert said == ("" if ending == "raise" else "the end\n")
        assert ("raised on purpose" in complaint) == (ending == "raise")
    assert_ends(worker)


@pytest.mark.soak
def test_a_script_behind_a_proxy_and_in_a_pipe_works_and_ends(tmp_path):
    nowhere = "http://127.0.0.1:9"
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in ("no_proxy", "no_grpc_proxy")
    }
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        environment.update({name: nowhere, name.upper(): nowhere})
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(HOLD_A_WORKER)
    pipe = f"'{sys.executable}' '{script}' 2>&1 | tee '{log}'"
    environment["PYTHONPATH"] = str(ROOT)
    with started(["sh", "-c", pipe], env=environment) as shell:
        worker = psutil.Process(int(shell.stdout.readline()))
        said, _ = shell.communicate("exit\n", timeout=PATIENCE)
        assert shell.returncode == 0
    assert "the end\n" in said
    assert log.read_text() == f"{worker.pid}\n{said}"
    assert_ends(worker)


# The first worker is killed between two calls, the second one while it
# computes what would take it years.
LOSE_WORKERS = """
import threading, time
from tff_pipeline import silence
silence.silence()
import numpy as np, psutil, tensorflow as tf, tensorflow_federated as tff
from tff_pipeline import errors
from tff_pipeline.runtime.local import LocalWorker

@tff.tensorflow.computation(np.int64)
def count_to(n):
    return tf.while_loop(
        lambda i: i < n, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]

def kill_when_busy(process):
    while sum(process.cpu_times()[:2]) < 1:
        time.sleep(0.05)
    process.kill()

for when in ("between", "in the middle"):
    with LocalWorker() as worker:
        assert count_to(3) == 3
        process = psutil.Process(worker.pid)
        if when == "between":
            process.kill()
        else:
            threading.Thread(target=kill_when_busy, args=[process]).start()
        try:
            count_to(10**18)
        except errors.TrainingError as error:
            print(when, error, sep=": ", flush=True)
"""


def test_a_worker_that_is_killed_is_an_error_and_no_hang():
    with started([sys.executable, "-c", LOSE_WORKERS]) as parent:
        said, complaint = parent.communicate(timeout=PATIENCE)
        assert parent.returncode == 0, complaint
    lines = said.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "between",
        "in the middle",
    ]
    for line in lines:
        assert "SIGKILL" in line
        assert "--clients_per_round" in line


@contextlib.contextmanager
def training(directory, total_rounds):
    """Yields (process, its worker, its first round) once rounds are shown."""
    command = [
        *(sys.executable, str(SCRIPTS / "train.py"), *SMALL_RUN),
        "--runtime=local",
        *(f"--total_rounds={total_rounds}", f"--output_dir={directory}"),
    ]
    with started(command) as process:
        shown = []
        while len(shown) < 2:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            shown += re.findall(rf"^round (\d+)/{total_rounds} ", line)
        (worker,) = psutil.Process(process.pid).children(recursive=True)
        assert "worker_binary" in worker.name()
        yield process, worker, int(shown[0])
    assert_ends(worker)


def saved_rounds(directory):
    return sorted(
        int(name[len("round_") :])
        for name in os.listdir(directory / "checkpoints")
    )


def logged_rounds(directory):
    with open(directory / "metrics.csv", newline="") as file:
        return [int(row["round"]) for row in csv.DictReader(file)]


@pytest.mark.soak
def test_a_run_that_is_stopped_again_and_again_loses_no_saved_round(tmp_path):
    directory = tmp_path / "run"
    # test_run_lock.py has SIGTERM.
    with training(directory, 1000) as (process, _, first):
        assert first == 1
        # To all of the group, as a terminal does at Ctrl-C.
        os.killpg(process.pid, signal.SIGINT)
        said, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaint
    assert complaint == ""
    (stopped,) = re.findall(
        r"Stopped by SIGINT after round (\d+) of 1000", said
    )
    last = int(stopped)
    assert last >= first
    assert saved_rounds(directory)[-1] == last
    assert logged_rounds(directory) == list(range(1, last + 1))

    with training(directory, 1000) as (process, worker, first):
        assert first == last + 1
        worker.kill()
        _, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "worker" in complaint and "SIGKILL" in complaint
    assert "Traceback" not in complaint
    last = saved_rounds(directory)[-1]
    lost = logged_rounds(directory)[-1]
    assert lost - 5 < last <= lost

    total = lost + 5
    with training(directory, total) as (process, _, first):
        assert first == last + 1
        said, complaint = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, complaint
    assert f"Done after {total} rounds" in said
    assert logged_rounds(directory) == list(range(1, total + 1))
