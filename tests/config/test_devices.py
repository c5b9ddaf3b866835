"""Options of devices: what goes together, and sentences for what does not."""

import pytest

from tff_pipeline import errors
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    PrivacyConfig,
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dropout": 1.0}, "--device_dropout=1.0: must be at least 0"),
        ({"dropout": -0.1}, "--device_dropout=-0.1: must be"),
        ({"over_selection": 0.9}, "--over_selection=0.9: must be a number"),
        ({"round_deadline_s": 0.0}, "--round_deadline_s=0.0: must be"),
        ({"dropout_in_training": 0.5}, "without --device_dropout"),
        ({"straggler_work": "less"}, "without --stragglers"),
        (
            {"sessions": "a.csv", "availability": "diurnal"},
            "both say when clients are there",
        ),
    ],
)
def test_a_mistake_is_one_sentence(options, words):
    with pytest.raises(errors.ConfigError) as caught:
        DeviceConfig(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("factor", "size", "chosen"),
    [(1.3, 100, 130), (1.1, 10, 11), (1.0, 7, 7), (1.01, 7, 8), (1.25, 2, 3)],
)
def test_chosen_are_as_many_as_the_factor_says_rounded_up(factor, size, chosen):
    assert DeviceConfig(over_selection=factor).chosen(size) == chosen


def test_learning_rates_alone_simulate_no_devices():
    assert not DeviceConfig(client_learning_rates="by_size").simulated
    assert not DeviceConfig().simulated
    assert DeviceConfig(speeds="equal").simulated


def test_more_chosen_than_there_are_is_refused():
    with pytest.raises(errors.ConfigError) as caught:
        ExperimentConfig(
            data=DataConfig(num_clients=12),
            devices=DeviceConfig(over_selection=2),
        )
    assert "--over_selection=2 chooses 20 clients" in str(caught.value)


def test_one_step_cannot_be_less():
    devices = DeviceConfig(stragglers=0.5, straggler_work="less")
    with pytest.raises(errors.ConfigError, match="--straggler_work=less"):
        ExperimentConfig(algorithm=AlgorithmConfig("fed_sgd"), devices=devices)


def private(name="dp_gaussian", **devices):
    return ExperimentConfig(
        clients=ClientConfig(clients_per_round=10),
        aggregation=AggregationConfig(name),
        privacy=PrivacyConfig(dp_noise_multiplier=1.0, dp_clip=1.0),
        devices=DeviceConfig(**devices),
    )


@pytest.mark.parametrize(
    ("name", "devices", "words"),
    [
        ("dp_gaussian", {"over_selection": 1.3}, "puts another out"),
        ("dp_tree", {"over_selection": 1.3}, "puts another out"),
        (
            "dp_gaussian",
            {"client_learning_rates": "by_size"},
            "compares clients' sizes",
        ),
        ("dp_gaussian", {"availability": "diurnal"}, "--round_deadline_s"),
        ("dp_gaussian", {"sessions": "a.csv"}, "--round_deadline_s"),
        ("dp_distributed", {"dropout": 0.1}, "its share of the noise"),
        ("dp_distributed", {"round_deadline_s": 9.0}, "share of the noise"),
    ],
)
def test_what_would_cost_privacy_is_refused(name, devices, words):
    with pytest.raises(errors.ConfigError) as caught:
        private(name, **devices)
    assert words in str(caught.value)


def test_what_costs_no_privacy_is_taken():
    assert private(dropout=0.1, stragglers=0.5, speeds="lognormal").private
    assert private(availability="diurnal", round_deadline_s=60.0).private
    assert private("dp_distributed", client_learning_rates="a.csv").private


def test_a_flagfile_has_the_files_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    devices = DeviceConfig(speeds="speeds.csv", client_learning_rates="by_size")
    text = ExperimentConfig(devices=devices).flagfile()
    assert f"--device_speeds={tmp_path / 'speeds.csv'}\n" in text
    assert "--client_learning_rates=by_size\n" in text
