"""deploy/slurm.sbatch on two machines, each a namespace of this one."""

import os
import subprocess
import sys

import pytest

from tests.testing.machines import two_machines
from tests.testing.scripts import ROOT

FLAGS = (
    *("--task=digits_2nn", "--num_clients=12", "--clients_per_round=8"),
    *("--client_batch_size=16", "--total_rounds=2", "--finishers=none"),
    *("--clients_per_shard=2", "--min_workers=2"),
)
# It starts the step on the other machine by a file, and on this one itself.
SRUN = """#!/bin/sh
while [ "$1" != bash ]; do shift; done
echo "$@" >step
export SLURM_NODEID=0
exec "$@"
"""
OTHER = """
until [ -e step ]; do sleep 0.2; done
export SLURM_NODEID=1 CLUSTER_SECRETS="$PWD/.tff-pipeline-7"
export CLUSTER_ADDRESS=%s:20007
exec $(cat step)
"""
COMMAND = """#!/bin/sh
exec %s -m tff_pipeline.commands.main "$@"
"""


def _program(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.soak
def test_a_slurm_job_trains_on_both_of_its_nodes(tmp_path):
    pytest.importorskip("ray")
    programs = tmp_path / "programs"
    programs.mkdir()
    _program(programs / "srun", SRUN)
    _program(programs / "tff-pipeline", COMMAND % sys.executable)
    _program(
        programs / "ray",
        f'#!/bin/sh\nexec {sys.executable} -m ray.scripts.scripts "$@"\n',
    )
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLURM_JOB_ID": "7",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "2",
    }
    with two_machines() as (first, second), (tmp_path / "log").open("w") as log:
        options = {
            "cwd": tmp_path,
            "env": environment,
            "stdout": log,
            "stderr": subprocess.STDOUT,
        }
        other = second.start("bash", "-c", OTHER % first.address, **options)
        job = first.start(
            *("bash", "deploy/slurm.sbatch", *FLAGS, "--output_dir=run"),
            **options,
        )
        try:
            status = job.wait(600)
        finally:
            for process in (job, other):
                process.kill()
                process.wait()
    text = (tmp_path / "log").read_text()
    assert status == 0, text[-3000:]
    for machine in (first, second):
        assert f"on {machine.name} has joined" in text
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) >= 3
    # Neither the CA's key nor the token outlives the job.
    assert not (tmp_path / ".tff-pipeline-7").exists()
