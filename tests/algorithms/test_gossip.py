"""Gossip: the mean is preserved, and on complete graphs it is FedAvg."""

import dataclasses
import functools
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import quadratics
from tff_pipeline import errors, experiment, registry
from tff_pipeline.algorithms import mixing, topology
from tff_pipeline.algorithms.gossip import Gossip
from tff_pipeline.client_work.hooks import ClientHook
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.state_files import digest, flatten

ROUNDS = 8


class Played(NamedTuple):
    """What a round of two clients ended with."""

    models: list
    mean: float
    distance: float


def play(made, cohorts, folder, data=None):
    """Rounds of two clients, with mixing; `cohorts` says who is not silent."""
    ids = quadratics.CLIENT_IDS
    kept = KeptStates(str(folder), made.initial_kept_state)
    state, history = made.process.initialize(), []
    for number, cohort in enumerate(cohorts, 1):
        names = [ids[c] for c in cohort]
        blocks = [
            quadratics.block_of(number, c, (data or {}).get(c), 0, 1)
            for c in cohort
        ]
        state, _, rows = made.run_round(state, blocks, kept.rows(names))
        kept = kept.updated(names, rows)
        kept, values = made.after_round(state, kept, names, number)
        models = [
            quadratics.number(row["gossip"]["weights"])
            for row in kept.rows(ids)
        ]
        mean = quadratics.number(made.model_weights(state, kept).trainable)
        history.append(Played(models, mean, values["consensus_distance"]))
    return history


def test_of_neighbours_that_are_all_it_is_fed_avg(tmp_path):
    rounds = [(0, 1)] * 5
    made = quadratics.algorithm("gossip", gossip_topology="complete")
    ours = play(made, rounds, tmp_path)
    theirs = quadratics.play(quadratics.algorithm("fed_avg"), rounds)
    for one, other in zip(ours, theirs):
        assert one.mean == pytest.approx(other["x"], rel=1e-6)
        assert one.models == pytest.approx([other["x"]] * 2, rel=1e-6)
        assert one.distance == 0


def test_who_is_silent_keeps_its_model_and_gives_nothing(tmp_path):
    made = quadratics.algorithm("gossip")
    after = play(made, [(1,), (0, 1)], tmp_path)
    # From 0, two steps of rate .1 towards 1 along 4 (x - 1): 1 - .6^2.
    assert after[0].models == pytest.approx([0, 0.64], rel=1e-6)
    assert after[0].mean == pytest.approx(0.32, rel=1e-6)
    assert after[0].distance == pytest.approx(0.32, rel=1e-6)
    # The first stays at its optimum 0; the other ends at 1 - .36^2; the mean.
    both = (1 - 0.36**2) / 2
    assert after[1].models == pytest.approx([both] * 2, rel=1e-6)
    assert after[1].mean == pytest.approx(both, rel=1e-6)


def test_a_client_that_is_not_finite_is_silent(tmp_path):
    made = quadratics.algorithm("gossip")
    (after,) = play(made, [(0, 1)], tmp_path, data={0: (np.inf, 0.0)})
    assert after.models == pytest.approx([0, 0.64], rel=1e-6)
    assert after.mean == pytest.approx(0.32, rel=1e-6)


def test_a_model_travels_to_each_neighbour():
    made = quadratics.algorithm("gossip")
    assert (made.bytes_down, made.bytes_up) == (4, 4)


def models_of(count, size, seed=0):
    draw = np.random.default_rng(seed)
    return [
        [draw.normal(size=size).astype(np.float32), np.float32([i])]
        for i in range(count)
    ]


@pytest.mark.parametrize("name", list(topology.BY_SIZE))
@pytest.mark.parametrize("silent", [(), (2, 7), range(12)])
def test_mixing_is_the_matrix_and_preserves_the_mean(name, silent):
    n, size = 12, [3, 1500]
    weights = topology.metropolis(topology.BY_SIZE[name](n))
    heard = ~np.isin(np.arange(n), silent)
    weights = topology.without_silent(weights, heard)
    before = models_of(n, size)
    after, distance = mixing.mix(weights, before)
    squares = 0.0
    for leaf in (0, 1):
        x = np.stack([model[leaf] for model in before]).astype(np.float64)
        y = np.stack([model[leaf] for model in after])
        assert y.dtype == np.float32
        y = y.astype(np.float64)
        expected = np.tensordot(weights, x, 1)
        np.testing.assert_allclose(y, expected, rtol=2**-23, atol=1e-7)
        np.testing.assert_allclose(y.mean(0), x.mean(0), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(y[~heard], x[~heard])
        squares += np.sum((y - y.mean(0)) ** 2)
    assert distance == pytest.approx(np.sqrt(squares / n), rel=1e-9, abs=1e-12)


def test_equal_models_stay_to_the_bit():
    (model,) = models_of(1, [1500])
    weights = topology.metropolis(topology.torus(20))
    after, distance = mixing.mix(weights, [model] * 20)
    assert distance == pytest.approx(0, abs=1e-12)
    for each in after:
        np.testing.assert_array_equal(each[0], model[0])


class Diverging(ClientHook):
    """Makes a fifth of the clients' updates not finite, drawn by their keys."""

    name = "diverging"

    def gradients(self, gradients_fn, state, step):
        ruin = tf.where(tf.equal(step.block["key"] % 5, 0), np.nan, 0.0)
        return [gradient + ruin for gradient in gradients_fn()], state


UNRELIABLE = {"gossip_topology": "torus", "dropout": 0.3}


class Unreliable(Gossip):
    """Gossip of clients that drop out and diverge; it checks the mean."""

    checked: ClassVar[list] = []

    def own_hooks(self, context):
        return [*super().own_hooks(context), Diverging()]

    def after_round(self, state, kept, client_ids, round_number):
        after, values = super().after_round(
            state, kept, client_ids, round_number
        )
        before, mixed = (
            [row["gossip"] for row in each.rows(self._client_ids)]
            for each in (kept, after)
        )
        for leaves in zip(
            zip(*(each["weights"] for each in before)),
            zip(*(each["weights"] for each in mixed)),
            self.model_weights(state, after).trainable,
        ):
            unmixed, mean, followed = (
                np.mean(np.asarray(each, np.float64), axis=0)
                for each in (*leaves[:2], [leaves[2]])
            )
            np.testing.assert_allclose(mean, unmixed, rtol=0, atol=1e-8)
            # What is evaluated and exported.
            np.testing.assert_allclose(followed, mean, rtol=0, atol=1e-6)
        trained = sum(row["round"] == round_number for row in before)
        Unreliable.checked.append((round_number, len(client_ids), trained))
        return after, values


def config_of(
    path, rounds, name="gossip", clients_per_round=3, dropout=0.0, **options
):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=8),
        algorithm=AlgorithmConfig(name, **options),
        devices=DeviceConfig(dropout=dropout),
        clients=ClientConfig(
            clients_per_round=clients_per_round,
            batch_size=16,
            weighting="uniform",
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=3,
            rounds_per_eval=4,
            sinks="csv",
            finishers="none",
        ),
    )


def weights_of(path):
    return CheckpointStore(str(path / "checkpoints")).load_weights()[1]


def test_the_mean_is_preserved_in_every_round_of_a_run_that_goes_on(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(registry.ALGORITHMS, "gossip", f"{__name__}:Unreliable")
    Unreliable.checked.clear()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    experiment.run(config_of(whole, ROUNDS, **UNRELIABLE))
    rounds, came, trained = map(list, zip(*Unreliable.checked))
    assert rounds == list(range(1, ROUNDS + 1))
    # Clients dropped out, and others of those that came diverged.
    assert min(came) < 8 and sum(trained) < sum(came)
    experiment.run(config_of(parts, 5, **UNRELIABLE))
    experiment.run(config_of(parts, ROUNDS, **UNRELIABLE))
    ends = [digest(flatten(weights_of(path))) for path in (parts, whole)]
    assert ends[0] == ends[1]
    rows = [metrics_file.read(str(p / "metrics.csv")) for p in (parts, whole)]
    for ours, theirs in zip(*rows):
        assert ours["consensus_distance"] == theirs["consensus_distance"]


def test_a_run_on_the_complete_graph_is_one_of_fed_avg(tmp_path):
    said = []
    run = functools.partial(experiment.run, announce=said.append)
    run(config_of(tmp_path / "a", 3, gossip_topology="complete"))
    (line, meaning) = (each for each in said if each.startswith("gossip: "))
    assert "complete of 8 clients, 28 edges" in line
    assert "spectral gap 1:" in line
    assert "--clients_per_round=3" in meaning
    experiment.run(config_of(tmp_path / "b", 3, "fed_avg", 8))
    # The order of clients in a cohort is another, and so are sums' roundings.
    for ours, theirs in zip(
        weights_of(tmp_path / "a").trainable,
        weights_of(tmp_path / "b").trainable,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"aggregation": AggregationConfig("clip+mean", clip_norm=1.0)},
            "no server that could aggregate",
        ),
        (
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(dp_noise_multiplier=1.0, dp_clip=1.0),
            },
            "no server that could add noise",
        ),
        (
            {"server": ServerConfig(OptimizerConfig("server", "adam"))},
            "there is no server",
        ),
    ],
)
def test_what_a_server_does_is_refused(change, words):
    config = ExperimentConfig(algorithm=AlgorithmConfig("gossip"))
    with pytest.raises(errors.ConfigError, match=words):
        Gossip.check(dataclasses.replace(config, **change))


def test_a_degree_is_for_random_graphs_alone():
    with pytest.raises(errors.ConfigError, match="gossip_degree=3"):
        AlgorithmConfig("gossip", gossip_degree=3)
    made = AlgorithmConfig("gossip", gossip_topology="random_regular")
    assert made.gossip_degree == 4


def test_a_file_that_changed_is_refused_and_a_rerun_finds_it(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = AlgorithmConfig("gossip", gossip_topology="edges.csv")
    config = ExperimentConfig(algorithm=options)
    assert f"--gossip_topology={tmp_path}/edges.csv" in config.flagfile()
    ids = experiment.load_task(config_of(tmp_path, 1)).train.client_ids
    lines = [f"{a},{b}\n" for a, b in zip(ids, ids[1:])]
    (tmp_path / "edges.csv").write_text("".join(lines))
    path = tmp_path / "run"
    run = functools.partial(config_of, path, gossip_topology="edges.csv")
    experiment.run(run(1))
    (tmp_path / "edges.csv").write_text("".join([*lines, lines[0]]))
    with pytest.raises(errors.RunDirectoryError, match="--gossip_topology"):
        experiment.run(run(2))
