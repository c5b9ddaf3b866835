"""Describes how a metric is spread over clients; without TensorFlow.

A share such as an area under the curve is NaN where it is not defined, for
example for a client with one class, and says nothing; but a loss or an error
that is NaN says that the model failed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.runs.metric_names import lower_is_better

Array = npt.NDArray[Any]

# The statistics of `summarize` that metrics.csv has columns for.
SPREAD = ("mean", "p10", "median", "p90", "gap")
# Those that compare clients' own models with the server's.
COMPARED = ("global", "gain")


def spread_columns(group: str, values: Mapping[str, Array]) -> dict[str, float]:
    """Makes the columns of metrics.csv that describe a group of clients.

    Args:
      group: The group's name, such as "seen".
      values: Metric name -> float array of shape [clients].

    Returns:
      Column -> value, one column for each metric and each statistic of
      `SPREAD`; metrics that are defined for no client are left out.

    Example:
      >>> losses = {"loss": np.array([1.0, 3.0])}
      >>> spread_columns("seen", losses)["seen_loss_gap"]
      2.0
    """
    columns = {}
    for name, column in values.items():
        if not is_defined(name, column).any():
            continue
        summary = summarize(column, np.ones(len(column)), lower_is_better(name))
        for statistic in SPREAD:
            columns[f"{group}_{name}_{statistic}"] = summary[statistic]
    return columns


def compared_columns(
    group: str, own: Mapping[str, Array], others: Mapping[str, Array]
) -> dict[str, float]:
    """Makes the columns that compare clients' own models with the server's.

    Args:
      group: The group's name, such as "seen".
      own: Metric name -> float array of shape [clients], of their own models.
      others: The same of the server's model, on the same examples.

    Returns:
      Column -> value: for each metric `global`, the mean of the server's model
      over clients, and `gain`, the mean of what a client gains by its own, a
      positive number where that is better. Clients for whom one of both is not
      defined are left out.

    Example:
      >>> own = {"loss": np.array([1.0, 2.0])}
      >>> compared_columns("seen", own, {"loss": np.array([2.0, 2.0])})
      {'seen_loss_global': 2.0, 'seen_loss_gain': 0.5}
    """
    columns = {}
    for name in own:
        both = is_defined(name, own[name]) & is_defined(name, others[name])
        if not both.any():
            continue
        mine, server = own[name][both], others[name][both]
        gain = server - mine if lower_is_better(name) else mine - server
        columns[f"{group}_{name}_global"] = float(np.mean(server))
        columns[f"{group}_{name}_gain"] = float(np.mean(gain))
    return columns


def is_defined(name: str, values: Any) -> Any:
    """Tells which values of a metric say something.

    Example:
      >>> is_defined("auc", np.array([0.5, np.nan])).tolist()
      [True, False]
      >>> bool(is_defined("loss", np.nan))
      True

    Args:
      name: The metric's name.
      values: Its values, a float or float array.

    Returns:
      A bool of the same shape: False for the NaN of a share, which is not
      defined; True for all losses and errors.
    """
    return ~np.isnan(values) | lower_is_better(name)


def summarize(
    values: Array, examples: Array, worst_is_highest: bool
) -> dict[str, float]:
    """Describes how a metric is spread over clients.

    Args:
      values: The metric of each client, of shape [clients]; a NaN that is not
        to be small counts as not defined, and some must be.
      examples: Each client's number of examples, of shape [clients].
      worst_is_highest: True if small values are good, as for a loss.

    Returns:
      "mean", the mean over clients; "weighted_mean", weighted by examples;
      "p10", "median" and "p90", percentiles; "worst_10_percent", the mean of
      the worst tenth of the clients, at least one (Li et al. 2020, "Fair
      Resource Allocation in Federated Learning", table 1);
      "best_10_percent", that of the best tenth; and "gap", the distance between
      these two.

    Example:
      >>> summarize(np.array([1.0, 3.0]), np.array([3, 1]), True)["gap"]
      2.0
    """
    if not worst_is_highest:
        defined = ~np.isnan(values)
        values, examples = values[defined], examples[defined]
    tenth = max(1, round(len(values) / 10))
    worst_first = np.sort(values)
    if worst_is_highest:
        worst_first = worst_first[::-1]
    worst = float(np.mean(worst_first[:tenth]))
    best = float(np.mean(worst_first[-tenth:]))
    return {
        "mean": float(np.mean(values)),
        "weighted_mean": float(np.average(values, weights=examples)),
        "p10": float(np.percentile(values, 10)),
        "median": float(np.median(values)),
        "p90": float(np.percentile(values, 90)),
        "worst_10_percent": worst,
        "best_10_percent": best,
        "gap": abs(best - worst),
    }
