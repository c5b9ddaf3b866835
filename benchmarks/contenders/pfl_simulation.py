"""pfl: its simulated backend in a process a processor, with PyTorch."""

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Callable, Optional

import numpy as np
import torch

from benchmarks.contenders import ROOT
from benchmarks.models import in_torch
from benchmarks.rounds import Rounds
from benchmarks.workloads import WORKLOADS, Workload, client_data

Wait = Callable[[Callable[[], Sequence[np.ndarray]]], None]


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    # As torchrun would set them; pfl reads them when it is imported.
    processes = os.cpu_count() or 1
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    os.environ.update(
        MASTER_ADDR="localhost",
        MASTER_PORT=str(port),
        TORCHELASTIC_RUN_ID="benchmark",
        WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(processes),
    )
    for rank in reversed(range(processes)):
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        if rank:
            subprocess.Popen(
                [sys.executable, "-m", __name__, workload.name], cwd=ROOT
            )
    _train(workload, rounds.wait)


def _train(workload: Workload, wait: Optional[Wait] = None) -> None:
    """Trains this process's share of the clients, one after the other."""
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.aggregate.weighting import WeightByDatapoints
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.callback.base import TrainingProcessCallback
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
    from pfl.internal.ops import get_ops
    from pfl.metrics import Metrics
    from pfl.model.pytorch import PyTorchModel

    torch.set_num_threads(1)
    module = _Module(in_torch.build(workload))

    class Between(TrainingProcessCallback):
        """Waits for the next round, in all processes."""

        def on_train_begin(self, *, model):
            self._wait()
            return Metrics()

        def after_central_iteration(self, aggregate_metrics, model, **_):
            self._wait()
            return False, Metrics()

        def _wait(self):
            if wait:
                wait(lambda: in_torch.weights(module.model))
            torch.distributed.barrier()

    data = [
        Dataset(in_torch.tensors(workload, *xy), user_id=str(i))
        for i, xy in enumerate(client_data(workload))
    ]
    rank = get_ops().distributed.global_rank
    processes = get_ops().distributed.world_size
    share = _balanced(workload.sizes, processes)[rank::processes]
    # Of as many draws as there are processes, pfl lets each of them keep one.
    draws = itertools.cycle(np.repeat(share, processes).tolist())
    federated = FederatedDataset(data.__getitem__, draws.__next__)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=10**9,
            # Never but in the first iteration, where pfl always evaluates.
            evaluation_frequency=10**9,
            train_cohort_size=len(data),
            val_cohort_size=0,
        ),
        SimulatedBackend(federated, federated, [WeightByDatapoints()]),
        PyTorchModel(
            module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1)
        ),
        NNTrainHyperParams(
            local_num_epochs=1,
            local_learning_rate=workload.learning_rate,
            local_batch_size=workload.batch_size,
        ),
        NNEvalHyperParams(local_batch_size=workload.batch_size),
        [Between()],
        send_metrics_to_platform=False,
    )


def _balanced(sizes: Sequence[int], processes: int) -> list[int]:
    """Clients in an order in which processes that take turns get equal shares.

    pfl has a sampler that does so, in a process more for each that trains.
    """
    largest_first = sorted(range(len(sizes)), key=lambda i: -sizes[i])
    order: list[int] = []
    for begin in range(0, len(sizes), processes):
        order += largest_first[begin : begin + processes][
            :: -1 if begin // processes % 2 else 1
        ]
    return order


class _Module(torch.nn.Module):
    """What pfl asks of a model."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return in_torch.loss(self.model, x, y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict:
        return {}


if __name__ == "__main__":
    _train(WORKLOADS[sys.argv[1]])
