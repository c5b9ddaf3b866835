"""Targets of a user's own data: names, limits, and the loss's unit."""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import scaling
from tff_pipeline.objectives import targets


def test_always_predicting_the_mean_has_a_loss_of_one():
    y = np.random.default_rng(0).normal(1e3, 50.0, [200, 2])
    target = targets.number_target(scaling.label_scaling(y))
    mean = np.tile(y.mean(axis=0), (len(y), 1))
    loss = target["loss_fn"]()
    assert float(loss(y, tf.constant(mean))) == pytest.approx(1.0, rel=1e-5)
    error = target["set_metrics"]["root_mean_squared_error"](y, mean)
    assert error == pytest.approx(np.sqrt(np.mean(y.var(axis=0))))


def test_numbers_are_named_as_people_write_them():
    assert targets.number_names(np.array([-1.0, 0.0, 2.5])) == [
        "-1",
        "0",
        "2.5",
    ]


@pytest.mark.parametrize(
    ("count", "fractions", "words"),
    [
        (1, False, "has one class only"),
        (1001, False, "1001 different values"),
        (21, True, "21 different values"),
    ],
)
def test_values_that_can_hardly_be_classes_are_refused(count, fractions, words):
    names = [str(number) for number in range(count)]
    with pytest.raises(errors.DataError) as caught:
        targets.check_classes(names, "y of a.npz", fractions)
    assert str(caught.value).startswith("y of a.npz")
    assert words in str(caught.value)


def test_as_many_classes_as_are_allowed_are_taken():
    targets.check_classes([str(n) for n in range(1000)], "y", fractions=False)
    targets.check_classes([str(n) for n in range(20)], "y", fractions=True)
