"""Scores of numbers, against their definitions."""

import numpy as np
import pytest

from tff_pipeline.objectives import number_scores

Y = np.array([[1.0], [2.0], [6.0]], np.float32)
PREDICTED = np.array([[2.0], [2.0], [4.0]], np.float32)


def test_scores_are_those_counted_by_hand():
    scores = number_scores.number_scores(Y, PREDICTED)
    # Errors 1, 0 and 2; from the mean, 3, the labels differ by 2, 1 and 3.
    assert scores == pytest.approx(
        {
            "mean_absolute_error": 1.0,
            "root_mean_squared_error": (5 / 3) ** 0.5,
            "r_squared": 1 - 5 / 14,
        }
    )
    assert number_scores.r_squared(Y, PREDICTED) == scores["r_squared"]


def test_the_mean_explains_nothing():
    y = np.random.default_rng(0).normal(7, 3, [50, 2]).astype(np.float32)
    mean = number_scores.constant_numbers(y)
    scores = number_scores.number_scores(y, mean)
    assert scores["r_squared"] == pytest.approx(0, abs=1e-9)
    # Over both outputs together.
    expected = np.sqrt(y.astype(float).var(axis=0).mean())
    assert scores["root_mean_squared_error"] == pytest.approx(expected)


def test_what_is_not_defined_is_no_number():
    scores = number_scores.number_scores(Y[:1], PREDICTED[:1])
    assert np.isnan(scores["r_squared"])
    assert scores["mean_absolute_error"] == 1.0
    failed = number_scores.number_scores(Y, PREDICTED * np.nan)
    assert np.isnan(list(failed.values())).all()


def test_large_numbers_do_not_overflow():
    scores = number_scores.number_scores(Y * 1e30, PREDICTED * 1e30)
    assert scores["r_squared"] == pytest.approx(1 - 5 / 14, rel=1e-5)
