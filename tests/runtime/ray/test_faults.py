"""Runs through which workers, machines, heads and drivers fail: the same bits.

Machines are Ray's daemons on this one, each with processors of its own. Faults
come at random times and are of all kinds; their order is drawn from a seed, but
where in a run each falls is chance, and the weights must be the same wherever.
"""

import contextlib
import itertools
import os
import pathlib
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

from tests.testing import secured_cluster
from tff_pipeline.runtime.ray import certificates

pytestmark = pytest.mark.soak

SEED = 19
FAULTS, ROUNDS = 50, 400
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
def training(path, *flags, supervised=False, environment=os.environ):
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
            env={**environment, "PYTHONUNBUFFERED": "1"},
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


class Machine:
    """Ray's daemon with an address of its own, which is closed to others."""

    numbers = itertools.count(2)

    def __init__(self, environment, folder, *flags):
        self.address = f"127.0.0.{next(self.numbers)}"
        self.log = folder / f"{self.address}.txt"
        with open(self.log, "wb") as log:
            self.process = psutil.Popen(
                [
                    str(pathlib.Path(sys.executable).with_name("ray")),
                    *("start", "--block", f"--node-ip-address={self.address}"),
                    "--object-store-memory=80000000",
                    *flags,
                ],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def began(self):
        assert self.process.poll() is None, self.log.read_text()
        return "block forever" in self.log.read_text()

    def signal(self, number):
        """Sends a signal to the daemon; what it began ends with it."""
        for each in self.process.children():
            if each.name() == "raylet":
                each.send_signal(number)

    def end(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            left = [*self.process.children(recursive=True), self.process]
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(left, timeout=30)


def test_fifty_faults_change_nothing(tmp_path):
    draw = random.Random(SEED)
    expected = whole(tmp_path / "one", ROUNDS)
    # Of loopback addresses 127.0.0.1 alone is closed, and each machine needs
    # another: so they have TLS and a token.
    names = "+".join(f"127.0.0.{number}" for number in range(2, 200))
    made = certificates.make(str(tmp_path / "certs"), [names], days=1)
    environment = secured_cluster.environment_of(made[names])
    port = secured_cluster.free_ports(1)[0]
    path, stopped, done = tmp_path / "many", [], []
    head = Machine(
        environment,
        tmp_path,
        *("--head", f"--port={port}", "--num-cpus=0"),
        *("--include-dashboard=false", f"--temp-dir={tmp_path / 'r'}"),
    )
    address = f"{head.address}:{port}"
    began = [head]

    def machine():
        flags = f"--address={address}", "--num-cpus=1"
        began.append(Machine(environment, tmp_path, *flags))
        return began[-1]

    try:
        wait(head.began, head.process, head.log)
        machines = [machine() for _ in range(2)]
        with training(
            path,
            f"--total_rounds={ROUNDS}",
            *("--runtime=ray", f"--ray_address={address}"),
            *("--shard_seconds=30", "--max_shard_tries=20"),
            environment=environment,
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
                        stopped.append(pid)
                    elif kind == "memory":
                        # No page more, and the next one is asked for soon.
                        resource.prlimit(pid, resource.RLIMIT_AS, (1, 1))
                    else:
                        how = "SIGKILL" if kind == "lose" else "SIGSTOP"
                        machines.pop(0).signal(signal.Signals[how])
                        machines.append(machine())  # A late joiner.
                done.append(kind)
            assert process.wait(PATIENCE) == 0, said(path)[-3000:]
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for each in began:
            each.end()
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
