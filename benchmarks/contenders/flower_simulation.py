"""Flower: its simulation on Ray, with its FedAvg strategy and PyTorch."""

import functools
import os

import numpy as np
import torch

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.models import in_torch
from benchmarks.rounds import Rounds
from benchmarks.workloads import WORKLOADS, Workload, client_data


@functools.cache
def _prepared(name: str) -> tuple[torch.nn.Module, list]:
    """Model and clients' data, made once in each of Ray's workers."""
    # One worker a processor, each with one thread.
    torch.set_num_threads(1)
    workload = WORKLOADS[name]
    data = [in_torch.tensors(workload, *xy) for xy in client_data(workload)]
    return in_torch.build(workload), data


def _client_app(workload: Workload) -> ClientApp:
    app = ClientApp()
    name, size = workload.name, workload.batch_size
    rate = workload.learning_rate

    @app.train()
    def train(message: Message, context: Context) -> Message:
        model, data = _prepared(name)
        x, y = data[int(context.node_config["partition-id"])]
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for begin in range(0, len(x), size):
            optimizer.zero_grad()
            batch = slice(begin, begin + size)
            in_torch.loss(model, x[batch], y[batch]).backward()
            optimizer.step()
        content = {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord({"num-examples": len(x)}),
        }
        return Message(content=RecordDict(content), reply_to=message)

    return app


def _server_app(workload: Workload, rounds: Rounds) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        model = in_torch.build(workload)

        def between(number: int, arrays: ArrayRecord) -> None:
            # Called before the first round and after every round.
            def weights() -> list[np.ndarray]:
                model.load_state_dict(arrays.to_torch_state_dict())
                return in_torch.weights(model)

            rounds.wait(weights)

        clients = len(workload.sizes)
        strategy = FedAvg(
            fraction_evaluate=0.0,
            min_train_nodes=clients,
            min_available_nodes=clients,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(model.state_dict()),
            num_rounds=10**9,
            evaluate_fn=between,
        )

    return app


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    run_simulation(
        _server_app(workload, rounds),
        _client_app(workload),
        len(workload.sizes),
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": os.cpu_count(), "logging_level": 40},
        },
    )
