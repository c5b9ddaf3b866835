"""Accuracy of rounded stars, by hand."""

import numpy as np
import pytest

from tff_pipeline.objectives.rating import StarAccuracy


def test_the_nearest_star_counts():
    metric = StarAccuracy(name="accuracy")
    metric.update_state(
        np.array([[1.0], [4], [5]]), np.array([[1.4], [3.4], [4.6]])
    )
    assert float(metric.result()) == pytest.approx(2 / 3)
