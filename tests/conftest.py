"""What tests share: real processes, real data, and one run to look at."""

import atexit
import contextlib
import csv
import functools
import gc
import json
import os
import pathlib
import resource
import subprocess
import sys

import hypothesis
import pytest

from tests.testing.fork_server import ForkServer
from tff_pipeline import silence

# Of test processes that run side by side, each and its children keep to a
# core: TensorFlow's threads of one would else get into the other's way.
_CORES = sorted(os.sched_getaffinity(0))
if _NUMBER := os.environ.get("PYTEST_XDIST_WORKER", "")[len("gw") :]:
    os.sched_setaffinity(0, {_CORES[int(_NUMBER) % len(_CORES)]})

# Before any test module imports TensorFlow.
silence.silence()

# Graphs are of objects that live: looking for dead ones finds few.
gc.set_threshold(20_000, 20, 20)

# No test asserts how long something takes, hypothesis not either.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Few tests and long ones: begun first, so that no process waits at the end.
_LONG = (
    "test_kill_points.py",
    "test_faults.py",
    "test_train.py",
    "test_exported_model.py",
    "test_verify.py",
    "test_exports.py",
    "test_serving.py",
    "test_storage.py",
    "test_run_lock.py",
    "test_page.py",
    "test_fuzz.py",
    "test_local_worker.py",
    "test_saved_runs.py",
    "test_ner.py",
    "test_private_runs.py",
    "test_audit.py",
    "test_example_dp.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in _LONG)


ROOT = pathlib.Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"

# Small enough for seconds, and with momentum so that a resumed run has state
# to lose.
SMALL_RUN = (
    "--task=digits_2nn",
    "--partition=dirichlet",
    "--num_clients=12",
    "--clients_per_round=4",
    "--client_batch_size=16",
    "--client_epochs_per_round=2",
    "--server_optimizer=momentum",
    "--total_rounds=10",
    "--rounds_per_checkpoint=5",
    "--rounds_per_eval=2",
)


def start_script(name, *arguments, timeout=300, **options):
    """Runs scripts/NAME in a new Python; returns the CompletedProcess."""
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )


@functools.cache
def fork_server():
    server = ForkServer()
    atexit.register(server.close)
    return server


def run_script(name, *arguments, **options):
    """As `start_script`, in a fork, which is spared the imports."""
    return fork_server().run([SCRIPTS / name, *arguments], **options)


def train_with_faults(config, **faults):
    """What came of training `config` upon faults; see `fault_injection`.

    In a fork. `signal` is what ended it, or 0.
    """
    text = json.dumps({"config": json.loads(config.to_json()), **faults})
    done = fork_server().run(
        ["-m", "tests.testing.fault_injection", text], cwd=ROOT
    )
    said = done.stdout.splitlines()[-1] if done.returncode == 0 else "{}"
    return {**json.loads(said), "signal": max(0, -done.returncode)}


def rows_of(run_dir):
    """The rows of metrics.csv as text, without what differs: seconds."""
    with open(run_dir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


@contextlib.contextmanager
def no_file_above(size):
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The run directory of SMALL_RUN, trained by scripts/train.py."""
    path = tmp_path_factory.mktemp("small_run") / "run"
    done = start_script("train.py", *SMALL_RUN, f"--output_dir={path}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # Nothing but ours is on the screen.
    return path


def data_folder(name):
    """Folder of a dataset's files, or a skip that says how to give it."""
    root = os.environ.get("TFF_PIPELINE_DATA")
    if root is None:
        pytest.skip(
            f"TFF_PIPELINE_DATA is not set; it names a folder with {name}/ in "
            "it"
        )
    path = pathlib.Path(root).resolve() / name
    assert path.is_dir(), f"TFF_PIPELINE_DATA={root} holds no {name}/"
    return path


@pytest.fixture(scope="session")
def mnist_dir():
    return data_folder("mnist")
