"""Settings of all tests, and the fixtures that rooms share."""

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

# Before any test module imports TensorFlow.
silence.silence()

# Graphs are of objects that live: looking for dead ones finds few.
gc.set_threshold(20_000, 20, 20)

# No test asserts how long something takes, hypothesis not either; and what it
# draws is the same in every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

# Few tests and long ones: begun first, so that no process waits at the end.
_LONG = (
    "test_kill_points.py",
    "test_faults.py",
    "test_train.py",
    "test_exported_model.py",
    "test_verify.py",
    "test_exports.py",
    "test_serving.py",
    "test_served_table.py",
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


def pytest_sessionfinish():
    # xdist kills a worker that needs more than 10 s for its end, which frees
    # all graphs: what it ran was lost, and 9 % of the lines with it.
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
