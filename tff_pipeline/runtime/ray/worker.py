"""The actor that computes shards on a machine of the cluster."""

import dataclasses
import os
import socket
from collections.abc import Callable, Mapping

import threadpoolctl

from tff_pipeline.runtime import freed_memory
from tff_pipeline.runtime.passes import OfShard
from tff_pipeline.runtime.ray import agreement
from tff_pipeline.runtime.ray.layout import Broadcast, Program, Shard
from tff_pipeline.runtime.ray.shard_work import Read, ShardWork


@dataclasses.dataclass(frozen=True)
class Reader:
    """How a machine reads the data of clients.

    Attributes:
      read: Reads what a reference stands for.
      facts: A name, as it stands in a message -> a value that must be the same
        on all machines, such as a digest of the clients' ids.
      files: Path of a file that the driver's graphs map into memory -> the path
        that it has here.
    """

    read: Read
    facts: Mapping[str, str]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class About:
    """What a worker says of itself when it joins.

    Attributes:
      host: The name of its machine.
      pid: The id of its process.
      facts: What must be the same on all machines.
    """

    host: str
    pid: int
    facts: Mapping[str, str]


class Worker:
    """Computes one shard after the other; an actor of Ray's."""

    def __init__(self, make_reader: Callable[[], Reader]):
        """Reads what there is of data; compiles nothing yet.

        Args:
          make_reader: Makes the reader on this machine.
        """
        freed_memory.keep()
        # As in one process: BLAS's own threads would spin between two calls.
        threadpoolctl.threadpool_limits(1, "blas")
        reader = make_reader()
        self._facts = {**agreement.of_this_process(), **reader.facts}
        self._work = ShardWork(reader.read, reader.files)

    def about(self) -> About:
        """Describes the worker; the answer tells that it is there."""
        return About(socket.gethostname(), os.getpid(), self._facts)

    def compute(
        self, program: Program, broadcast: Broadcast, shard: Shard
    ) -> OfShard:
        """Computes a shard; see `ShardWork.compute`."""
        return self._work.compute(program, broadcast, shard)

    def usage(self) -> Mapping[str, float]:
        """Measures the worker's process; see `usage_here`."""
        return usage_here()


def usage_here() -> Mapping[str, float]:
    """Measures this process: seconds of its CPU, bytes of its memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    times = os.times()
    return {
        "cpu_seconds": times.user + times.system,
        "bytes": float(pages * os.sysconf("SC_PAGE_SIZE")),
    }
