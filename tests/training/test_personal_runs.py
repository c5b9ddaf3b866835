"""Runs whose clients have models of their own: measured, saved, exported."""

import dataclasses

import numpy as np
import pytest

from tff_pipeline import errors, experiment
from tff_pipeline.assembly import saved_weights
from tff_pipeline.assembly.task import evaluated_clients
from tff_pipeline.commands import saved_runs, verify
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.reporting import evaluation_text, personal_text
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory

CLIENTS, ROUNDS = 6, 6


def config_of(path, algorithm="fed_rep", **data):
    return ExperimentConfig(
        data=DataConfig(
            "digits_2nn",
            **{
                "partition": "dirichlet",
                "dirichlet_alpha": 0.1,
                "num_clients": CLIENTS,
                "client_test_fraction": 0.25,
                **data,
            },
        ),
        algorithm=AlgorithmConfig(algorithm),
        clients=ClientConfig(
            clients_per_round=CLIENTS,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=ROUNDS,
            rounds_per_checkpoint=3,
            rounds_per_eval=3,
            eval_clients="seen",
            sinks="csv",
            finishers="export",
        ),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("personal") / "run"
    config = config_of(path)
    experiment.run(config)
    return config, RunDirectory(str(path))


def test_own_models_are_measured_beside_the_servers(run):
    _, directory = run
    rows = metrics_file.read(directory.metrics)
    last = rows[-1]
    # Few classes a client: its own last layer is better than the mean of all.
    assert last["seen_accuracy_gain"] > 0.02
    assert last["seen_accuracy_gain"] == pytest.approx(
        last["seen_accuracy_mean"] - last["seen_accuracy_global"]
    )
    assert last["seen_loss_gain"] == pytest.approx(
        last["seen_loss_global"] - last["seen_loss_mean"]
    )
    loss, accuracy = personal_text.in_words(rows)
    assert f"gain {last['seen_loss_gain']:+.4f})" in loss
    assert f"at {last['seen_accuracy_p10']:.4f} or below" in accuracy


def test_evaluate_has_own_models_beside_the_one_of_all(run):
    _, directory = run
    last = metrics_file.read(directory.metrics)[-1]
    _, report = saved_runs.evaluate(directory.path)
    own, of_all = report["clients"]
    for table, statistic in ((own, "mean"), (of_all, "global")):
        for name in ("loss", "accuracy"):
            assert table["metrics"][name]["mean"] == pytest.approx(
                last[f"seen_{name}_{statistic}"]
            )
    words = evaluation_text.in_words(report)
    for line in (
        "Evaluated is the layers that travel, with the mean of those that "
        "clients keep.",
        "Over 6 training clients, on test examples, each with its own model",
        "Over 6 training clients, on test examples, all with the same model",
    ):
        assert line in words.splitlines()


def test_no_example_is_trained_and_tested_on(run):
    config, _ = run
    task = experiment.load_task(config)
    everything = experiment.load_task(
        dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, client_test_fraction=None),
        )
    ).train
    assert task.test_clients is not None
    for name in task.test_clients.client_ids:
        trains, tests = task.train.load(name), task.test_clients.load(name)
        assert len(trains) == task.train.size(name)
        both = np.concatenate([trains.x, tests.x])
        whole = everything.load(name).x
        assert sorted(map(bytes, both)) == sorted(map(bytes, whole))
        assert len(tests) == round(0.25 * len(whole))


def test_the_run_verifies_and_a_clients_model_is_exported(run, tmp_path):
    config, directory = run
    assert all(finding.holds for finding in verify.verify(directory.path))
    task = experiment.load_task(config)
    client = task.train.client_ids[0]
    _, (path,) = saved_runs.export(
        directory.path, str(tmp_path / "model"), client=client
    )
    held = {value.tobytes() for value in verify._held(path)}
    _, _, own = saved_runs.opened(directory.path, client=client)
    _, _, of_all = saved_runs.opened(directory.path)
    assert {np.asarray(value).tobytes() for value in own.trainable} <= held
    # All but the last layer are those of the server.
    same = [
        np.array_equal(a, b) for a, b in zip(own.trainable, of_all.trainable)
    ]
    assert same == [True] * (len(same) - 2) + [False] * 2


def test_who_is_no_client_is_refused(run):
    config, directory = run
    task = experiment.load_task(config)
    with pytest.raises(
        errors.ConfigError, match="--client=nobody is none of the 6 clients"
    ):
        saved_runs.opened(directory.path, client="nobody")
    plain = dataclasses.replace(config, algorithm=AlgorithmConfig())
    with pytest.raises(errors.ConfigError, match="this one is of --algorithm"):
        saved_weights.by_algorithm(
            plain, task, directory, ROUNDS, None, "client_0"
        )


def test_own_models_need_examples_to_test_them_on(tmp_path):
    config = config_of(tmp_path, client_test_fraction=None)
    with pytest.raises(
        errors.ConfigError, match="hold some out with --client_test_fraction"
    ):
        evaluated_clients(config, experiment.load_task(config))


def test_a_share_of_no_example_is_refused(tmp_path):
    config = config_of(tmp_path, client_test_fraction=0.0001)
    with pytest.raises(errors.ConfigError, match="holds out no example"):
        experiment.load_task(config)
