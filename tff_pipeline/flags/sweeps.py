"""Flags of compare and sweep."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import config, errors
from tff_pipeline.config import fields, sweep
from tff_pipeline.config.fields import Allowed
from tff_pipeline.config.sweep import SweepConfig
from tff_pipeline.flags import experiment, foreign, parsing


def define_compare_flags() -> None:
    """Defines the flags of scripts/compare.py."""
    _define_metric("Comparison")
    parsing.define_flag(
        "Comparison",
        "output",
        fields.PATH,
        "Names a folder, to which comparison.html, settings.csv and runs.csv "
        "are written. Default: nothing is written.",
    )


def compare_question() -> tuple[Optional[str], Optional[str]]:
    """Returns --metric and --output of scripts/compare.py."""
    return parsing.FLAGS["metric"].value, parsing.FLAGS["output"].value


def _define_metric(title: str) -> None:
    parsing.define_flag(
        title,
        "metric",
        fields.TEXT,
        "Names the metric that tells which run is best, as --target_metric "
        "does. Default: that of --target_metric, or the first that is "
        "evaluated and is not the loss.",
    )


_OWN: tuple[tuple[str, Allowed, Any, str], ...] = (
    (
        "random",
        fields.COUNT,
        None,
        "Tries so many combinations, drawn from --grid and --range.",
    ),
    (
        "vizier",
        fields.COUNT,
        None,
        "Tries so many combinations, which Vizier's eagle strategy chooses by "
        "the results of those before. Needs --metric.",
    ),
    (
        "sweep_seed",
        fields.SEED,
        0,
        "Seeds what --random and --vizier draw.",
    ),
    ("parallel", fields.COUNT, 1, "Sets how many trials train side by side."),
    (
        "warm_up_rounds",
        fields.COUNT,
        None,
        "Sets the rounds before which --stop_hopeless ends no trial. Default: "
        "a quarter of --total_rounds.",
    ),
)
_SWEEP = "Sweep"


def define_sweep_flags() -> None:
    """Defines the flags of scripts/sweep.py: its own, and those of train."""
    parsing.define_repeated(
        _SWEEP,
        "grid",
        "Gives a flag of train several values, as in --grid "
        "client_learning_rate=0.01,0.1 or --grid seed=1..5; given several "
        "times, all combinations are tried.",
    )
    parsing.define_repeated(
        _SWEEP,
        "range",
        "Draws a number of train, as in --range "
        "client_learning_rate=0.001:1:log. For --random and --vizier.",
    )
    for name, allowed, default, help_text in _OWN:
        parsing.define_flag(_SWEEP, name, allowed, help_text, default)
    parsing.define_switch(
        _SWEEP,
        "stop_hopeless",
        "Ends trials early whose best --metric is worse than the median of "
        "the others' after the same round.",
    )
    _define_metric(_SWEEP)
    own = list(parsing.SECTIONS[_SWEEP])
    experiment.define_experiment_flags()
    parsing.FIRST.update(own)


@dataclasses.dataclass(frozen=True)
class SweepQuestion:
    """Holds the flags of scripts/sweep.py.

    Attributes:
      sweep: What varies.
      output_dir: The folder of the trials.
      parallel: How many trials train side by side.
      metric: The metric that tells which is best; `None` for the task's.
      stop_hopeless: Whether to end hopeless trials.
      warm_up_rounds: The rounds before which none is ended.
      overwrite: Whether to delete the trials that are there.
    """

    sweep: SweepConfig
    output_dir: str
    parallel: int
    metric: Optional[str]
    stop_hopeless: bool
    warm_up_rounds: int
    overwrite: bool


def sweep_question() -> SweepQuestion:
    """Returns the flags of scripts/sweep.py, checked.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    values = {name: parsing.FLAGS[name].value for name, *_ in _OWN}
    for name, allowed, *_ in _OWN:
        if values[name] is not None:
            allowed.check(name, values[name])
    output_dir = parsing.FLAGS["output_dir"].value
    if output_dir is None:
        raise errors.ConfigError(
            "--output_dir is not set; name the folder for the trials."
        )
    if parsing.FLAGS["profile"].value:
        raise errors.ConfigError(
            "--profile is not used with sweep; profile one of its trials with "
            "train."
        )
    metric = parsing.FLAGS["metric"].value
    search, count = _search(values)
    if search == "vizier" and metric is None:
        metric = parsing.FLAGS["target_metric"].value
        if metric is None:
            raise errors.ConfigError(
                f"--vizier={count} is given without --metric=...; name what it "
                "is to make better, such as --metric=accuracy."
            )
    kinds = parsing.kinds()
    for name in (*(name for name, *_ in _OWN), "metric"):
        del kinds[name]
    for text in (*_texts("grid"), *_texts("range")):
        name = text.partition("=")[0].lstrip("-")
        if name not in {*kinds, "overwrite", "profile", ""}:
            raise foreign.unknown_flag(name, kinds)
    warm_up = values["warm_up_rounds"]
    return SweepQuestion(
        SweepConfig(
            tuple(sweep.choice(text, kinds) for text in _texts("grid")),
            tuple(sweep.span(text, kinds) for text in _texts("range")),
            search,
            count,
            values["sweep_seed"],
        ),
        output_dir,
        values["parallel"],
        metric,
        bool(parsing.FLAGS["stop_hopeless"].value),
        warm_up or max(1, parsing.FLAGS["total_rounds"].value // 4),
        bool(parsing.FLAGS["overwrite"].value),
    )


def trial_config(
    settings: Mapping[str, str], output_dir: str
) -> config.ExperimentConfig:
    """Returns the experiment of a trial.

    Args:
      settings: Flag -> value, which stand after the sweep's flags.
      output_dir: The trial's folder.

    Raises:
      ConfigError: If a value is not allowed, or not with the others.
    """
    arguments = [f"--{flag}={value}" for flag, value in settings.items()]
    try:
        parsing.parse(
            [*sys.argv, *arguments, f"--output_dir={output_dir}"], quiet=True
        )
        return experiment.experiment_config()
    except errors.ConfigError as error:
        raise errors.ConfigError(
            f"The trial {' '.join(arguments)} is not possible: {error}"
        ) from None


def _search(values: Mapping[str, Any]) -> tuple[str, Optional[int]]:
    searches = {
        name: values[name]
        for name in ("random", "vizier")
        if values[name] is not None
    }
    if len(searches) > 1:
        raise errors.ConfigError(
            f"--random={values['random']} and --vizier={values['vizier']} are "
            "two ways to choose trials; leave one of them out."
        )
    return next(iter(searches.items()), ("grid", None))


def _texts(name: str) -> list[str]:
    return list(dict.fromkeys(parsing.FLAGS[name].value or []))
