"""Says in sentences how good a run's model is, and whether it overfits."""

import math
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.reporting.evaluation_text import number
from tff_pipeline.reporting.run_report.blocks import Text
from tff_pipeline.reporting.run_report.record import Record
from tff_pipeline.runs.metric_names import TEST, VALIDATION, lower_is_better

Array = npt.NDArray[Any]

# Metric -> words for the constant answer that it is compared with.
_TRIVIAL = {
    "accuracy": "always answering the most frequent class",
    "root_mean_squared_error": "always answering the mean",
}
OVERFITTING_RULE = (
    "The rule: the loss, as the median of neighbouring evaluations, ends more "
    "than 5% above its lowest value, while the training loss fell since."
)
_RISE = 0.05
_FEWEST_EVALUATIONS = 8


def main_metric(names: Sequence[str]) -> Optional[str]:
    """Returns the metric by which a model is judged first.

    >>> main_metric(["loss", "accuracy", "auc"])
    'accuracy'

    Args:
      names: The names of metrics that there are.

    Returns:
      One of them; `None` if there are none.
    """
    first = [*_TRIVIAL, *(name for name in names if name != "loss")]
    return next((name for name in [*first, "loss"] if name in names), None)


def verdict(record: Record) -> Text:
    """Judges the last evaluation on the test set.

    Args:
      record: The run.

    Returns:
      A sentence: the main metric beside a constant answer's, or where there is
      none beside the value before training; a warning if it is not better. A
      share that is better by less than two standard errors of so many test
      examples is not called better.
    """
    reached, constant = record.last(TEST), record.constant
    name = main_metric(list(reached))
    if name is None:
        return Text(
            f"{record.last_round} rounds, of which none was evaluated.",
            "warning",
        )
    value = reached[name]
    shown = f"{_words(name)} {number(value, 3)} on the test set"
    if not math.isfinite(value):
        return Text(f"{shown}: the model failed.", "warning")
    if name in _TRIVIAL and name in constant:
        trivial = constant[name]
        against = f"{_TRIVIAL[name]} reaches {number(trivial, 3)}"
        gain = trivial - value if lower_is_better(name) else value - trivial
        if gain <= 0:
            return Text(
                f"{shown} is not better than a constant answer: {against}."
                + _by_loss(reached, constant),
                "warning",
            )
        if gain <= _chance(record, name, value, trivial):
            return Text(
                f"{shown}, and {against}: a difference that chance may explain "
                "with so few test examples.",
                "warning",
            )
        return Text(f"{shown}; {against}.", "good")
    before = record.rows[0].get(f"{TEST}{name}")
    if record.rows[0]["round"] == 0 and before is not None:
        gain = before - value if lower_is_better(name) else value - before
        was = f"{number(float(before), 3)} before training"
        if gain <= 0:
            return Text(f"{shown} is not better than {was}.", "warning")
        return Text(f"{shown}, {was}.", "good")
    return Text(f"{shown} after {record.last_round:,} rounds.")


def _by_loss(reached: Any, constant: Any) -> str:
    """Says so where rarer classes are seen, though never predicted."""
    loss = reached.get("loss", math.inf)
    if "accuracy" in constant and loss < constant.get("loss", -math.inf):
        return (
            f" Its probabilities say more, though: loss {number(loss, 3)}, "
            f"and {number(constant['loss'], 3)} with the shares of the classes."
        )
    return ""


def _chance(record: Record, name: str, value: float, trivial: float) -> float:
    """Returns what a gain must exceed: two standard errors of a share."""
    rows = record.model.test.get("rows") or record.evaluation.get("rows")
    rows = rows or record.card.get("data", {}).get("test_examples")
    if name != "accuracy" or not rows:
        return 0.0
    spread = value * (1 - value) + trivial * (1 - trivial)
    return 2 * math.sqrt(spread / rows)


def overfitting(record: Record) -> Optional[Text]:
    """Says where the model began to overfit, if it did.

    Args:
      record: The run.

    Returns:
      A warning by `OVERFITTING_RULE`, of the validation set or without one of
      the test set; `None` if that is not seen, or nothing tells of training.
    """
    for prefix, words in ((VALIDATION, "validation"), (TEST, "test")):
        rounds, losses = record.series(f"{prefix}loss")
        if not losses:
            continue
        found = overfits(rounds, losses, *record.series("train_loss"))
        if found is None:
            return None
        best, lowest, last = found
        return Text(
            f"The model overfits: its {words} loss was lowest about round "
            f"{best:.0f} ({number(lowest, 3)}) and is {number(last, 3)} now, "
            "while the training loss went on falling. Fewer rounds, or "
            "--target_metric=loss with --patience and --round=best, take the "
            f"better model. {OVERFITTING_RULE}",
            "warning",
        )
    return None


def overfits(
    rounds: Sequence[float],
    losses: Sequence[float],
    train_rounds: Sequence[float],
    train_losses: Sequence[float],
) -> Optional[tuple[float, float, float]]:
    """Applies `OVERFITTING_RULE`.

    >>> falling = [1 / n for n in range(1, 11)]
    >>> rising = [1.0, 0.5, 0.4, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    >>> overfits(range(10), rising, range(10), falling)[0]
    2
    >>> overfits(range(10), falling, range(10), falling) is None
    True

    Args:
      rounds: The rounds of evaluations.
      losses: The losses there; of fewer than 8 nothing is said.
      train_rounds: The rounds with a training loss.
      train_losses: The training losses there.

    Returns:
      (round of the lowest loss, the loss there, the loss at the end), smoothed;
      `None` if the model does not overfit, or cannot be told to.
    """
    if len(losses) < _FEWEST_EVALUATIONS or not train_losses:
        return None
    smooth = _medians(np.asarray(losses, float))
    if not np.isfinite(smooth).all():
        return None
    best = int(smooth.argmin())
    trained = _medians(np.asarray(train_losses, float))
    place = int(np.searchsorted(train_rounds, rounds[best]))
    at_best = trained[min(place, len(trained) - 1)]
    if smooth[-1] <= (1 + _RISE) * smooth[best] or smooth[best] < 0:
        return None
    if not trained[-1] < at_best:
        return None
    return rounds[best], float(smooth[best]), float(smooth[-1])


def _medians(values: Array) -> Array:
    """Returns medians of 3 neighbours, or of a twentieth of all.

    At the ends they are of as many, so that no value stands for itself.
    """
    width = min(len(values), 2 * max(1, len(values) // 40) + 1)
    windows = np.lib.stride_tricks.sliding_window_view(values, width)
    medians = np.median(windows, axis=1)
    places = np.arange(len(values)) - width // 2
    return medians[np.clip(places, 0, len(medians) - 1)]


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
