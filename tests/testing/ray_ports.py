r"""Finds what listens in a Ray cluster, and who is answered there.

python -m tests.testing.ray_ports
unshare --map-root-user --net sh -c \
    "ip link set lo up; python -m tests.testing.ray_ports open"

Prints the table of docs/cluster_security.md: of a cluster with TLS and a token;
the second, of one without, which only a network of its own may have.
"""

import contextlib
import http.client
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile

import grpc
import psutil

from tests.testing import secured_cluster
from tff_pipeline.runtime.ray import certificates

_SECONDS = 3
# A worker that stays, and says so.
_DRIVER = """
import sys, time
from tff_pipeline.runtime.ray import cluster
import ray
with cluster.joined(sys.argv[1], 1, 60):
    print(ray.get(ray.remote(lambda: 42).remote()), flush=True)
    sys.stdin.read()
"""
# Calls that a listener of each kind knows; they change nothing.
_CALLS = (
    "/ray.rpc.NodeInfoGcsService/GetClusterId",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.CoreWorkerService/NumPendingTasks",
    "/ray.rpc.ObjectManagerService/FreeObjects",
    "/ray.rpc.RayletDriver/ClusterInfo",
)
# (method, path): of metrics, of the dashboard's agent, of the agent that
# installs packages.
_REQUESTS = (
    ("GET", "/metrics"),
    ("GET", "/api/local_raylet_healthz"),
    ("POST", "/get_runtime_envs_info"),
)


@contextlib.contextmanager
def working(address, environment):
    """A driver in the cluster, whose one worker has computed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, address],
        env={**environment, "PYTHONPATH": os.getcwd()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        try:
            assert process.stdout.readline() == b"42\n"
            yield psutil.Process(process.pid)
        finally:
            process.stdin.close()


def scan(head, driver, folder):
    """What listens, as dictionaries: a row of the table each."""
    rows = []
    for name, process, ip, port in head.listening(driver):
        everywhere = ip in ("::", "0.0.0.0")
        ip = secured_cluster.HOST if everywhere else ip.replace("::ffff:", "")
        rows.append(
            {
                "listener": name,
                "process": process.name(),
                "address": "all" if everywhere else ip,
                **_answers(ip, port, folder),
            }
        )
    return sorted(rows, key=lambda row: (row["listener"], row["address"]))


def _answers(host, port, folder):
    """Whether TLS is spoken; what is got without certificate, without token."""
    target = f"{host}:{port}"
    tls = _speaks_tls(host, port)
    found = {"tls": tls, "stranger": "nothing", "without_token": "-"}
    if not tls:
        answers = [_request(host, port, *one) for one in _REQUESTS]
        with grpc.insecure_channel(target) as channel:
            answers += [_called(channel, name) for name in _CALLS]
        found["stranger"] = _most(answers)
        return found
    stranger = grpc.ssl_channel_credentials(
        pathlib.Path(folder, "ca.pem").read_bytes()
    )
    parts = [
        pathlib.Path(folder, name).read_bytes()
        for name in ("ca.pem", "key.pem", "cert.pem")
    ]
    member = grpc.ssl_channel_credentials(*parts)
    options = [("grpc.ssl_target_name_override", secured_cluster.HOST)]
    for key, credentials in (("stranger", stranger), ("without_token", member)):
        with grpc.secure_channel(target, credentials, options) as channel:
            found[key] = _most([_called(channel, name) for name in _CALLS])
    return found


def _speaks_tls(host, port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:
        return False


def _called(channel, name):
    try:
        channel.unary_unary(name)(b"", timeout=_SECONDS)
    except grpc.RpcError as error:
        return {
            grpc.StatusCode.UNAUTHENTICATED: "refused",
            grpc.StatusCode.UNAVAILABLE: "nothing",
            grpc.StatusCode.UNIMPLEMENTED: "unknown call",
        }.get(error.code(), f"{error.code().name} at {name}")
    return f"answers {name}"


def _request(host, port, method, path):
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request(method, path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return "nothing"
    finally:
        connection.close()
    if status in (401, 403):
        return "refused"
    return f"answers {path}" if status == 200 else f"HTTP {status} at {path}"


def _most(answers):
    """The answer that gives away most."""
    order = ("answers", "HTTP", "refused", "unknown call", "nothing")

    def place(text):
        for number, start in enumerate(order):
            if text.startswith(start):
                return number
        return 1

    return min(answers, key=place)


def table(rows):
    """The rows as a table of Markdown."""
    lines = [
        "| listener | process | listens on | TLS | a stranger gets | a "
        "certificate without the token gets |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        shown = "yes" if row["tls"] else "**no**"
        lines.append(
            f"| {row['listener']} | {row['process']} | {row['address']} | "
            f"{shown} | {row['stranger']} | {row['without_token']} |"
        )
    return "\n".join(lines)


def main(is_open):
    """Prints the table."""
    if is_open and set(psutil.net_if_addrs()) - {"lo"}:
        sys.exit("error: an open cluster is started in no network but its own.")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        host = secured_cluster.HOST
        own = certificates.make(f"{folder}/certs", [host], 1)[host]
        environment = secured_cluster.environment_of(None if is_open else own)
        with (
            secured_cluster.started_head(environment, folder) as head,
            working(head.address, environment) as driver,
        ):
            print(table(scan(head, driver, own)))


if __name__ == "__main__":
    main(sys.argv[1:] == ["open"])
