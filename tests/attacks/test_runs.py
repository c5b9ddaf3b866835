"""Whole rounds with attackers, through the process that runs train."""

import csv
import dataclasses

import pytest

from tff_pipeline import errors, experiment
from tff_pipeline.config import (
    AggregationConfig,
    AttackConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
)


def config(folder, attack, aggregator="mean", rounds=2, **options):
    return ExperimentConfig(
        data=DataConfig(task="digits_2nn", num_clients=5),
        clients=ClientConfig(
            clients_per_round=5,
            weighting="uniform",
            optimizer=OptimizerConfig("client", "sgd", 0.1),
            **options,
        ),
        aggregation=AggregationConfig(aggregator),
        attack=attack,
        run=RunConfig(
            output_dir=str(folder),
            total_rounds=rounds,
            sinks="csv",
            finishers="none",
        ),
    )


def rows(folder):
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def trained(folder, *arguments, **options):
    said = []
    experiment.run(config(folder, *arguments, **options), announce=said.append)
    return rows(folder), said


def test_attackers_that_know_all_are_counted_and_named(tmp_path):
    attack = AttackConfig("sign_flip_mean", attack_clients="client_1,client_3")
    found, said = trained(tmp_path / "run", attack, "median")
    assert [row["attackers"] for row in found] == ["2", "2"]
    assert (
        "2 of 5 clients attack (sign_flip_mean). A cohort of 5, drawn "
        "uniformly, holds more than --byzantine_clients=1 of them in 100% of "
        "rounds."
    ) in said
    assert (
        "In 2 of 2 rounds more attackers came than --byzantine_clients=1."
    ) in said


def test_a_backdoor_is_measured_beside_the_accuracy(tmp_path):
    attack = AttackConfig("backdoor", attack_fraction=0.4)
    found, _ = trained(tmp_path / "run", attack)
    for row in found:
        assert 0 <= float(row["eval_attack_success"]) <= 1
        assert 0 <= float(row["eval_accuracy"]) <= 1


def test_a_scaled_update_replaces_the_model(tmp_path):
    """Honest clients and one that sends 4 times the opposite of its own."""
    attack = AttackConfig(
        "sign_flip_own", attack_clients="client_0", attack_scale=1000.0
    )
    flipped, _ = trained(tmp_path / "flipped", attack)
    honest, _ = trained(tmp_path / "honest", AttackConfig())
    assert float(flipped[-1]["eval_accuracy"]) < 0.3
    assert float(honest[-1]["eval_accuracy"]) > 0.5
    withstood, _ = trained(tmp_path / "median", attack, "median")
    assert float(withstood[-1]["eval_accuracy"]) > 0.5


def test_a_run_of_attackers_goes_on_to_the_bit(tmp_path):
    attack = AttackConfig("gaussian", attack_fraction=0.4)
    options = {"kept_momentum": 0.9}
    trained(tmp_path / "once", attack, "median", **options)
    trained(tmp_path / "twice", attack, "median", rounds=1, **options)
    trained(tmp_path / "twice", attack, "median", **options)
    once, twice = rows(tmp_path / "once"), rows(tmp_path / "twice")
    for row in (*once, *twice):
        del row["seconds"]
    assert once == twice


def test_an_aggregator_without_rows_is_refused(tmp_path):
    private = dataclasses.replace(
        config(tmp_path / "run", AttackConfig("alie")),
        aggregation=AggregationConfig("dp_gaussian"),
        privacy=PrivacyConfig(
            dp_noise_multiplier=1.0, dp_clip=1.0, dp_delta=1e-5
        ),
    )
    with pytest.raises(errors.ConfigError, match="dp_gaussian does not; choo"):
        experiment.run(private)
