"""Runs the project's scripts as processes of their own."""

import atexit
import csv
import functools
import json
import subprocess
import sys

from tests.testing.fork_server import ROOT, ForkServer

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
