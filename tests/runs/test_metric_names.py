"""Which metrics are good when they are small."""

import pytest

from tff_pipeline.runs.metric_names import lower_is_better


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        *(("loss", True), ("train_loss", True), ("mean_absolute_error", True)),
        *(("accuracy", False), ("eval_accuracy", False)),
    ],
)
def test_losses_and_errors_are_better_when_lower(name, lower):
    assert lower_is_better(name) == lower
