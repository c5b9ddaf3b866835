"""Two machines of one network, each a namespace of this machine.

Each has addresses, processes and a /tmp/ray of its own, so that what runs on it
can neither see nor end what runs here.
"""

import contextlib
import os
import shutil
import subprocess

import pytest

ADDRESSES = ("10.87.65.1", "10.87.65.2")
_ON_MACHINE = """
hostname "$1" && mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && shift &&
exec "$@"
"""


class Machine:
    """A namespace of the network and its processes."""

    def __init__(self, name, address):
        self.name = name
        self.address = address

    def start(self, *command, **options):
        """Starts a process there; to kill it ends all that it started."""
        return subprocess.Popen(
            [
                *("ip", "netns", "exec", self.name),
                *("unshare", "--uts", "--mount", "--mount-proc", "--pid"),
                *("--fork", "--kill-child", "sh", "-c", _ON_MACHINE, "sh"),
                *(self.name, *map(str, command)),
            ],
            **options,
        )


@contextlib.contextmanager
def two_machines():
    """Makes them, or skips the test where that is refused."""
    if not all(map(shutil.which, ("ip", "unshare", "hostname"))):
        pytest.skip("there is no ip, unshare or hostname here")
    names = [f"tff-{os.getpid()}-{i}" for i in range(2)]
    made = []
    try:
        for name in names:
            _ip("netns", "add", name)
            made.append(name)
        ends = [f"veth{i}" for i in range(2)]
        _ip(
            *("link", "add", ends[0], "netns", names[0], "type", "veth"),
            *("peer", "name", ends[1], "netns", names[1]),
        )
        for name, end, address in zip(names, ends, ADDRESSES):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            for device in ("lo", end):
                _ip("-n", name, "link", "set", device, "up")
            # Ray takes the address of the default route for the machine's.
            _ip("-n", name, "route", "add", "default", "dev", end)
        yield [Machine(*pair) for pair in zip(names, ADDRESSES)]
    finally:
        for name in made:
            _ip("netns", "del", name)


def _ip(*arguments):
    done = subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"namespaces are refused here: {done.stderr.strip()}")
