"""Scores of a test set beside those of a model that sees no example.

The best constant answer is, of classes, the most frequent one, with the shares
of the classes as probabilities; of numbers, their mean. Both are taken from the
examples that are scored: no other constant answer is right more often.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import stats

from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.evaluation.spread import is_defined
from tff_pipeline.objectives import class_scores, number_scores
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

DEFAULT_THRESHOLD = 0.5
# The share of a client's most frequent class.
MAJORITY = "majority_accuracy"
# The most outputs that are kept for scores: 80 MB, of which copies are made.
_MOST_OUTPUTS = 20_000_000


def constant_answer(task: Task) -> dict[str, float]:
    """Scores the best constant answer on the central test set.

    Args:
      task: The task, which has the test set.

    Returns:
      Of classes "loss" and "accuracy"; of numbers "loss",
      "mean_absolute_error" and "root_mean_squared_error"; empty for tasks that
      predict something else.
    """
    y = task.test.y
    if task.predicts == "class":
        shares = np.bincount(np.reshape(y, [-1]).astype(np.int64)) / len(y)
        return {
            "loss": float(stats.entropy(shares)),
            "accuracy": float(shares.max()),
        }
    if task.predicts == "numbers":
        mean = number_scores.constant_numbers(y)
        scores = number_scores.number_scores(y, mean)
        loss = task.loss_fn()(y, tf.constant(mean, y.dtype))
        return {"loss": float(loss), **_defined(scores, ("r_squared",))}
    return {}


def score_test_set(
    evaluator: Evaluator,
    task: Task,
    threshold: float,
    keep: Callable[[Array, Array], None] = lambda y, outputs: None,
) -> dict[str, Any]:
    """Scores the weights that were assigned last on the central test set.

    Args:
      evaluator: The evaluator of the task's model.
      task: The task.
      threshold: The probability above which the second of two classes is
        predicted.
      keep: Called, where the task predicts classes or numbers, with the labels
        and outputs that are scored, [n, ...] each.

    Returns:
      A JSON object. "rows": the number of examples. "central": metric -> value,
      of the task's own metrics and of those in `class_scores` or
      `number_scores`; what is not defined is left out. Of classes and numbers
      also "constant_answer": the same metrics of the best constant answer. Of
      classes also "classes", see `_by_class`.
    """
    test = task.test
    if not task.predicts:
        values = evaluator.measure(test)
        return {"rows": len(test), "central": _defined(values)}
    values, outputs, y = _measured(evaluator, test, len(task.class_names))
    keep(y, outputs)
    report: dict[str, Any] = {"rows": len(test)}
    constant = constant_answer(task)
    if task.predicts == "numbers":
        values = {**number_scores.number_scores(y, outputs), **values}
        of_mean = number_scores.number_scores(
            y, number_scores.constant_numbers(y)
        )
        return {
            **report,
            "central": _defined(values),
            "constant_answer": _defined({**of_mean, **constant}),
        }
    scores = class_scores.class_scores(y, outputs, threshold)
    always = class_scores.class_scores(
        y, class_scores.constant_logits(y, len(task.class_names)), threshold
    )
    return {
        **report,
        "central": _defined(_joined(values, scores, threshold)),
        "constant_answer": _defined({**always.values, **constant}),
        "classes": _by_class(task, scores, threshold),
    }


def score_client(
    evaluator: Evaluator, task: Task, threshold: float, examples: Examples
) -> dict[str, float]:
    """Scores the weights that were assigned last on a client's examples.

    Args:
      evaluator: The evaluator of the task's model.
      task: The task.
      threshold: The probability above which the second of two classes is
        predicted.
      examples: The client's examples, at least one.

    Returns:
      Metric -> value, NaN where it is not defined. Of classes, `MAJORITY` as
      well, and of two classes, areas under curves: of more, these take long for
      many clients.
    """
    if task.predicts != "class":
        return evaluator.measure(examples)
    values, outputs = evaluator.measure_and_keep(examples)
    two = len(task.class_names) == 2
    scores = class_scores.class_scores(
        examples.y, outputs, threshold, ranked=two
    )
    # Few examples fill few bins: what it says of one client is chance.
    values = _joined(values, scores, threshold)
    del values["calibration_error"]
    _, counts = np.unique(examples.y, return_counts=True)
    return {**values, MAJORITY: float(counts.max() / len(examples))}


def _measured(
    evaluator: Evaluator, test: Examples, width: int
) -> tuple[dict[str, float], Array, Array]:
    """Measures a test set; returns outputs and labels of what is scored."""
    step = -(-len(test) * width // _MOST_OUTPUTS)
    if step <= 1:
        return (*evaluator.measure_and_keep(test), test.y)
    # Every so many of the examples, which may be sorted by class or client.
    part = test.take(np.arange(0, len(test), step))
    _, outputs = evaluator.measure_and_keep(part)
    return evaluator.measure(test), outputs, part.y


def _joined(
    values: dict[str, float],
    scores: class_scores.ClassScores,
    threshold: float,
) -> dict[str, float]:
    """Joins the task's own metrics and scores.

    Of what is in both, the task's own is taken, which metrics.csv has, unless
    the threshold is another than the one that it is measured at.
    """
    own = values if threshold == DEFAULT_THRESHOLD else {}
    return {**values, **scores.values, **own}


def _by_class(
    task: Task, scores: class_scores.ClassScores, threshold: float
) -> dict[str, Any]:
    """Makes a JSON object of a test set's classes.

    Returns:
      "rows", the number of examples that are scored, and "not_finite", that of
      those which are not, for the model's outputs are not finite. "names", the
      classes' names. By class, "count", "predicted", "precision", "recall" and
      "f1", lists in that order; `None` where a score is not defined.
      "confusion", rows of true classes, columns of predicted ones. Of two
      classes also "positive", the name of the positive one, and "threshold".
    """
    found: dict[str, Any] = {
        "rows": scores.rows,
        "not_finite": scores.not_finite,
        "names": list(task.class_names),
        "count": scores.confusion.sum(axis=1).tolist(),
        "predicted": scores.confusion.sum(axis=0).tolist(),
    }
    for name in ("precision", "recall", "f1"):
        found[name] = [
            None if np.isnan(value) else float(value)
            for value in getattr(scores, name)
        ]
    found["confusion"] = scores.confusion.tolist()
    if len(task.class_names) == 2:
        found |= {"positive": task.class_names[1], "threshold": threshold}
    return found


def _defined(
    values: dict[str, float], left_out: tuple[str, ...] = ()
) -> dict[str, float]:
    return {
        name: value
        for name, value in values.items()
        if name not in left_out and is_defined(name, value)
    }
