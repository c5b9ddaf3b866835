"""Settings of all tests, and the fixtures that rooms share."""

import atexit
import gc
import os
import sys

import hypothesis
import pytest

from tests.testing.data import data_folder
from tests.testing.scripts import SMALL_RUN, start_script
from tff_pipeline import silence

# Of test processes that run side by side, each and its children keep to a
# core: TensorFlow's threads of one would else get into the other's way.
_CORES = sorted(os.sched_getaffinity(0))
if _NUMBER := os.environ.get("PYTEST_XDIST_WORKER", "")[len("gw") :]:
    os.sched_setaffinity(0, {_CORES[int(_NUMBER) % len(_CORES)]})
    # The last thing at exit. What Python does after, to free all graphs, takes
    # more than the 10 s that xdist waits for.
    atexit.register(os._exit, 0)

# Before any test module imports TensorFlow.
silence.silence()

# Graphs are of objects that live: looking for dead ones finds few.
gc.set_threshold(20_000, 20, 20)

# No test asserts how long something takes, hypothesis not either; and what it
# draws is the same in every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

# Files that take 20 s and more, the longest first, so that no process waits at
# the end. `pytest --durations=200` shows what belongs here.
_LONG = (
    "test_saved_runs.py",
    "test_language_runs.py",
    "test_verify.py",
    "test_extending.py",
    "test_faults.py",
    "test_audit.py",
    "test_client_work.py",
    "test_private_runs.py",
    "test_kill_points.py",
    "test_generate.py",
    "test_train.py",
    "test_in_process.py",
    "test_gossip.py",
    "test_every_algorithm.py",
    "test_serving.py",
    "test_language_exports.py",
    "test_writing.py",
    "test_language_tasks.py",
    "test_device_runs.py",
    "test_text_column.py",
    "test_local_worker.py",
    "test_run_lock.py",
    "test_storage.py",
    "test_main.py",
    "test_validation_runs.py",
    "test_personal_runs.py",
    "test_beginning.py",
    "test_local_layers.py",
    "test_accounting.py",
    "test_network.py",
    "test_frozen_weights.py",
    "test_hooks.py",
    "test_frozen_memory.py",
)
_PLACES = {name: place for place, name in enumerate(_LONG)}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _PLACES.get(item.path.name, len(_LONG)))


def pytest_sessionfinish():
    # xdist kills a worker that needs more than 10 s for its end: what it ran
    # was lost, and 9 % of the lines with it.
    at_start = sys.modules.get("sitecustomize")
    if write_lines_run := getattr(at_start, "write_lines_run", None):
        write_lines_run()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The run directory of SMALL_RUN, trained by scripts/train.py."""
    path = tmp_path_factory.mktemp("small_run") / "run"
    done = start_script("train.py", *SMALL_RUN, f"--output_dir={path}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # Nothing but ours is on the screen.
    return path


@pytest.fixture(scope="session")
def mnist_dir():
    return data_folder("mnist")
