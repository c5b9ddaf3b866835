"""Tasks on credit and income: codes and numbers in a table, one network."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import credit
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import Split, split_where
from tff_pipeline.datasets.readers import table_features
from tff_pipeline.models import table, table_form, table_serving
from tff_pipeline.objectives import binary, outputs
from tff_pipeline.objectives.set_metric import SetMetric
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

_TEST_FRACTION = 0.2


def credit_mlp(options: DataConfig, seed: int) -> Task:
    """Returns the task of finding bad applicants for credit (Hofmann 1994).

    The 1,000 applicants are UCI's Statlog German Credit data. Clients are the
    purposes of credits; a fifth of each one's applicants, drawn by the seed, is
    tested on. Beside "auc" it measures "cost_loss", the mean cost of an
    applicant by the matrix that comes with the data
    (`binary.german_credit_cost`).

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    return _task(
        "credit_mlp",
        credit.german,
        "german.data of UCI's Statlog German Credit",
        ("good", "bad"),
        options,
        seed,
        {"cost_loss": binary.german_credit_cost},
    )


def credit_default_mlp(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting next month's defaults on credit cards.

    Yeh and Lien 2009, "The comparisons of data mining techniques for the
    predictive accuracy of probability of default of credit card clients".
    Clients are levels of education; a fifth of each one's rows, drawn by the
    seed, is tested on.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    return _task(
        "credit_default_mlp",
        credit.credit_default,
        "UCI's default of credit card clients, saved as CSV",
        ("pays", "defaults"),
        options,
        seed,
    )


def adult_mlp(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting an income above 50,000 dollars a year.

    Kohavi 1996, "Scaling Up the Accuracy of Naive-Bayes Classifiers" (UCI's
    Adult). Clients are occupations; tested on UCI's test file.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    return _task(
        "adult_mlp",
        credit.adult,
        "adult.data and adult.test of UCI's Adult",
        ("<=50K", ">50K"),
        options,
        seed,
    )


def _task(
    name: str,
    load: Callable[[str], credit.Applicants],
    files: str,
    classes: tuple[str, str],
    options: DataConfig,
    seed: int,
    more_metrics: Optional[Mapping[str, SetMetric]] = None,
) -> Task:
    """Embeds codes, scales numbers, and adds two ReLU layers of 64 and 32.

    `x` is float32 [rows, columns], see `table_features.encode`; all statistics
    are of the clients that train. The exported model takes the columns by name.
    """
    data_dir = options.required_data_dir(f"the folder of {files}")
    applicants = load(data_dir)
    owners, is_test = applicants.owners, applicants.is_test
    if is_test is None:
        is_test = hold_out.mask(len(owners), owners, _TEST_FRACTION, seed)
    if not is_test.any():
        raise errors.DataError(
            f"{data_dir} has too few rows for --task={name}: none is "
            "left to test on."
        )

    def spread(x: Array) -> Split:
        everyone = Examples(x, applicants.y)
        return split_where(is_test, everyone, options, seed, owners=owners)

    # The split depends on the seed alone; here x is the number of each row.
    train = spread(np.arange(len(owners))).train
    training = np.concatenate([train.load(c).x for c in train.client_ids])
    known = [
        table_features.fit(column, training, column.name in applicants.coded)
        for column in applicants.columns
    ]
    x = np.stack(
        [
            table_features.encode(column, feature)
            for column, feature in zip(applicants.columns, known)
        ],
        axis=1,
    )
    return Task(
        name,
        **vars(spread(x)),
        model_fn=functools.partial(table.two_hidden_layers, known, 2),
        set_metrics={"auc": binary.area_under_curve, **(more_metrics or {})},
        outputs_fn=functools.partial(outputs.named_class_outputs, classes),
        classes=classes,
        serving_fn=functools.partial(table_serving.serving_model, known),
        encoder_fn=functools.partial(table.encoder, known),
        column_names=table_serving.column_names(known),
        form=table_form.form(known),
    )
