"""Returns what a private run says that its epsilon does not cover."""

import pytest

from tff_pipeline.assembly.privacy import protect
from tff_pipeline.assembly.task import load_task
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.runs.directory import RunDirectory


@pytest.mark.parametrize(
    ("name", "said"), [("fed_avg", []), ("fine_tune", ["Own models"])]
)
def test_figures_of_own_models_are_not_covered(name, said, tmp_path):
    config = ExperimentConfig(
        data=DataConfig("digits_2nn", num_clients=20),
        algorithm=AlgorithmConfig(name),
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(
            dp_clip=1.0, dp_noise_multiplier=1.0, dp_allow_large_delta=True
        ),
        run=RunConfig(output_dir=str(tmp_path)),
    )
    found = protect(
        config, load_task(config), 10, RunDirectory(str(tmp_path)), False
    )
    assert [each.partition(":")[0] for each in found.uncovered] == said
