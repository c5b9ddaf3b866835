"""The data of clients: alike in a round and for a client's own model."""

import dataclasses

import numpy as np
import pytest

from tff_pipeline.assembly.task import load_task
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.privacy.example_plan import ExamplePlan


@pytest.fixture(scope="module")
def config():
    return ExperimentConfig(
        data=DataConfig(
            "digits_2nn",
            partition="dirichlet",
            dirichlet_alpha=0.3,
            num_clients=2,
        ),
        clients=ClientConfig(
            clients_per_round=2,
            batch_size=8,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        devices=DeviceConfig(client_learning_rates="by_size"),
    )


def test_own_models_train_on_the_block_of_a_round_with_another_key(config):
    plan = ExamplePlan(8.0, 1e-4, clip=0.5, batch_size=8, steps=1, secret=1)
    source = CohortSource(config, load_task(config), examples_plan=plan)
    cohort = source.cohort(1)
    blocks = {
        client_id: block
        for client_id, (block,) in zip(cohort.client_ids, cohort.datasets)
    }
    for client_id, block in blocks.items():
        (own,) = source.training_data(client_id)
        assert own.keys() == block.keys()
        for name in ("x", "y", "rate", "steps", "noise_multiplier"):
            np.testing.assert_array_equal(own[name], block[name])
        assert own["key"] != block["key"]
        assert own["round"] == 0
    # Both depend on the client's size.
    for name in ("rate", "noise_multiplier"):
        assert len({float(block[name]) for block in blocks.values()}) > 1


@pytest.mark.parametrize(("name", "never"), [("fed_avg", 1), ("fed_buff", 0)])
def test_who_was_never_seen_is_known_of_rounds_alone(config, name, never):
    config = dataclasses.replace(
        config,
        algorithm=AlgorithmConfig(name),
        clients=ClientConfig(clients_per_round=1),
        devices=DeviceConfig(speeds="equal"),
    )
    source = CohortSource(config, load_task(config))
    assert len(source.never_seen(1)) == never
