"""Learning rates that change over rounds, from the flag to the weights."""

import dataclasses

import numpy as np
import pytest

from tests.testing.scripts import rows_of
from tests.testing.soaked import soaked
from tff_pipeline import experiment
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.runs.checkpoint import CheckpointStore

RATE = 0.05


def updates(path, rounds=3, client=None, server=None):
    """The change of the weights in each round, a vector a round."""
    client_optimizer = OptimizerConfig("client", "sgd", RATE, **(client or {}))
    server_optimizer = OptimizerConfig("server", "sgd", 1.0, **(server or {}))
    config = ExperimentConfig(
        data=DataConfig("digits_2nn", num_clients=4, partition="iid"),
        # One step of all examples: the update is the rate times a gradient.
        clients=ClientConfig(
            clients_per_round=4,
            batch_size=2000,
            optimizer=client_optimizer,
        ),
        server=ServerConfig(server_optimizer),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_eval=rounds,
            rounds_per_checkpoint=1,
            finishers="none",
        ),
    )
    experiment.run(config)
    store = CheckpointStore(str(path / "checkpoints"))
    weights = [initial_weights(experiment.load_task(config), 0).trainable]
    weights += [store.load_weights(n)[1].trainable for n in store.rounds()]
    flat = [np.concatenate([np.ravel(w) for w in each]) for each in weights]
    return np.diff(flat, axis=0), config


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    path = tmp_path_factory.mktemp("constant")
    return path, updates(path)[0]


HALVES = {"lr_schedule": "step", "lr_decay": 0.5, "lr_decay_rounds": 1}


@pytest.mark.parametrize("side", ["client", *soaked("server")])
def test_a_rate_that_halves_halves_the_update(side, constant, tmp_path):
    changes, _ = updates(tmp_path, **{side: HALVES})
    _, expected = constant
    np.testing.assert_array_equal(changes[0], expected[0])
    # The same weights so far, hence the same gradient; half of the rate.
    length = np.linalg.norm(changes[1]) / np.linalg.norm(expected[1])
    assert length == pytest.approx(0.5, rel=1e-4)
    # After that the weights differ a little, and so do gradients.
    length = np.linalg.norm(changes[2]) / np.linalg.norm(expected[2])
    assert length == pytest.approx(0.25, rel=0.1)


@pytest.mark.soak
def test_a_run_that_goes_on_has_the_rate_of_its_round(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    schedules = {
        "client": {"lr_schedule": "cosine", "lr_decay_rounds": 4},
        "server": {"lr_schedule": "exponential", "lr_decay_rounds": 2},
    }
    changes, config = updates(whole, rounds=4, **schedules)
    run = dataclasses.replace(config.run, output_dir=str(parts))
    config = dataclasses.replace(config, run=run)
    experiment.run(config, until=2)
    experiment.run(config)
    assert rows_of(whole) == rows_of(parts)
    # Shorter and shorter: the client's cosine is at 0 after round 4.
    lengths = np.linalg.norm(changes, axis=1)
    assert (np.diff(lengths) < 0).all()
