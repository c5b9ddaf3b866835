"""Writes what a sweep's trials reached, and what privacy they cost."""

import math
import os
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.commands import compare
from tff_pipeline.commands.trial import Trial
from tff_pipeline.files import durable
from tff_pipeline.reporting import comparison, comparison_text
from tff_pipeline.reporting.read_run import Run

_PAGE = "Sweep of {task}"
# More rows are for the page.
_MOST_ON_SCREEN = 12


def write(
    folder: str,
    trials: Sequence[Trial],
    runs: Sequence[Run],
    everything: Sequence[Run],
    notes: Sequence[str],
    metric: Optional[str],
) -> list[str]:
    """Writes trials.csv, and a comparison where there is something to compare.

    Args:
      folder: The sweep's folder.
      trials: The trials.
      runs: The runs of the trials that can be read.
      everything: All runs in the folder, of earlier sweeps too.
      notes: A sentence for each run that cannot be read.
      metric: The metric that tells which is best; `None` for the task's.

    Returns:
      Lines for the screen.

    Raises:
      RunDirectoryError: If a file cannot be written.
      ConfigError: If the runs do not have the metric.
    """
    written = [write_trials(folder, trials, runs, metric)]
    if not runs:
        return ["No trial has a result.", f"Written: {written[0]}"]
    result = comparison.compare(runs, metric, notes, best_first=True)
    spent = privacy_spent(everything)
    task = runs[0].config.data.task
    written += compare.write(result, folder, _PAGE.format(task=task), spent)
    lines = list(result.verdict)
    if len(result.settings) <= _MOST_ON_SCREEN:
        lines = [comparison_text.on_screen(result)]
    return [*lines, *spent, "", f"Written: {', '.join(written)}"]


def write_trials(
    folder: str,
    trials: Sequence[Trial],
    runs: Sequence[Run],
    metric: Optional[str],
) -> str:
    """Writes trials.csv: a row a trial, and one of what they spent together.

    Args:
      folder: The sweep's folder.
      trials: The trials.
      runs: The runs of the trials that can be read.
      metric: The metric that tells which is best; `None` for the task's.

    Returns:
      The file's path.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    column = None
    if runs:
        try:
            column = comparison.column_of(runs, metric)
        except errors.ConfigError:  # Nothing has been evaluated yet.
            column = None
    flags = list(
        dict.fromkeys(flag for each in trials for flag in each.settings)
    )
    results = [column, f"best_{column}"] if column else []
    costs = ["rounds", "client_bytes", "seconds", "epsilon", "delta"]
    rows = [["trial", *flags, "state", "why", *results, *costs]]
    by_path = {run.path: run for run in runs}
    for trial in trials:
        row = [trial.name, *(trial.settings.get(flag, "") for flag in flags)]
        row += [trial.state, trial.why]
        run = by_path.get(trial.directory.path)
        rows.append([*row, *_numbers(run, column, len(results) + len(costs))])
    private = [run for run in runs if run.epsilon is not None]
    if private:
        epsilon, delta = _sums(private)
        empty = [""] * (len(rows[0]) - 3)
        rows.append(["all trials", *empty, repr(epsilon), repr(delta)])
    path = os.path.join(folder, "trials.csv")
    durable.write_text(path, comparison_text.as_csv(rows))
    return path


def _numbers(
    run: Optional[Run], column: Optional[str], count: int
) -> list[str]:
    """Returns the cells of a run's numbers; `count` empty ones without it."""
    if run is None:
        return [""] * count
    results: list[Optional[float]] = []
    if column is not None:
        results = [run.final(column), run.best(column).value]
    private = run.epsilon is not None
    numbers = [
        *results,
        run.rounds,
        run.client_bytes,
        round(run.total("seconds"), 3),
        run.epsilon,
        run.delta if private else None,
    ]
    return ["" if each is None else repr(each) for each in numbers]


def privacy_spent(runs: Sequence[Run]) -> list[str]:
    """Says what epsilon runs on the same data spent together.

    Basic composition (Dwork and Roth 2014, theorem 3.16): epsilons add up, and
    so do deltas.

    Args:
      runs: The runs.

    Returns:
      A sentence or two; none if no run is private.
    """
    private = [run for run in runs if run.epsilon is not None]
    if not private:
        return []
    epsilon, delta = _sums(private)
    lines = [
        f"Tuning spends privacy: the {len(private)} private trials in this "
        f"folder spent epsilon {epsilon:.4g} and delta {delta:.3g} in all, by "
        "basic composition; the chosen model is not as private as its own "
        "epsilon says.",
        "To choose by a metric on private data is covered by no epsilon: "
        "figures on test and validation examples are exact.",
    ]
    if len(private) < len(runs):
        lines.append(
            f"{len(runs) - len(private)} trials in this folder are not private "
            "at all; if they trained on the same data, nothing is promised."
        )
    return lines


def _sums(runs: Sequence[Run]) -> tuple[float, float]:
    return (
        math.fsum(run.epsilon for run in runs if run.epsilon is not None),
        math.fsum(run.delta for run in runs),
    )
