"""A user's own arrays: an NPZ file of x, y and client_id."""

import functools
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.split import Split, split_where
from tff_pipeline.datasets.readers import arrays
from tff_pipeline.models import arrays as models
from tff_pipeline.models import scaling
from tff_pipeline.objectives import targets
from tff_pipeline.tasks.task import Task


def npz(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting y from x, for x of any shape.

    Classes may be whole numbers or text, one an example; numbers to predict are
    one an example or more. The model is that of
    `models.arrays.network_for_shape`. The exported model takes "x".

    Args:
      options: The file, in `data_dir`, and how to read and spread it.
      seed: The experiment's seed, which draws what is held out.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the file cannot be read, or does not fit the flags.
    """
    data_dir = options.required_data_dir(
        "an NPZ file with the arrays x, y and client_id"
    )
    given = arrays.load(data_dir)
    if given.owners is None and options.partition == "natural":
        raise errors.DataError(
            f"{data_dir} has no array client_id; add one, or choose a "
            "--partition that makes clients, such as iid."
        )
    y, names = labels(given.y, str(options.task_type), data_dir)
    is_test = given.is_test
    if is_test is None:
        is_test = hold_out.mask(
            len(y), given.owners, options.test_fraction or 0.0, seed
        )
    if not is_test.any():
        raise errors.DataError(
            f"No example of {data_dir} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add examples: a "
            "client with one trains on it."
        )
    examples = Examples(given.x, y)
    data = split_where(is_test, examples, options, seed, given.owners)
    return task("npz", data, names)


def labels(
    y: np.ndarray, task_type: str, source: str
) -> tuple[np.ndarray, Optional[list[str]]]:
    """Labels as a model learns them.

    Returns:
      Of classes, int32 [n] and their names; of numbers, float32 [n, outputs]
      and `None`.

    Raises:
      DataError: If they are not what `task_type` says.
    """
    y = y.reshape(len(y), -1)
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        row = int(np.argmax(~np.isfinite(y).all(axis=1)))
        raise errors.DataError(
            f"{source}: y[{row}] is not a finite number; every example needs "
            "a label: fill it in or leave the example out."
        )
    if task_type == "regression":
        if y.dtype.kind not in "buif" or not y.shape[1]:
            raise errors.DataError(
                f"{source}: y is of type {y.dtype}; --task_type=regression "
                "needs numbers."
            )
        return y.astype(np.float32), None
    if y.shape[1] != 1 or y.dtype.kind not in "buifUS":
        raise errors.DataError(
            f"{source}: y is of type {y.dtype} with {y.shape[1]} labels an "
            "example; --task_type=classification needs one number or text."
        )
    values, classes = np.unique(y[:, 0], return_inverse=True)
    fractions = False
    if values.dtype.kind in "buif":
        names = targets.number_names(values)
        fractions = bool((values != np.round(values)).any())
    else:
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        names = values.tolist()
    targets.check_classes(names, f"y of {source}", fractions)
    return classes.astype(np.int32), names


def task(name: str, data: Split, names: Optional[list[str]]) -> Task:
    """The task of data with their default model.

    Args:
      name: Of the task.
      data: `y` as `labels` gives it.
      names: Of the classes; `None` for numbers.
    """
    shape = data.test.x.shape[1:]
    scale = scaling.input_scaling(_inputs(data.train), shape)
    target: dict[str, Any]
    ends: tuple[Any, ...]
    if names is None:
        labels_scaling = scaling.label_scaling(_labels_of(data.train))
        target = targets.number_target(labels_scaling)
        ends = (data.test.y.shape[1], labels_scaling)
    else:
        target = targets.class_target(names)
        ends = (len(names),)
    return Task(
        name,
        **vars(data),
        **target,
        model_fn=functools.partial(
            models.network_for_shape,
            shape,
            data.test.x.dtype.name,
            scale,
            *ends,
        ),
        input_name="x",
    )


def _labels_of(clients: FederatedData) -> np.ndarray:
    return np.concatenate([clients.load(c).y for c in clients.client_ids])


def _inputs(clients: FederatedData) -> Iterator[np.ndarray]:
    for client_id in clients.client_ids:
        yield clients.load(client_id).x
