"""Every task's exported model has the names of the model that it is of."""

import numpy as np
import pytest

from tests.testing import every_task
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.export import saved_model
from tff_pipeline.models.initial_weights import match
from tff_pipeline.models.stored_weights import read

# One whose model is within another that takes a table's columns, and one of
# layers with names; the others take long.
QUICK = ("csv", "movielens_mf")


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.soak)
        for name in every_task.TASKS
    ],
)
def test_all_weights_come_back_from_a_saved_model(tmp_path, name):
    task = every_task.task_of(name, tmp_path)
    weights = initial_weights(task, 1)
    path = str(tmp_path / "saved")
    saved_model.export(task, weights, path)
    found = match(task.build_model(), read(path), path)
    for kind in ("trainable", "non_trainable"):
        for weight, expected in zip(
            task.weight_names[kind], getattr(weights, kind)
        ):
            np.testing.assert_array_equal(found.values[weight], expected)
