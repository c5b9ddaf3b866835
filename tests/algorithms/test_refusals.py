"""Refusals of algorithms, word for word."""

import pytest

from tff_pipeline import errors
from tff_pipeline.algorithms import algorithm
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    ServerConfig,
)

ADAM = {"server": ServerConfig(optimizer=OptimizerConfig("server", "adam"))}
CLIPPED = {"aggregation": AggregationConfig("clip+mean", clip_norm=1.0)}
PRIVATE = {
    "aggregation": AggregationConfig("dp_gaussian"),
    "privacy": PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
}


def optimizer(name):
    return {"clients": ClientConfig(optimizer=OptimizerConfig("client", name))}


@pytest.mark.parametrize(
    ("name", "groups", "sentence"),
    [
        (
            "gossip",
            ADAM,
            "--algorithm=gossip with --server_optimizer=adam and "
            "--server_learning_rate=0.1: there is no server; leave them out.",
        ),
        (
            "ifca",
            ADAM,
            "--algorithm=ifca with --server_optimizer=adam and "
            "--server_learning_rate=0.1: each model is set to the mean of its "
            "clients; leave them out.",
        ),
        (
            "gossip",
            CLIPPED,
            "--algorithm=gossip with --aggregator=clip+mean: there is no "
            "server that could aggregate; leave --aggregator out, or choose "
            "fed_avg.",
        ),
        (
            "ifca",
            CLIPPED,
            "--algorithm=ifca with --aggregator=clip+mean: the models' sums "
            "are divided by how many chose them, which is for a mean; leave "
            "--aggregator out.",
        ),
        (
            "mime",
            CLIPPED,
            "--algorithm=mime with --aggregator=clip+mean: its first pass "
            "takes the mean of clients' gradients; leave --aggregator out, or "
            "choose mime_lite, in which all goes through the aggregator.",
        ),
        (
            "gossip",
            {"devices": DeviceConfig(over_selection=1.5)},
            "--algorithm=gossip with --over_selection=1.5: all clients take "
            "part; leave it out.",
        ),
        (
            "ifca",
            PRIVATE,
            "--algorithm=ifca with --aggregator=dp_gaussian: which model a "
            "client chose would be told; choose fed_avg or fed_prox.",
        ),
        (
            "mime_lite",
            optimizer("adam"),
            "--algorithm=mime_lite with --client_optimizer=adam: clients step "
            "with the server's momentum, --mime_momentum; leave "
            "--client_optimizer out.",
        ),
        (
            "scaffold",
            optimizer("adam"),
            "--algorithm=scaffold with --client_optimizer=adam: control "
            "variates are made of the progress of local steps, which is known "
            "for sgd and momentum alone; choose one of these.",
        ),
    ],
)
def test_a_refusal_names_the_flags_the_reason_and_a_remedy(
    name, groups, sentence
):
    config = ExperimentConfig(algorithm=AlgorithmConfig(name), **groups)
    with pytest.raises(errors.ConfigError) as caught:
        algorithm.check(config)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fed_sgd", {}),
        ("scaffold", {"scaffold_option": 1}),
        ("mime", {}),
        ("mime_lite", {}),
        ("fed_per", {}),
        ("fed_rep", {}),
        ("fed_recon", {}),
        ("ifca", {}),
    ],
)
def test_what_sees_examples_without_noise_is_refused_with_private_ones(
    name, options
):
    config = ExperimentConfig(
        algorithm=AlgorithmConfig(name, **options),
        clients=ClientConfig(
            steps_per_round=1,
            dp_target_epsilon=3.0,
            dp_delta=1e-5,
            dp_clip=1.0,
            optimizer=OptimizerConfig("client", "sgd"),
        ),
    )
    with pytest.raises(
        errors.ConfigError,
        match=f"--algorithm={name} with --client_dp_target_epsilon=3.0: ",
    ):
        algorithm.check(config)
