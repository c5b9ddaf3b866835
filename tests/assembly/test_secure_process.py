"""With a secure aggregator, all that leaves a client is in a secure sum."""

import re

import pytest
import tensorflow_federated as tff

from tests.testing.soaked import soaked
from tff_pipeline.algorithms.algorithm import check
from tff_pipeline.assembly.privacy import Protection
from tff_pipeline.assembly.process import build_algorithm
from tff_pipeline.assembly.task import load_described_task
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    SecureAggregationConfig,
)

SUMMED_UP = re.compile(r"\bfederated_(?:secure_)?(?:modular_)?\w*")
PLAIN = {
    "federated_sum",
    "federated_mean",
    "federated_weighted_mean",
    "federated_aggregate",
    "federated_min",
    "federated_max",
}
# Those that take another aggregator than the mean, and clients of a round.
ALGORITHMS = (
    *("fed_avg", "scaffold"),
    *soaked(
        *("fed_sgd", "fed_prox", "fed_nova", "fed_dyn", "mime_lite"),
        *("fine_tune", "fed_per", "fed_rep", "fed_recon", "ditto"),
    ),
)


def intrinsics(name, aggregator="secure_mean", **options):
    config = ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=8),
        clients=ClientConfig(
            clients_per_round=3,
            weighting="uniform",
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        algorithm=AlgorithmConfig(name),
        aggregation=AggregationConfig(aggregator, **options),
        secure_aggregation=SecureAggregationConfig(
            "plain" if "secure" not in aggregator else "bonawitz"
        ),
    )
    check(config)
    task, _ = load_described_task(config)
    built = build_algorithm(config, task, Protection())
    block = tff.framework.to_call_dominant(
        built.process.next.to_building_block()
    )
    return set(SUMMED_UP.findall(block.compact_representation()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_is_summed_up_in_the_open(name):
    found = intrinsics(name)
    assert "federated_secure_sum" in found
    assert "federated_secure_modular_sum" in found  # Metrics and counts.
    assert not found & PLAIN


def test_nor_with_a_clip_before_it():
    found = intrinsics("fed_avg", "clip+secure_mean", clip_norm=1.0)
    assert not found & PLAIN


def test_the_mean_is_in_the_open():
    assert intrinsics("fed_avg", "mean") & PLAIN
