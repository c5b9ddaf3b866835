"""A run directory is read without TensorFlow, which takes seconds to load."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.testing import kept_process
from tests.testing.scripts import ROOT
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates

HEAVY = ("tensorflow", "tensorflow_federated", "keras", "pandas", "matplotlib")
TELL = f"""
import json, sys
print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
READ = """
import sys
from tff_pipeline.runs import round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory

directory = RunDirectory(sys.argv[1])
directory.read_config()
directory.read_environment()
(record,) = [
    record.content for record in round_log.read(directory.rounds)
    if record.content.get("round") == 4
]
saved = CheckpointStore(directory.checkpoints).check(4)
assert saved.kept_state == record["kept_state"]
"""


def loaded(program, *arguments):
    """The heavy packages that a new process has after `program`."""
    command = [sys.executable, "-c", program + TELL, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "module",
    [
        "checkpoint",
        "checkpoint_folder",
        "directory",
        "environment",
        "kept_states",
        "lock",
        "round_log",
        "row_files",
        "signature",
        "state_files",
    ],
)
def test_a_module_loads_without_tensorflow(module):
    assert loaded(f"import tff_pipeline.runs.{module}") == []


def test_what_a_run_left_is_read_without_tensorflow(tmp_path):
    config = kept_process.config_of(tmp_path / "run", 4)
    kept_process.run(config, until=4)
    assert loaded(READ, tmp_path / "run") == []


def test_a_checkpoint_is_written_without_tensorflow(tmp_path):
    write = """
import sys
import numpy as np
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates

kept = KeptStates(sys.argv[1], np.zeros(2)).updated(["a"], [np.ones(2)])
CheckpointStore(sys.argv[1]).save(1, {"a": np.ones(3)}, kept)
"""
    assert loaded(write, tmp_path) == []
    saved = CheckpointStore(str(tmp_path)).load_latest(
        {"a": np.zeros(3)}, KeptStates(str(tmp_path), np.zeros(2))
    )
    assert saved.kept.rows(["a"])[0].tolist() == [1, 1]
