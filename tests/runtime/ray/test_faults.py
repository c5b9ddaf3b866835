"""Runs through which workers, machines, heads and drivers fail: the same bits.

Machines are Ray's daemons on this one, each with processors of its own. Faults
come at random times and are of all kinds; their order is drawn from a seed, but
where in a run each falls is chance, and the weights must be the same wherever.
"""

import contextlib
import itertools
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.testing.scripts import ROOT, SCRIPTS, rows_of
from tests.testing.sharded_runs import end

pytest.importorskip("ray", reason="Ray is not installed: .[ray]")

from ray.cluster_utils import Cluster

from tff_pipeline.runtime.ray import certificates

pytestmark = pytest.mark.soak

SEED = 19
FAULTS = 50
PATIENCE = 900
_JOINED = re.compile(r"worker (\d+) on \S+ has joined")
RUN = (
    "--task=digits_2nn",
    "--partition=dirichlet",
    "--num_clients=24",
    "--clients_per_round=12",
    "--client_batch_size=4",
    "--client_epochs_per_round=4",
    "--algorithm=scaffold",
    "--clients_per_shard=2",
    "--rounds_per_eval=20",
    "--rounds_per_checkpoint=5",
    "--sinks=csv",
    "--finishers=none",
)


@contextlib.contextmanager
def training(path, *flags, supervised=False):
    """A run: the process, whose output goes to the file `said`."""
    script = ["train.py"]
    if supervised:
        script = ["supervise.py", "--", "train"]
    with open(f"{path}.said", "a", encoding="utf-8") as said:
        process = psutil.Popen(
            [
                *(sys.executable, str(SCRIPTS / script[0]), *script[1:]),
                *(*RUN, *flags, f"--output_dir={path}"),
            ],
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in [*process.children(recursive=True), process]:
                each.kill()


def said(path):
    with open(f"{path}.said", encoding="utf-8") as file:
        return file.read()


def rounds_of(path):
    return len(rows_of(path)) if (path / "metrics.csv").exists() else 0


def wait(find, process, path):
    """The first answer of `find` that is not empty; `None` if the run ends."""
    until = time.monotonic() + PATIENCE
    while not (answer := find()):
        assert time.monotonic() < until, said(path)
        if process.poll() is not None:
            return None
        time.sleep(0.02)
    return answer


def whole(path, rounds):
    with training(path, f"--total_rounds={rounds}") as process:
        assert process.wait(PATIENCE) == 0, said(path)
    return end(path)


def running(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() not in ("zombie", "stopped")
    return False


def machine_of(cluster, addresses):
    """A machine that joins, with an address that no other has."""
    return cluster.add_node(num_cpus=1, node_ip_address=next(addresses))


@pytest.fixture
def secured(tmp_path, monkeypatch):
    """Files and a token of all machines, in the environment.

    Of loopback addresses only 127.0.0.1 is closed, and machines need one each.
    """
    names = "+".join(f"127.0.0.{number}" for number in range(1, 200))
    made = certificates.make(str(tmp_path / "certs"), [names], days=1)
    for name, value in certificates.environment(made[names]).items():
        monkeypatch.setenv(name, value)


def test_fifty_faults_change_nothing(tmp_path, secured):
    draw = random.Random(SEED)
    expected = whole(tmp_path / "one", 400)
    path = tmp_path / "many"
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "node_ip_address": "127.0.0.1"},
    )
    addresses = map("127.0.0.{}".format, itertools.count(2))
    machines = [machine_of(cluster, addresses) for _ in range(2)]
    frozen, done = [], []
    try:
        with training(
            path,
            "--total_rounds=400",
            "--runtime=ray",
            f"--ray_address={cluster.address}",
            "--shard_seconds=30",
            "--max_shard_tries=20",
        ) as process:

            def workers():
                # Of a run that gets on: one of faults alone proves nothing.
                if rounds_of(path) <= seen:
                    return []
                pids = map(int, _JOINED.findall(said(path)))
                return [pid for pid in pids if running(pid)]

            seen = 0

            while len(done) < FAULTS:
                alive = wait(workers, process, path)
                if alive is None:
                    break
                time.sleep(draw.uniform(0, 1))
                seen = rounds_of(path) + draw.randrange(4)
                kind = draw.choice(["kill", "stop", "memory", "lose", "freeze"])
                pid = draw.choice(alive)
                with contextlib.suppress(ProcessLookupError):
                    if kind == "kill":
                        os.kill(pid, signal.SIGKILL)
                    elif kind == "stop":
                        os.kill(pid, signal.SIGSTOP)
                        frozen.append(pid)
                    elif kind == "memory":
                        # No page more, and the next one is asked for soon.
                        resource.prlimit(pid, resource.RLIMIT_AS, (1, 1))
                    else:
                        machine = machines.pop(0)
                        if kind == "lose":
                            cluster.remove_node(machine, allow_graceful=False)
                        else:
                            for each in machine.all_processes["raylet"]:
                                each.process.send_signal(signal.SIGSTOP)
                                frozen.append(each.process.pid)
                        # A late joiner in its place.
                        machines.append(machine_of(cluster, addresses))
                done.append(kind)
            assert process.wait(PATIENCE) == 0, said(path)[-3000:]
    finally:
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        cluster.shutdown()
    lost = sum(int(row["lost_workers"]) for row in rows_of(path))
    print(f"{len(done)} faults, {lost} workers lost, {rounds_of(path)} rounds")
    assert end(path) == expected
    # The run must have lasted through them.
    assert len(done) == FAULTS
    assert lost >= FAULTS // 2


@pytest.mark.parametrize("when", ["start", "round", "end"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("what", ["gcs_server", "raylet"])
def test_the_supervisor_goes_on_without_head_or_daemon(
    what, how, when, tmp_path
):
    """The head or this machine's daemon fails, which ends the driver."""
    expected = whole(tmp_path / "one", 60)
    path, victims = tmp_path / "many", []
    began = {"start": 0, "round": 30, "end": 59}[when]
    try:
        with training(
            path, "--total_rounds=60", "--runtime=ray", supervised=True
        ) as process:

            def victim():
                if rounds_of(path) < began:
                    return None
                with contextlib.suppress(psutil.Error):
                    for each in process.children(recursive=True):
                        if each.name().startswith(what):
                            return each
                return None

            found = wait(victim, process, path)
            if found is not None:
                victims = [found, *found.children(recursive=True)]
                found.send_signal(how)
            assert process.wait(PATIENCE) == 0, said(path)[-3000:]
    finally:
        for each in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    assert end(path) == expected
    assert found is not None
