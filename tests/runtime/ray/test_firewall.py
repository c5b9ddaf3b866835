"""The firewall of docs/cluster_security.md, between two network namespaces."""

import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.testing.fork_server import ROOT

pytestmark = pytest.mark.soak

# 10.0.0.1 has the firewall; 10.0.0.2 is a machine of the cluster, 10.0.0.3 not.
_NETWORK = """
set -e
ip link set lo up
unshare --net sleep 60 & other=$!
sleep 1
ip link add name inside type veth peer name outside netns $other
ip addr add 10.0.0.1/24 dev inside
ip link set inside up
nsenter -t $other -n sh -c "ip addr add 10.0.0.2/24 dev outside
ip addr add 10.0.0.3/24 dev outside
ip link set outside up"
nft -f "$1"
"$2" -c "$3" listen & listener=$!
nsenter -t $other -n "$2" -c "$3" dial
kill $other $listener
"""
_ENDS = """
import socket, sys, time
ports = [6379, 6380, 6381, 6382, 6387, 10002, 10100, 10101]
if sys.argv[1] == "listen":
    open_ports = [socket.create_server(("", port)) for port in ports]
    time.sleep(60)
time.sleep(1)
for source in ("10.0.0.2", "10.0.0.3"):
    for port in ports:
        try:
            socket.create_connection(("10.0.0.1", port), 0.5, (source, 0))
            print(source, port)
        except TimeoutError:
            pass
"""


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_the_firewall_lets_machines_in_alone(tmp_path):
    text = (ROOT / "docs/cluster_security.md").read_text()
    start = text.index("    table inet ray {")
    rules = tmp_path / "ray.nft"
    end = text.index("\n    }\n", start) + len("\n    }\n")
    rules.write_text(textwrap.dedent(text[start:end]))
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("this machine refuses network namespaces")
    done = subprocess.run(
        [*alone, "bash", "-c", _NETWORK, "-", rules, sys.executable, _ENDS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    reached = set(done.stdout.splitlines())
    assert reached == {
        *(f"10.0.0.2 {port}" for port in (6379, 6380, 6381, 10002, 10100)),
        # The firewall is of Ray's ports alone.
        *("10.0.0.2 10101", "10.0.0.3 10101"),
    }, done.stderr
