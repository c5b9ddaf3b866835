"""An execution context whose clients are computed on a Ray cluster.

The server's part of a computation runs in this process, as it does without a
cluster. A cohort is cut into the same shards, each is folded by the same code,
and the results are merged in the same order, so a run has the same bits on one
machine and on many, whatever fails on the way.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from tff_pipeline.runtime import passes, shards
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.ray import agreement, cluster
from tff_pipeline.runtime.ray.layout import Layout, OnWorkers, Program
from tff_pipeline.runtime.ray.options import LOST_WORKERS, PoolOptions
from tff_pipeline.runtime.ray.pool import RayPool
from tff_pipeline.runtime.ray.worker import Reader

_JOIN_SECONDS = 60.0


class RayContext(InProcessContext):
    """Runs TFF computations here, and their clients on a cluster."""

    def __init__(
        self,
        make_reader: Callable[[], Reader],
        facts: Mapping[str, str],
        ray_address: str,
        options: PoolOptions,
        clients_per_shard: int,
        announce: Callable[[str], None] = lambda _: None,
    ):
        """Joins no cluster yet; entering does.

        Args:
          make_reader: Makes the reader of clients on a worker's machine; sent
            by `pickle`.
          facts: What a worker's reader must share with the driver's.
          ray_address: The cluster's address, such as 10.0.0.1:6379; `local`
            starts one on this machine.
          options: The number of workers, and limits.
          clients_per_shard: As for `InProcessContext`.
          announce: Takes a line about each event.
        """
        super().__init__(1, clients_per_shard)
        self._make_reader = make_reader
        self._facts = facts
        self._address = ray_address
        self._options = options
        self._announce = announce
        self._programs: dict[int, tuple[Any, Program]] = {}
        self._pool_of_workers: Optional[RayPool] = None
        self._counted = 0

    def __enter__(self) -> "RayContext":
        super().__enter__()
        self._joined = contextlib.ExitStack()
        try:
            self._joined.enter_context(
                cluster.joined(
                    self._address, self._options.workers, _JOIN_SECONDS
                )
            )
            self._pool_of_workers = RayPool(
                self._make_reader,
                {**agreement.of_this_process(), **self._facts},
                self._options,
                self._announce,
            )
            self._joined.callback(self._pool_of_workers.close)
        except BaseException:
            self._joined.close()
            super().__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception: Any) -> None:
        self._joined.close()
        super().__exit__(*exception)

    @property
    def workers(self) -> RayPool:
        """The workers, while the context is entered."""
        assert self._pool_of_workers is not None
        return self._pool_of_workers

    def figures(self) -> Mapping[str, int]:
        """Counts the workers that were lost since the last call."""
        before, self._counted = self._counted, self.workers.losses
        return {LOST_WORKERS: self._counted - before}

    def _computer(
        self, comp: Any, argument: Any, nodes: Sequence[Any], num_clients: int
    ) -> passes.ClientComputer:
        if not num_clients:
            return super()._computer(comp, argument, nodes, num_clients)
        if id(comp) not in self._programs:
            block = self._compiled(comp).block
            self._programs[id(comp)] = comp, Program.of(block)
        return OnWorkers(
            self.workers,
            self._programs[id(comp)][1],
            Layout(argument, nodes),
            list(shards.cut(num_clients, self._clients_per_shard)),
        )
