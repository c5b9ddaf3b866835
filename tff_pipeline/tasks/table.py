"""The task of a user's own table: rows of CSV, TSV or Parquet files."""

import functools
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
from tff_pipeline.models import scaling, table_form, table_serving
from tff_pipeline.models import table as models
from tff_pipeline.objectives import targets
from tff_pipeline.tasks import table_inputs, text_column
from tff_pipeline.tasks.table_contents import Contents, listed_labels, read
from tff_pipeline.tasks.table_inputs import Inputs
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


def csv(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting a column of a table from others.

    Training `x` is float32 [rows, columns], see `table_inputs.encoded`; all
    statistics are of the clients that train. The exported model takes the
    columns by name, see `table_serving.serving_model`.

    The model has two hidden layers of 64 and 32 units. Classes end in one logit
    each, in the order of their names (of their value, if all are numbers); a
    number is scaled by the training rows' mean and deviation. With
    `text_column` the input is a text, and the model a pretrained encoder, see
    `text_column.encoded`.

    Args:
      options: The table, in `data_dir`, and which columns are what.
      seed: The experiment's seed, which draws what is held out.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If the table cannot be read, or lacks what the flags name.
    """
    data_dir = options.required_data_dir(
        "a table (.csv, .tsv, either also in .gz, or .parquet) or a folder of "
        "such files"
    )
    contents = read(options)
    y, owners = contents.y, contents.owners
    is_test = contents.is_test
    if is_test is None:
        is_test = hold_out.mask(
            len(y), owners, options.test_fraction or 0.0, seed
        )
    if not is_test.any():
        raise errors.DataError(
            f"No row of {data_dir} is left to test on; raise "
            f"--test_fraction={options.test_fraction} or add rows: a client "
            "with one row trains on it."
        )

    def spread(x: Array) -> Split:
        return split_where(
            is_test,
            Examples(x, y),
            options,
            seed,
            owners=owners,
            is_validation=contents.is_validation,
        )

    # The split depends on the seed alone; here x is the number of each row.
    training = _all_x(spread(np.arange(len(y))).train)
    target: dict[str, Any]
    label_scaling = None
    if contents.class_names is None:
        label_scaling = _label_scaling(contents, options, y[training])
        target = targets.number_target(label_scaling)
        outputs = y.shape[1]
    else:
        target = targets.class_target(contents.class_names)
        outputs = len(contents.class_names)
    fitted = _fitted_labels(contents, options)
    if options.text_column is not None:
        x, fields = text_column.encoded(
            contents, options, seed, outputs, label_scaling, bool(fitted)
        )
    else:
        inputs = table_inputs.encoded(contents, training, options)
        x, fields = inputs.x, _of_columns(inputs, outputs, label_scaling)
        fitted = {**inputs.fitted, **fitted}
    return Task(
        "csv",
        **vars(spread(x)),
        **target,
        **fields,
        fitted_columns=fitted,
        labels=listed_labels(options),
    )


def _of_columns(
    inputs: Inputs, outputs: int, label_scaling: Optional[scaling.Scaling]
) -> dict[str, Any]:
    """Returns the fields of a task whose inputs are columns of all kinds."""
    known = inputs.features
    return {
        "model_fn": functools.partial(
            models.two_hidden_layers, known, outputs, label_scaling
        ),
        "serving_fn": functools.partial(table_serving.serving_model, known),
        "columns": inputs.uses,
        "encoder_fn": functools.partial(models.encoder, known),
        "column_names": table_serving.column_names(known),
        "form": table_form.form(known),
    }


def _fitted_labels(contents: Contents, options: DataConfig) -> dict[str, str]:
    """Returns the labels that the user does not describe; see `Task`."""
    flag = "categories_file"
    if contents.class_names is None:
        flag = "column_bounds_file"
    return {
        name: flag
        for name in listed_labels(options)
        if name not in contents.descriptions.flags
    }


def _label_scaling(
    contents: Contents, options: DataConfig, y: Array
) -> scaling.Scaling:
    """Returns the scaling of labels that are numbers, described or not."""
    fitted = scaling.label_scaling(y)
    for place, name in enumerate(listed_labels(options)):
        if name in contents.descriptions.bounds:
            low, high = contents.descriptions.bounds[name]
            said = scaling.scaling_within(low, high)
            fitted.mean[place] = said.mean[0]
            fitted.deviation[place] = said.deviation[0]
    return fitted


def _all_x(clients: FederatedData) -> Array:
    return np.concatenate([clients.load(c).x for c in clients.client_ids])
