"""Compares runs: which flags differ, what each reached, and which is best.

Runs that differ by `--seed` alone are one setting, of which mean and spread are
told. Runs that are not finished are shown and count nowhere.
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.reporting import paired_test
from tff_pipeline.reporting.read_run import Run
from tff_pipeline.runs.metric_names import (
    TEST,
    VALIDATION,
    chosen_column,
    lower_is_better,
)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and spread of a number over the seeds of a setting.

    Attributes:
      mean: The mean.
      deviation: The standard deviation with n - 1; `None` for one value.
      count: How many values there are.
    """

    mean: float
    deviation: Optional[float]
    count: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Optional["Spread"]:
        """Returns the spread of values; `None` if there are none.

        >>> Spread.over([1.0, 3.0])
        Spread(mean=2.0, deviation=1.4142135623730951, count=2)

        Args:
          values: Numbers; a NaN makes mean and deviation NaN.
        """
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        if not all(map(math.isfinite, values)):
            return cls(mean, math.nan if values[1:] else None, len(values))
        deviation = statistics.stdev(values) if values[1:] else None
        return cls(mean, deviation, len(values))


@dataclasses.dataclass(frozen=True)
class Setting:
    """Runs with the same flags but for the seed.

    Attributes:
      name: "A" for the first, "B" and so on.
      runs: All of them, at least one.
    """

    name: str
    runs: Sequence[Run]

    @property
    def finished(self) -> list[Run]:
        """The runs that ended; what is told of the setting is theirs."""
        return [run for run in self.runs if run.ended]

    def over(
        self, number: Callable[[Run], Optional[float]]
    ) -> Optional[Spread]:
        """Returns the spread of a number over the runs that ended.

        Args:
          number: Tells a run's number; `None` where it has none.
        """
        values = map(number, self.finished)
        return Spread.over([each for each in values if each is not None])

    def by_seed(self, column: str) -> dict[int, float]:
        """Returns the last value of a column by seed, of runs that ended.

        Several runs of a seed, which noise may tell apart, count by their mean.

        Args:
          column: A column of metrics.csv.
        """
        values: dict[int, list[float]] = {}
        for run in self.finished:
            value = run.final(column)
            if value is not None and math.isfinite(value):
                values.setdefault(run.seed, []).append(value)
        return {seed: math.fsum(v) / len(v) for seed, v in values.items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs of one task on the same data, side by side.

    Attributes:
      settings: The settings, in the order of their first runs.
      flags: The flags in which settings differ.
      column: The column of metrics.csv that tells which is best.
      verdict: Which setting is best and how sure that is, a sentence each.
      notes: What the reader has to know besides, a sentence each.
    """

    settings: Sequence[Setting]
    flags: Sequence[str]
    column: str
    verdict: Sequence[str]
    notes: Sequence[str]

    @property
    def runs(self) -> list[tuple[Setting, Run]]:
        """All runs, each after its setting."""
        return [(each, run) for each in self.settings for run in each.runs]


def compare(
    runs: Sequence[Run],
    metric: Optional[str] = None,
    notes: Sequence[str] = (),
    best_first: bool = False,
) -> Comparison:
    """Compares runs.

    Args:
      runs: The runs, at least one.
      metric: The metric that tells which is best: a name, or a column of
        metrics.csv. By default the one of `--target_metric`, or the first that
        is evaluated and is not the loss, or the loss.
      notes: What to tell besides, of runs that were left out.
      best_first: Whether the settings stand in the order of their means, and
        not in that of their first runs.

    Returns:
      The comparison.

    Raises:
      ConfigError: If the runs are of several tasks or data, or do not have the
        metric.
    """
    _check_alike(runs)
    kept, repeated = _without_repeats(runs)
    column = column_of(kept, metric)
    groups = _groups(kept)
    if best_first:
        groups.sort(key=lambda group: _place(group, column))
    settings = [
        Setting(_letters(number), group) for number, group in enumerate(groups)
    ]
    tables = [setting.runs[0].settings() for setting in settings]
    flags = dict.fromkeys(
        name for table in tables for name in fields.differing(tables[0], table)
    )
    return Comparison(
        settings,
        list(flags),
        column,
        paired_test.verdict(
            {each.name: each.by_seed(column) for each in settings},
            column,
            lower_is_better(column),
        ),
        [*notes, *repeated, *_notes(kept, column)],
    )


def _check_alike(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = first.config.data.task, run.config.data.task
        if ours != theirs:
            raise errors.ConfigError(
                f"{run.path} is of --task={theirs} and {first.path} of --task="
                f"{ours}; compare runs of one task, and leave the others out."
            )
        if None not in (run.data, first.data) and run.data != first.data:
            raise errors.ConfigError(
                f"{run.path} was trained on other data than {first.path}: the "
                "hashes of the files in their environment.json differ; compare "
                "runs on the same data, and leave the others out."
            )


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Leaves out runs that say the same again, and says which."""
    kept: dict[str, Run] = {}
    notes = []
    for run in runs:
        rows = [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in run.rows
        ]
        # A dict of numbers; text, for NaN is not NaN.
        key = json.dumps([run.settings(), run.seed, rows], sort_keys=True)
        if key in kept:
            notes.append(
                f"{run.path} repeats {kept[key].path}, with the same flags, "
                "seed and results; it is left out."
            )
        else:
            kept[key] = run
    return list(kept.values()), notes


def column_of(runs: Sequence[Run], metric: Optional[str]) -> str:
    """Returns the column that tells which run is best.

    Args:
      runs: The runs, at least one.
      metric: As for `compare`.

    Raises:
      ConfigError: If the runs do not have it.
    """
    common = [
        name
        for name in runs[0].columns()
        if all(name in run.columns() for run in runs)
    ]
    evaluated = [
        name
        for prefix in (VALIDATION, TEST)
        for name in common
        if name.startswith(prefix)
    ]
    if metric is not None:
        column = chosen_column(metric, common)
        if column is None:
            raise errors.ConfigError(
                f"--metric={metric} is not in metrics.csv of all runs; choose "
                f"one of: {', '.join(evaluated or common)}."
            )
        return column
    targets = {run.config.run.target_metric for run in runs}
    if len(targets) == 1:
        target = chosen_column(targets.pop(), common)
        if target is not None:
            return target
    if not evaluated:
        raise errors.ConfigError(
            "The runs have no metric on a test or validation set in common; "
            f"name another column with --metric, one of: {', '.join(common)}."
        )
    prefix = VALIDATION if evaluated[0].startswith(VALIDATION) else TEST
    own = [name for name in evaluated if name.startswith(prefix)]
    others = [name for name in own if name != f"{prefix}loss"]
    return (others or own)[0]


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs, those together that differ by the seed alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps(run.settings(), sort_keys=True)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _place(group: Sequence[Run], column: str) -> tuple[bool, float]:
    """Returns what settings are sorted by: those without results come last."""
    values = Setting("", group).by_seed(column).values()
    if not values:
        return True, 0.0
    mean = math.fsum(values) / len(values)
    return False, mean if lower_is_better(column) else -mean


def _letters(number: int) -> str:
    """Names a setting: A to Z, then AA, AB and so on.

    >>> [_letters(number) for number in (0, 25, 26, 701, 702)]
    ['A', 'Z', 'AA', 'ZZ', 'AAA']
    """
    name = chr(ord("A") + number % 26)
    return name if number < 26 else _letters(number // 26 - 1) + name


def _notes(runs: Sequence[Run], column: str) -> list[str]:
    notes = [
        f"{run.path} is not finished: {run.rounds} of "
        f"{run.config.run.total_rounds} rounds are trained. It is shown, and "
        "counts nowhere."
        for run in runs
        if not run.ended
    ]
    if any(run.data is None for run in runs):
        notes.append(
            "Not every run says on which data it was trained "
            "(environment.json), so that nothing tells whether they are the "
            "same."
        )
    if column.startswith(TEST):
        notes.append(
            f"{column} is of the test set: what is chosen by it looks better "
            "there than it is. --validation_fraction=0.1 holds out examples "
            "to choose on."
        )
    return notes


def shown(value: Any) -> str:
    """Returns a flag's value as it stands in a table.

    >>> shown(None), shown(True), shown(0.1), shown("sgd")
    ('', 'true', '0.1', 'sgd')

    Args:
      value: The value; `None` where the flag does not apply.
    """
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
