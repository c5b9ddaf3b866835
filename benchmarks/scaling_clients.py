"""Made-up clients, which every worker makes alike."""

import dataclasses
from typing import Any

import numpy as np

from tff_pipeline.assembly import process
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.client_work.block import client_block, client_key
from tff_pipeline.cohorts.blocks import BlockReference
from tff_pipeline.config import ClientConfig, ExperimentConfig, OptimizerConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.models.conv import two_convolutions
from tff_pipeline.models.dense import two_hidden_layers
from tff_pipeline.runtime.ray.worker import Reader
from tff_pipeline.tasks.task import Task

_EXAMPLES = 100
_MODELS = {"cnn": two_convolutions, "2nn": two_hidden_layers}


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """Makes the data of any client; every worker has a copy.

    Attributes:
      model: The name of the workload.
    """

    model: str

    def __call__(self) -> Reader:
        """Makes the reader of a worker."""
        return Reader(self.read, {})

    def read(self, reference: BlockReference) -> Any:
        """Makes the block of a client."""
        return client_block(
            _examples(),
            client_key(0, reference.round_number, reference.position),
            reference.round_number,
        )


def _examples() -> Examples:
    draw = np.random.default_rng(0)
    return Examples(
        draw.integers(256, size=[_EXAMPLES, 28, 28, 1]).astype(np.uint8),
        draw.integers(10, size=_EXAMPLES).astype(np.int32),
    )


def cohort(number: int, clients: int) -> list[BlockReference]:
    """Names the blocks of a round."""
    return [BlockReference(place, number + 1) for place in range(clients)]


def algorithm_of(model: str, clients: int) -> tuple[Any, Any]:
    """Makes FedAvg on made-up clients, and the model's first weights."""
    examples, make = _examples(), _MODELS[model]
    task = Task(
        "made_up",
        InMemoryData(
            examples, {f"client_{i}": np.arange(1) for i in range(clients)}
        ),
        examples,
        lambda: make([28, 28, 1], 1 / 255, 10),
    )
    config = ExperimentConfig(
        clients=ClientConfig(
            clients_per_round=clients,
            batch_size=10,
            optimizer=OptimizerConfig("client", "sgd", 0.01),
        )
    )
    built = process.build_algorithm(config, task, Protection())
    return built, initial_weights(task, 0)
