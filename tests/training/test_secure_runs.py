"""Runs whose sums a protocol takes: the same bits as plain ones."""

import csv
import json

import pytest

from tff_pipeline import errors, experiment, registry
from tff_pipeline.assembly import runtimes
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    CompressionConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
    SecureAggregationConfig,
)

SECURE_MEAN = AggregationConfig("secure_mean", secure_mean_max_weight=200.0)
BONAWITZ = SecureAggregationConfig("bonawitz")
PLAIN = SecureAggregationConfig()


def config_of(path, secure, rounds=2, clients=4, **options):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=12),
        clients=ClientConfig(clients_per_round=clients, batch_size=16),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=1,
            finishers="none",
            on_failed_round=options.pop("on_failed_round", "retry"),
        ),
        secure_aggregation=secure,
        **{"aggregation": SECURE_MEAN, **options},
    )


def train(path, *args, until=None, **options):
    said = []
    experiment.run(
        config_of(path, *args, **options), until=until, announce=said.append
    )
    return said


def state(path, round_number):
    folder = path / "checkpoints" / f"round_{round_number:06d}"
    return (folder / "state.npz").read_bytes()


def rows(path):
    with open(path / "metrics.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "bytes_up")}
            for row in csv.DictReader(file)
        ]


def bytes_up(path):
    with open(path / "metrics.csv", newline="") as file:
        return [int(row["bytes_up"]) for row in csv.DictReader(file)]


def test_what_a_client_sends_takes_the_bits_of_its_moduli(plain):
    """Four clients on a grid of 20 bits: sums below 2^22."""
    of_update = 55_210 * 22 // 8 + 1
    for each in bytes_up(plain):
        # Weight, counts and metrics are some dozen numbers.
        assert of_update < each < of_update + 200


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain")
    said = train(path, PLAIN)
    assert any("added in the open" in line for line in said)
    return path


def test_a_run_has_the_bits_of_the_plain_one_and_is_resumed_to_the_bit(
    plain, tmp_path
):
    said = train(tmp_path, BONAWITZ, until=1)
    assert any("rounded to 20 bits" in line for line in said)
    assert any("no more than sums" in line for line in said)
    assert state(tmp_path, 1) == state(plain, 1)
    train(tmp_path, BONAWITZ)
    assert state(tmp_path, 2) == state(plain, 2)
    assert rows(tmp_path) == rows(plain)
    # A message has a header of 46 bytes and a signature of 64.
    assert bytes_up(tmp_path) == [each + 110 for each in bytes_up(plain)]


def test_the_columns_are_there(plain):
    for row in rows(plain):
        assert row["clipped_values"] == "0" and row["clipped_weights"] == "0"
        assert int(row["examples"]) > 0 and float(row["train_loss"]) > 0
        assert row["rejected_clients"] == "0"


def test_metrics_are_those_of_the_mean(plain, tmp_path):
    """Sums with 20 binary places; the first round begins with equal weights."""
    train(tmp_path, PLAIN, rounds=1, aggregation=AggregationConfig("mean"))
    (mean,), first = rows(tmp_path), rows(plain)[0]
    assert first["examples"] == mean["examples"]
    assert float(first["train_loss"]) == pytest.approx(
        float(mean["train_loss"]), rel=1e-5
    )
    assert float(first["train_accuracy"]) == float(mean["train_accuracy"])
    assert float(first["eval_loss"]) == pytest.approx(
        float(mean["eval_loss"]), rel=1e-4
    )


def test_devices_that_drop_out_never_begin_the_protocol(tmp_path):
    devices = DeviceConfig(dropout=0.5)
    for name, secure in (("plain", PLAIN), ("secure", BONAWITZ)):
        train(
            tmp_path / name,
            secure,
            rounds=4,
            clients=6,
            devices=devices,
            on_failed_round="skip",
        )
    came = [int(row["clients"]) for row in rows(tmp_path / "secure")]
    assert 2 <= min(came) < 6
    assert state(tmp_path / "plain", 4) == state(tmp_path / "secure", 4)
    assert rows(tmp_path / "plain") == rows(tmp_path / "secure")


def use_protocol(monkeypatch, name):
    monkeypatch.setitem(
        registry.SECURE_SUMS, "bonawitz", f"tests.testing.secure_sums:{name}"
    )


def test_a_round_below_the_threshold_is_lost_and_not_the_run(
    tmp_path, monkeypatch
):
    use_protocol(monkeypatch, "LosesTwoInTheSecondSum")
    secure = SecureAggregationConfig("bonawitz", threshold=3)
    train(tmp_path, secure, rounds=3, on_failed_round="skip")
    lost = [row["rejected_update"] for row in rows(tmp_path)]
    assert lost == ["0", "1", "0"]
    assert state(tmp_path, 1) == state(tmp_path, 2) != state(tmp_path, 3)


def test_a_run_that_stops_for_it_says_why(tmp_path, monkeypatch):
    use_protocol(monkeypatch, "LosesThree")
    with pytest.raises(
        errors.TrainingError,
        match=r"Round 1 failed: The secure sum is given up",
    ):
        train(tmp_path, BONAWITZ, on_failed_round="stop")


@pytest.mark.parametrize(
    ("code", "padded"), [(None, 1 << 16), ("shared_random_k", 1 << 13)]
)
def test_a_private_run_is_the_same_with_the_protocol(tmp_path, code, padded):
    private = {
        "aggregation": AggregationConfig("dp_distributed"),
        "privacy": PrivacyConfig(
            dp_clip=0.5,
            dp_noise_multiplier=1.0,
            dp_delta=1e-3,
            dp_noise_seed=3,
            dp_bits=20,
        ),
    }
    if code is not None:
        private["compression"] = CompressionConfig(code)
    for name, secure in (("plain", PLAIN), ("secure", BONAWITZ)):
        train(tmp_path / name, secure, **private)
    assert state(tmp_path / "plain", 2) == state(tmp_path / "secure", 2)
    # A power of two of numbers of 20 bits, each rotated, and a few of 62.
    of_update = padded * 20 // 8
    for each in bytes_up(tmp_path / "plain"):
        assert of_update < each < of_update + 200
    trust = {
        name: json.loads((tmp_path / name / "privacy.json").read_text())[
            "who_sees_what"
        ]
        for name in ("plain", "secure")
    }
    assert "each client's message" in trust["plain"]
    assert "no more than the sum" in trust["secure"]


def test_a_linear_code_makes_the_sum_shorter_and_goes_on_to_the_bit(
    plain, tmp_path
):
    shared = {"compression": CompressionConfig("shared_random_k")}
    said = train(tmp_path / "plain", PLAIN, **shared)
    (leaves,) = [line for line in said if line.startswith("What leaves")]
    assert "the same for all clients of a round, are sent, times 10" in leaves
    # The rest is as long as without the code, but for a byte of the count of
    # numbers that were cut, of which there are fewer.
    of_update, of_chosen = -(-55_210 * 22 // 8), -(-5_521 * 22 // 8)
    expected = [each - of_update + of_chosen - 1 for each in bytes_up(plain)]
    assert bytes_up(tmp_path / "plain") == expected
    train(tmp_path / "secure", BONAWITZ, until=1, **shared)
    train(tmp_path / "secure", BONAWITZ, **shared)
    assert state(tmp_path / "plain", 2) == state(tmp_path / "secure", 2)
    assert state(tmp_path / "plain", 2) != state(plain, 2)


def test_scaffold_sums_its_weights_under_the_mask_too(tmp_path):
    scaffold = {"algorithm": AlgorithmConfig("scaffold")}
    for name, secure in (("plain", PLAIN), ("secure", BONAWITZ)):
        train(tmp_path / name, secure, **scaffold)
    assert state(tmp_path / "plain", 2) == state(tmp_path / "secure", 2)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(
        registry.SECURE_SUMS, "bonawitz", "a_missing_package.of:Mine"
    )
    with pytest.raises(
        errors.ConfigError,
        match=r"needs the package a_missing_package; install .*secure_sum",
    ):
        runtimes.secure_sum_protocol(config_of(tmp_path, BONAWITZ))
    mean = config_of(tmp_path, PLAIN, aggregation=AggregationConfig("mean"))
    assert runtimes.secure_sum_protocol(mean) is None
