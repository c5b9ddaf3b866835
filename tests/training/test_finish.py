"""What follows the last round is what `--finishers` names, in that order."""

import json

import pytest

from tff_pipeline import errors, experiment, registry
from tff_pipeline.commands import verify
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.runs import round_log


def config_of(path, rounds, finishers):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=6),
        clients=ClientConfig(clients_per_round=2, batch_size=16),
        run=RunConfig(
            output_dir=str(path), total_rounds=rounds, finishers=finishers
        ),
    )


def records_of(path):
    log = round_log.read(str(path / "rounds.jsonl"))
    return [record.content for record in log]


def holds(path):
    return all(finding.holds for finding in verify.verify(str(path)))


@pytest.mark.soak
def test_a_finisher_of_ones_own_takes_one_line(tmp_path, monkeypatch):
    target = "tests.testing.own_finisher:summary"
    monkeypatch.setitem(registry.FINISHERS, "summary", target)
    path = tmp_path / "run"
    experiment.run(config_of(path, 2, "summary"))
    summary = json.loads((path / "summary.json").read_text())
    last = records_of(path)[-1]
    assert last["kind"] == "round", "nothing was exported"
    assert summary == {
        "rounds": 2,
        "state": last["state"],
        # 64 pixels, twice 200 units, 10 digits.
        "parameters": 65 * 200 + 201 * 200 + 201 * 10,
    }
    assert not (path / "saved_model").exists()
    assert not (path / "plots").exists()
    assert holds(path)


@pytest.mark.soak
def test_finishers_may_be_called_later_and_in_another_order(
    tmp_path, monkeypatch
):
    target = "tests.testing.own_finisher:summary"
    monkeypatch.setitem(registry.FINISHERS, "summary", target)
    path = tmp_path / "run"
    experiment.run(config_of(path, 2, "none"))
    assert not (path / "saved_model").exists()
    assert not (path / "plots").exists()
    # No round is left: the same command with other finishers calls them.
    experiment.run(config_of(path, 2, "learning_curve,export"))
    assert (path / "saved_model" / "saved_model.pb").exists()
    assert (path / "plots" / "learning_curve.png").exists()
    assert records_of(path)[-1]["kind"] == "exported"
    assert holds(path)


@pytest.mark.parametrize("value", ["", "export,export", "none,export", "onnx"])
def test_finishers_that_are_not_there_are_refused_in_a_sentence(value):
    with pytest.raises(errors.ConfigError) as raised:
        RunConfig(finishers=value)
    assert str(raised.value) == (
        f"--finishers={value}: must be names with commas between them, from: "
        "export, learning_curve, report; or none."
    )
