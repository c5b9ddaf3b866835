"""Scores of tasks beside a constant answer, overall and by client."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.commands import saved_runs
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.evaluation import central, over_clients, scores
from tff_pipeline.models.scaling import label_scaling
from tff_pipeline.objectives import binary, multi_label, targets
from tff_pipeline.tasks.task import Task

# Client "one" has a single class.
CLIENTS = {
    "one": np.arange(4),
    "mixed": np.arange(4, 12),
    "other": np.arange(12, 30),
}


def task_of(y, outputs, **more):
    """A task whose untrained model gives the first of its inputs."""
    x = np.random.default_rng(0).normal(size=[30, 3]).astype(np.float32)

    def model_fn():
        return tf.keras.Sequential(
            [
                tf.keras.Input([3]),
                tf.keras.layers.Dense(outputs, kernel_initializer="identity"),
            ]
        )

    examples = Examples(x, y)
    return Task(
        "made",
        InMemoryData(examples, CLIENTS),
        examples,
        model_fn,
        test_clients=InMemoryData(examples, CLIENTS),
        **more,
    )


def report_of(task, **options):
    return over_clients.report(task, initial_weights(task, 0), **options)


@pytest.fixture(scope="module")
def labels():
    y = np.random.default_rng(1).integers(2, size=30).astype(np.int32)
    y[:4] = 1
    return y


@pytest.fixture(scope="module")
def two(labels):
    return task_of(labels, 2, **targets.class_target(["absent", "present"]))


@pytest.fixture(scope="module")
def report(two):
    return report_of(two)


def test_a_report_has_scores_beside_the_most_frequent_class(report, two):
    y, logits = two.test.y, two.test.x[:, :2]
    assert report["rows"] == 30
    assert list(report["central"])[:4] == [
        *("loss", "accuracy", "auc", "balanced_accuracy")
    ]
    right = (logits[:, 1] > logits[:, 0]) == y
    assert report["central"]["accuracy"] == pytest.approx(right.mean())
    assert report["central"]["sensitivity"] == right[y == 1].mean()
    assert report["central"]["specificity"] == right[y == 0].mean()
    share = max(y.mean(), 1 - y.mean())
    constant = report["constant_answer"]
    assert constant["accuracy"] == pytest.approx(share)
    assert constant["loss"] == pytest.approx(
        -share * np.log(share) - (1 - share) * np.log(1 - share)
    )
    assert constant["auc"] == 0.5
    assert set(constant) == set(report["central"])
    classes = report["classes"]
    assert classes["names"] == ["absent", "present"]
    assert classes["positive"] == "present"
    assert classes["count"] == np.bincount(y).tolist()
    assert np.sum(classes["confusion"]) == classes["rows"] == 30


def test_a_client_of_one_class_has_no_area_and_takes_no_part(report, two):
    (group,) = report["clients"]
    one, mixed, other = group["each"]
    assert (one["client"], one["examples"]) == ("one", 4)
    assert "auc" not in one["metrics"]
    assert one["metrics"]["majority_accuracy"] == 1.0
    assert one["metrics"]["accuracy"] == one["metrics"]["sensitivity"]
    spread = group["metrics"]["auc"]
    assert spread["clients"] == 2
    assert spread["mean"] == pytest.approx(
        (mixed["metrics"]["auc"] + other["metrics"]["auc"]) / 2
    )
    assert len(group["worst"]["auc"]) == 2
    assert "majority_accuracy" not in group["worst"]
    assert group["metrics"]["loss"]["clients"] == 3
    json.dumps(report, allow_nan=False)


def test_a_threshold_is_for_two_classes(two, labels):
    low = report_of(two, threshold=0.01)
    assert low["central"]["sensitivity"] == 1.0
    assert low["classes"]["threshold"] == 0.01
    # What is predicted at the threshold, and not by the likeliest.
    confusion = np.array(low["classes"]["confusion"])
    assert low["central"]["accuracy"] == np.trace(confusion) / 30
    three = task_of(labels, 3)
    with pytest.raises(errors.ConfigError, match="for two classes"):
        report_of(three, threshold=0.3)


def test_a_class_without_a_name_is_its_number(labels):
    report = report_of(task_of(labels, 3))
    assert report["classes"]["names"] == ["0", "1", "2"]
    # The last does not occur.
    assert report["classes"]["recall"][2] is None
    assert "threshold" not in report["classes"]
    assert 0 <= report["central"]["auc"] <= 1
    (group,) = report["clients"]
    assert "auc" not in group["metrics"]


def test_a_test_set_of_one_class_has_no_area(labels):
    report = report_of(
        task_of(labels * 0, 2, **targets.class_target(["a", "b"]))
    )
    assert "auc" not in report["central"]
    assert report["central"]["specificity"] == pytest.approx(
        report["central"]["accuracy"]
    )
    assert report["constant_answer"]["accuracy"] == 1.0
    assert report["constant_answer"]["loss"] == 0.0
    assert "auc" not in report["clients"][0]["metrics"]


def test_a_model_that_failed_has_a_report_that_is_json(two):
    weights = initial_weights(two, 0)
    weights.trainable[0][:] = np.nan
    report = over_clients.report(two, weights)
    assert np.isnan(report["central"]["loss"])
    assert "auc" not in report["central"]
    assert "f1" not in report["central"]
    assert report["classes"]["not_finite"] == 30
    legal = json.loads(json.dumps(saved_runs._legal(report), allow_nan=False))
    assert legal["central"]["loss"] is None
    assert legal["rows"] == 30


def test_one_logit_predicts_two_classes(labels):
    y = labels[:, np.newaxis].astype(np.float32)
    task = task_of(
        y,
        1,
        loss_fn=binary.logit_cross_entropy,
        metrics_fn=lambda: [binary.logit_accuracy()],
    )
    report = report_of(task)
    scored = report["central"]
    right = (task.test.x[:, 0] > 0) == labels
    assert scored["accuracy"] == pytest.approx(right.mean())
    assert scored["sensitivity"] == right[labels == 1].mean()
    assert report["classes"]["names"] == ["0", "1"]


def test_numbers_are_scored_beside_their_mean():
    draw = np.random.default_rng(3)
    y = draw.normal(5, 2, [30, 1]).astype(np.float32)
    task = task_of(y, 1, **targets.number_target(label_scaling(y)))
    report = report_of(task)
    constant = report["constant_answer"]
    assert constant["loss"] == pytest.approx(1.0, rel=1e-4)
    assert constant["root_mean_squared_error"] == pytest.approx(y.std())
    assert constant["r_squared"] == pytest.approx(0, abs=1e-9)
    squared = np.mean((task.test.x[:, :1] - y) ** 2)
    assert report["central"]["root_mean_squared_error"] == pytest.approx(
        np.sqrt(squared), rel=1e-5
    )
    assert report["central"]["r_squared"] == pytest.approx(
        1 - squared / y.var(), rel=1e-4
    )
    assert "classes" not in report
    assert scores.constant_answer(task).keys() == {
        *("loss", "mean_absolute_error", "root_mean_squared_error")
    }


def test_what_is_neither_keeps_its_own_metrics():
    y = np.zeros([30, 3], np.float32)
    y[:, 0] = 1
    task = task_of(
        y,
        3,
        loss_fn=multi_label.LabelCrossEntropy,
        metrics_fn=lambda: [multi_label.RecallAtK(1)],
    )
    report = report_of(task)
    assert report.keys() == {"rows", "central", "clients"}
    assert report["central"].keys() == {"loss", "recall_at_1"}
    assert scores.constant_answer(task) == {}
    stars = dataclasses.replace(task, loss_fn=tf.keras.losses.MeanSquaredError)
    assert stars.predicts == ""


def test_of_too_many_outputs_a_part_is_scored(two, report, monkeypatch):
    monkeypatch.setattr(scores, "_MOST_OUTPUTS", 20)
    evaluator = central.Evaluator(two)
    evaluator.assign(initial_weights(two, 0))
    part = scores.score_test_set(evaluator, two, 0.5)
    # Every third of 30.
    assert part["classes"]["rows"] == 10
    assert part["rows"] == 30
    for name in ("loss", "accuracy", "auc"):
        assert part["central"][name] == report["central"][name]
