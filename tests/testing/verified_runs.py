"""The run whose papers are verified, changed and verified again."""

from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)

ROUNDS = 4


def config_of(path, groups=None, **run):
    run = {"total_rounds": ROUNDS, "rounds_per_checkpoint": 2, **run}
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=12),
        clients=ClientConfig(clients_per_round=3, batch_size=16),
        run=RunConfig(output_dir=str(path), rounds_per_eval=2, **run),
        **(groups or {}),
    )
