"""A Ray cluster that `ray start` begins, for this machine alone."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import psutil

from tff_pipeline.runtime.ray import certificates

# Of 127.0.0.1, `ray start` makes another address of this machine.
HOST = "127.0.0.2"
# By the flag of `ray start` that fixes it, and what it is for.
PORTS = {
    "port": "GCS",
    "node-manager-port": "node manager",
    "object-manager-port": "object manager",
    "ray-client-server-port": "Ray client server",
    "dashboard-agent-grpc-port": "dashboard agent, gRPC",
    "dashboard-agent-listen-port": "dashboard agent, HTTP",
    "runtime-env-agent-port": "runtime env agent",
    "metrics-export-port": "metrics export",
}
WORKER_PORTS = 10
# The one port that no flag fixes.
METRICS = "autoscaler monitor, metrics"
_METRICS_PORT = "AUTOSCALER_METRIC_PORT"


def free_ports(count):
    """Ports of which nobody had one a moment ago, in a row."""
    for first in range(21000, 30000, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    made = stack.enter_context(socket.socket())
                    made.bind(("", port))
            except OSError:
                continue
            return list(range(first, first + count))
    raise AssertionError("no free ports")


def environment_of(folder=None):
    """This process's environment, with the files of a machine or none."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_")
    }
    return {
        **kept,
        **(certificates.environment(str(folder)) if folder else {}),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


class Head:
    """A head that runs: its `address`, its listeners by port, processes."""

    def __init__(self, process, ports, metrics):
        self.process = process
        self.names = {port: PORTS[flag] for flag, port in ports.items()}
        self.names[metrics] = METRICS
        self.address = f"{HOST}:{ports['port']}"
        self.seen = {}

    def processes(self):
        """The processes that `ray start` has begun, workers too."""
        for one in psutil.Process(self.process.pid).children(recursive=True):
            self.seen[one.pid] = one
        return [one for one in self.seen.values() if one.is_running()]

    def listening(self, *others):
        """(name, process, IP address, port) of all that listens, once each.

        Args:
          others: Processes to look at besides: drivers.
        """
        found = []
        for one in (*self.processes(), *others):
            with contextlib.suppress(psutil.NoSuchProcess):
                places = {
                    (connection.laddr.port, connection.laddr.ip)
                    for connection in one.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
                kind = "driver" if one in others else _kind(one)
                found += [
                    (self.names.get(port, kind), one, ip, port)
                    for port, ip in sorted(places)
                ]
        return found


def _kind(process):
    words = " ".join(process.cmdline())
    return "worker" if "ray::" in words else f"unknown: {words}"


@contextlib.contextmanager
def started_head(environment, temporary):
    """Starts a head; ends it and all it began."""
    metrics, *names = free_ports(1 + len(PORTS) + WORKER_PORTS)
    ports = dict(zip(PORTS, names))
    workers = names[len(PORTS) :]
    # Ray lets everyone write to its folder, and to those that it makes there.
    own = pathlib.Path(temporary, "r")
    command = [
        str(pathlib.Path(sys.executable).with_name("ray")),
        *("start", "--head", "--block", f"--node-ip-address={HOST}"),
        *(f"--{flag}={port}" for flag, port in ports.items()),
        f"--min-worker-port={workers[0]}",
        f"--max-worker-port={workers[-1]}",
        *("--num-cpus=1", "--object-store-memory=80000000"),
        *("--include-dashboard=false", f"--temp-dir={own}"),
    ]
    with open(pathlib.Path(temporary) / "head.txt", "wb") as log:
        process = subprocess.Popen(
            command,
            env={**environment, _METRICS_PORT: str(metrics)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    head = Head(process, ports, metrics)
    try:
        _wait(head, log.name)
        yield head
    finally:
        running = [*head.processes(), psutil.Process(process.pid)]
        process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(running, timeout=10)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def _wait(head, log):
    """Waits until `ray start` is done, and the last of its processes."""
    deadline = time.monotonic() + 90
    while b"block forever" not in pathlib.Path(
        log
    ).read_bytes() or METRICS not in {name for name, *_ in head.listening()}:
        head.processes()
        if head.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(pathlib.Path(log).read_text())
        time.sleep(0.2)
