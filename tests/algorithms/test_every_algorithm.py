"""Every algorithm learns by its flag alone, and goes on to the bit."""

import pytest

from tests.testing.soaked import soaked
from tff_pipeline import experiment, registry
from tff_pipeline.commands import verify
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.state_files import digest, flatten

# One whose clients keep states, without rounds; and one with two passes.
QUICK = ("fed_buff", "mime")


def config_of(name, path, rounds):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="dirichlet", num_clients=8),
        algorithm=AlgorithmConfig(name),
        clients=ClientConfig(
            clients_per_round=3,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=2,
            rounds_per_eval=4,
            sinks="csv",
            finishers="none",
        ),
    )


def end(path):
    """What a run ended with: the server's state and what clients keep."""
    store = CheckpointStore(str(path / "checkpoints"))
    folder = store.path(store.newest())
    with open(f"{folder}/state.npz", "rb") as file:
        state = file.read()
    _, weights = store.load_weights()
    return state, digest(flatten(weights)), (path / "rounds.jsonl").exists()


@pytest.mark.parametrize(
    "name", [*QUICK, *soaked(*sorted({*registry.ALGORITHMS} - {*QUICK}))]
)
def test_it_learns_and_goes_on_to_the_bit(name, tmp_path):
    if name not in registry.ALGORITHMS:
        pytest.skip("an algorithm of another test's own")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = experiment.run(config_of(name, whole, 8))
    # Of ten classes; the most frequent is a tenth of the examples.
    assert done.evaluation["accuracy"] > 0.3
    experiment.run(config_of(name, parts, 4))
    experiment.run(config_of(name, parts, 8))
    assert end(parts) == end(whole)
    assert all(finding.holds for finding in verify.verify(str(parts)))
