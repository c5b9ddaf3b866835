"""Errors in units of a deviation, by hand."""

import functools

import numpy as np
import pytest

from tff_pipeline.objectives import scaled_error


def test_errors_are_counted_in_the_deviation_of_the_group():
    y = np.zeros([2, 24, 2], np.float32)
    y[1, :, 1] = 1
    predicted = np.full([2, 24], 6, np.float32)
    error_fn = functools.partial(scaled_error.error_by_group, [2.0, 3.0])
    loss = scaled_error.ScaledSquaredError(error_fn)(y, predicted)
    assert float(loss) == pytest.approx((9 + 4) / 2)
    squared, absolute = scaled_error.scaled_error_metrics(error_fn)
    for metric, expected in ((squared, (9 + 4) / 2), (absolute, (3 + 2) / 2)):
        metric.update_state(y, predicted)
        assert float(metric.result()) == pytest.approx(expected)
    assert squared.name == "mean_squared_error"
    assert absolute.name == "mean_absolute_error"


def test_errors_are_counted_in_the_deviation_of_the_output():
    y = np.zeros([2, 2], np.float32)
    predicted = np.array([[2, 8], [4, 0]], np.float32)
    error_fn = functools.partial(scaled_error.error_by_output, [2.0, 4.0])
    loss = scaled_error.ScaledSquaredError(error_fn)
    np.testing.assert_allclose(loss.call(y, predicted), [2.5, 2.0])
    assert float(loss(y, predicted)) == pytest.approx(2.25)
