"""A cluster without machines: messages are pickled, and computed here."""

import pickle

from tff_pipeline.runtime import shards
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.ray.layout import Layout, OnWorkers, Program
from tff_pipeline.runtime.ray.options import LOST_WORKERS
from tff_pipeline.runtime.ray.shard_work import ShardWork


class LoopbackContext(InProcessContext):
    """Has the arguments of a `RayContext`; a worker for each second shard."""

    def __init__(
        self, make_reader, facts, address, options, clients_per_shard, announce
    ):
        super().__init__(1, clients_per_shard)
        reader = pickle.loads(pickle.dumps(make_reader))()
        assert reader.facts == facts
        self._workers = [
            ShardWork(reader.read, reader.files) for _ in range(options.workers)
        ]
        self.announce = announce

    def figures(self):
        return {LOST_WORKERS: 0}

    def compute(self, program, broadcast, of_shards):
        for number, shard in enumerate(of_shards):
            message = pickle.dumps((program, broadcast, shard), protocol=5)
            worker = self._workers[number % len(self._workers)]
            result = worker.compute(*pickle.loads(message))
            yield pickle.loads(pickle.dumps(result, protocol=5))

    def _computer(self, comp, argument, nodes, num_clients):
        if not num_clients:
            return super()._computer(comp, argument, nodes, num_clients)
        return OnWorkers(
            self,
            Program.of(self._compiled(comp).block),
            Layout(argument, nodes),
            list(shards.cut(num_clients, self._clients_per_shard)),
        )
