"""Tests who may use a run's own cluster, and which others a run joins."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.testing.fork_server import ROOT

pytest.importorskip("ray", reason="Ray is not installed: .[ray]")

# Twice: a second cluster of one process has another token.
OWN = """
import json, os, grpc, psutil, ray
from tff_pipeline.runtime.ray import cluster

CALLS = (
    "NodeInfoGcsService/GetClusterId",
    "InternalKVGcsService/InternalKVKeys",
)

def statuses(address, token=None):
    shown = [] if token is None else [("authorization", f"Bearer {token}")]
    for call in CALLS:
        with grpc.insecure_channel(address) as channel:
            try:
                channel.unary_unary("/ray.rpc." + call)(
                    b"", timeout=10, metadata=shown
                )
            except grpc.RpcError as error:
                yield error.code().name
            else:
                yield "OK"

found, tokens = [], set()
for _ in range(2):
    with cluster.joined("local", 1, 120):
        ran = ray.get(ray.remote(lambda: 19).remote(), timeout=120)
        address = ray.get_runtime_context().gcs_address
        token = os.environ.get("RAY_AUTH_TOKEN", "no token")
        tokens.add(token)
        me = psutil.Process()
        processes = [me, *me.children(recursive=True)]
        found.append({
            "ran": ran,
            "stranger": [*statuses(address)],
            "guess": [*statuses(address, "0" * 64)],
            "owner": [*statuses(address, token)],
            "listens": sorted({
                connection.laddr.ip.replace("::ffff:", "")
                for process in processes
                for connection in process.connections("inet")
                if connection.status == "LISTEN"
            }),
            "token in a command": any(
                token in word for process in processes
                for word in process.cmdline()
            ),
        })
left = sorted(name for name in os.environ if name.startswith("RAY_AUTH"))
print(json.dumps([found, len(tokens), left]))
"""
# The addresses of a cluster's machines are its arguments; 10.9.9.1 is that of
# this machine in its network.
JOINS = """
import sys
from ray.cluster_utils import Cluster
from tff_pipeline import errors
from tff_pipeline.runtime.ray import cluster

def machine(address):
    return {
        "num_cpus": 1,
        "node_ip_address": address,
        "object_store_memory": 80_000_000,
    }

other = Cluster(True, head_node_args=machine(sys.argv[1]))
for address in sys.argv[2:]:
    other.add_node(**machine(address))
port = other.address.rpartition(":")[2]
try:
    with cluster.joined(f"127.0.0.1:{port}", 1, 60):
        print("joined")
except errors.PipelineError as error:
    print(error)
other.shutdown()
"""
# So that an open cluster is open to nobody.
APART = """
ip link set lo up && ip addr add 10.9.9.1/32 dev lo &&
ip route add default dev lo src 10.9.9.1 && exec "$@"
"""
ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", APART, "sh"]


def said(*command):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RAY_")
    }
    done = subprocess.run(
        command,
        env={
            **environment,
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_runs_cluster_is_of_no_use_to_other_users_of_the_machine():
    found, tokens, left = json.loads(said(sys.executable, "-c", OWN))
    refused = ["UNAUTHENTICATED"] * 2
    expected = {
        "ran": 19,
        "stranger": refused,
        "guess": refused,
        "owner": ["OK"] * 2,
        "listens": ["127.0.0.1"],
        "token in a command": False,
    }
    assert found == [expected] * 2
    assert tokens == 2
    assert not left


@pytest.mark.soak
@pytest.mark.parametrize(
    ("machines", "words"),
    [
        (["127.0.0.1"], "^joined$"),
        # Ray joins it, or finds no machine of that address, as it comes.
        (
            ["10.9.9.1"],
            "no machine of the cluster .* has the address 127.0.0.1;|"
            "reaches beyond this machine.*RAY_USE_TLS=1.*RAY_AUTH_MODE=token",
        ),
        (
            ["127.0.0.1", "127.0.0.2"],
            "reaches beyond this machine.*RAY_USE_TLS=1.*RAY_AUTH_MODE=token",
        ),
    ],
)
def test_that_a_head_answers_on_loopback_does_not_make_it_closed(
    machines, words
):
    try:
        subprocess.run([*ALONE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces are refused here: {error}")
    line = said(*ALONE, sys.executable, "-c", JOINS, *machines)
    assert re.search(words, line), line
