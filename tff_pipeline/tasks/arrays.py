"""The task of a user's own arrays: an NPZ file of x, y and client_id."""

import functools
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.split import Split, split_where
from tff_pipeline.datasets.readers import arrays, column_descriptions
from tff_pipeline.datasets.readers.column_descriptions import Descriptions
from tff_pipeline.models import arrays as models
from tff_pipeline.models import scaling
from tff_pipeline.objectives import targets
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


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
    contents = arrays.load(data_dir)
    descriptions = column_descriptions.read(
        options.categories_file, options.column_bounds_file
    )
    if contents.owners is None and options.partition == "natural":
        raise errors.DataError(
            f"{data_dir} has no array client_id; add one, or choose a "
            "--partition that makes clients, such as iid."
        )
    y, names = labels(
        contents.y, str(options.task_type), data_dir, descriptions
    )
    is_test = contents.is_test
    if is_test is None:
        is_test = hold_out.mask(
            len(y), contents.owners, options.test_fraction or 0.0, seed
        )
    if not is_test.any():
        raise errors.DataError(
            f"No example of {data_dir} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add examples: a "
            "client with one trains on it."
        )
    examples = Examples(contents.x, y)
    data = split_where(
        is_test,
        examples,
        options,
        seed,
        owners=contents.owners,
        is_validation=contents.is_validation,
    )
    return task("npz", data, names, descriptions)


def labels(
    y: Array,
    task_type: str,
    source: str,
    descriptions: Optional[Descriptions] = None,
) -> tuple[Array, Optional[list[str]]]:
    """Returns labels as a model learns them.

    Args:
      y: Labels as read, of any type, [n] or [n, outputs].
      task_type: "classification" or "regression".
      source: The name of the file, for errors.
      descriptions: What the user says of "y".

    Returns:
      For classes, int32 [n] and the classes' names; for numbers, float32 [n,
      outputs] and `None`.

    Raises:
      DataError: If the labels are not what `task_type` says.
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
    if descriptions is not None and "y" in descriptions.categories:
        places = descriptions.places(np.array(names), "y", f"y of {source}")
        names = list(descriptions.categories["y"])
        return places[classes], names
    targets.check_classes(names, f"y of {source}", fractions)
    return classes.astype(np.int32), names


def task(
    name: str,
    data: Split,
    names: Optional[list[str]],
    descriptions: Descriptions,
) -> Task:
    """Returns the task of data of any shape, with their default model.

    Args:
      name: The name of the task.
      data: The data; their `y` is as `labels` returns it.
      names: The classes' names; `None` for numbers.
      descriptions: What the user says of "x" and "y".
    """
    shape = data.test.x.shape[1:]
    bounds = descriptions.bounds
    if "x" in bounds:
        inputs_scaling = scaling.scaling_within(
            *bounds["x"], scaling.scaled_places(shape)
        )
    else:
        inputs_scaling = scaling.input_scaling(_all_inputs(data.train), shape)
    target: dict[str, Any]
    outputs: tuple[Any, ...]
    told_by = {"x": "column_bounds_file", "y": "categories_file"}
    if names is None:
        told_by["y"] = "column_bounds_file"
        count = data.test.y.shape[1]
        if "y" in bounds:
            label_scaling = scaling.scaling_within(*bounds["y"], count)
        else:
            label_scaling = scaling.label_scaling(_all_labels(data.train))
        target = targets.number_target(label_scaling)
        outputs = (count, label_scaling)
    else:
        target = targets.class_target(names)
        outputs = (len(names),)
    return Task(
        name,
        **vars(data),
        **target,
        model_fn=functools.partial(
            models.network_for_shape,
            shape,
            data.test.x.dtype.name,
            inputs_scaling,
            *outputs,
        ),
        input_name="x",
        fitted_columns={
            column: flag
            for column, flag in told_by.items()
            if column not in descriptions.flags
        },
    )


def _all_labels(clients: FederatedData) -> Array:
    return np.concatenate([clients.load(c).y for c in clients.client_ids])


def _all_inputs(clients: FederatedData) -> Iterator[Array]:
    for client_id in clients.client_ids:
        yield clients.load(client_id).x
