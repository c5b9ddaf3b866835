"""Attacks on attackers' examples."""

import dataclasses

import numpy as np
import pytest

from tff_pipeline import errors
from tff_pipeline.attacks import attack, on_data
from tff_pipeline.config import AttackConfig, DataConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.evaluation.attack_success import AttackSuccess
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.tasks.digits import digits_2nn
from tff_pipeline.tasks.synthetic import synthetic_iid


@pytest.fixture(scope="module")
def task():
    return digits_2nn(DataConfig(task="digits_2nn"), 0)


def built(task, name, **options):
    config = AttackConfig(name, **options)
    return attack.build(attack.AttackContext(config, task, 10, 2))


def test_labels_are_flipped_to_the_last_minus_themselves(task):
    draw = np.random.default_rng(0)
    flipped = built(task, "label_flip").on_data(task.test, draw)
    assert (flipped.y == 9 - task.test.y).all()
    assert flipped.y.dtype == task.test.y.dtype
    assert (flipped.x == task.test.x).all()


def test_half_of_the_examples_have_the_pattern_and_the_target(task):
    made = built(task, "backdoor", attack_target=3)
    before = task.test.x.copy()
    poisoned = made.on_data(task.test, np.random.default_rng(0))
    assert (task.test.x == before).all()
    changed = (poisoned.y != task.test.y) | (poisoned.x != task.test.x).reshape(
        len(poisoned), -1
    ).any(1)
    assert 0.4 < changed.mean() < 0.6
    assert (poisoned.y[changed] == 3).all()
    square = poisoned.x[changed][:, -3:, -3:]
    white = 255 if np.issubdtype(square.dtype, np.integer) else 1
    assert (square == white).all()
    assert made.on_update is None
    assert built(task, "backdoor", attack_scale=5.0).on_update is not None


def test_success_counts_other_classes_alone(task):
    success = AttackSuccess(task, on_data.with_square, 3)
    others = int((task.test.y != 3).sum())
    seen = []

    class Answers:
        """An evaluator of a model that takes every fourth to be a 3."""

        def measure_and_keep(self, examples):
            seen.append(examples)
            outputs = np.zeros([len(examples), 10])
            outputs[::4, 3] = 1
            outputs[1::4, 5] = 1
            return {}, outputs

    share = success.share(Answers())
    (examples,) = seen
    assert len(examples) == others and not (examples.y == 3).any()
    assert share == pytest.approx(len(range(0, others, 4)) / others)


def test_success_of_a_model(task):
    evaluator = Evaluator(task)
    share = AttackSuccess(task, on_data.with_square, 0).share(evaluator)
    assert 0 <= share <= 1


def test_of_the_target_alone_there_is_no_success(task):
    same = Examples(task.test.x, np.zeros_like(task.test.y))
    only = dataclasses.replace(task, test=same)
    success = AttackSuccess(only, on_data.with_square, 0)
    assert np.isnan(success.share(Evaluator(task)))


def test_tasks_that_cannot_be_attacked_so(task):
    table = synthetic_iid(DataConfig(task="synthetic_iid"), 0)
    with pytest.raises(errors.ConfigError, match="draws a pattern into images"):
        built(table, "backdoor")
    with pytest.raises(errors.ConfigError, match="none of the 10 classes"):
        built(task, "backdoor", attack_target=10)
