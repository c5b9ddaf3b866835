"""Answers `tff-pipeline privacy`: epsilon, noise, a curve, a cohort."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config.privacy import ACCOUNTANTS, SAMPLINGS_OF
from tff_pipeline.files import durable
from tff_pipeline.privacy import accounting, calibration
from tff_pipeline.privacy import delta as deltas
from tff_pipeline.privacy.setting import (
    ADJACENCIES,
    MECHANISMS,
    Setting,
    check_name,
)

_POINTS = 10  # Rows of the table over rounds.
CONVERSIONS = {
    "pld": "exact",
    "rdp": "Canonne et al. 2020",
    "rdp_classic": "Mironov 2017",
    "zcdp": "Bun and Steinke 2016",
}


@dataclasses.dataclass(frozen=True)
class Question:
    """Holds what is asked.

    Attributes:
      setting: The mechanism, the sampling and the counts; if a cohort is asked
        for, its cohort size is the population.
      delta: The probability that is left out.
      accountant: One of `config.privacy.ACCOUNTANTS`.
      noise_multiplier: Standard deviation over sensitivity, or `None` to find
        the least that `target_epsilon` needs.
      target_epsilon: The epsilon that must not be exceeded, or `None`.
      mean_noise: If set, the smallest cohort is asked for whose mean has at
        most this standard deviation, in clips, and keeps the target.
      as_json: Whether a program reads the answer.
      curve: The PNG file to draw epsilon over the rounds to, or `None`.
    """

    setting: Setting
    delta: float
    accountant: str
    noise_multiplier: Optional[float] = None
    target_epsilon: Optional[float] = None
    mean_noise: Optional[float] = None
    as_json: bool = False
    curve: Optional[str] = None

    def __post_init__(self) -> None:
        """Checks that the fields go together.

        Raises:
          ConfigError: If they do not; the flags are named.
        """
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise errors.ConfigError(
                f"--noise_multiplier={self.noise_multiplier} and "
                f"--target_epsilon={self.target_epsilon}: give one of the two."
            )
        if self.mean_noise is not None and self.target_epsilon is None:
            raise errors.ConfigError(
                f"--mean_noise={self.mean_noise} is used with "
                "--target_epsilon; leave it out, or give that."
            )

    @classmethod
    def from_flags(cls, values: Mapping[str, Any]) -> "Question":
        """Makes the question from the flags of scripts/privacy.py by name.

        Args:
          values: The flags' values; `delta` and `accountant` may be `None`.

        Raises:
          ConfigError: If the flags do not go together; they are named.
        """
        rest = dict(values)
        check_name("mechanism", rest["mechanism"], SAMPLINGS_OF)
        rest["sampling"] = (
            rest["sampling"] or SAMPLINGS_OF[rest["mechanism"]][0]
        )
        setting = Setting(
            **{
                field.name: rest.pop(field.name)
                for field in dataclasses.fields(Setting)
                if field.name in rest
            }
        )
        accountant = rest.pop("accountant")
        delta = deltas.settled(
            rest.pop("delta"),
            setting.population,
            flag="delta",
            allow_large=bool(rest.pop("dp_allow_large_delta")),
        )
        return cls(
            setting,
            delta,
            accountant or accounting.default_accountant(setting),
            as_json=rest.pop("format") == "json",
            **rest,
        )


def answer(question: Question) -> str:
    """Returns the answer as text or JSON; draws the curve if one is asked for.

    Args:
      question: The setting, and what is asked of it.

    Raises:
      ConfigError: If there is no answer; the flag to change is named.
      RunDirectoryError: If the curve cannot be written.
    """
    figures = figures_of(question)
    if question.curve is not None:
        _draw(question, figures)
    if question.as_json:
        return json.dumps(figures, indent=2, allow_nan=False)
    return _in_words(question, figures)


def figures_of(question: Question) -> dict[str, Any]:
    """Computes the answer as a JSON object; an infinite epsilon is `null`.

    Args:
      question: The setting, and what is asked of it.

    Raises:
      ConfigError: If there is no answer; the flag to change is named.
    """
    setting, delta = question.setting, question.delta
    if question.mean_noise is not None:
        setting = _smallest_cohort(question, question.mean_noise)
    multiplier = question.noise_multiplier
    if question.target_epsilon is not None:
        multiplier = calibration.noise_multiplier(
            setting, question.target_epsilon, delta, question.accountant
        )
    assert multiplier is not None
    clips = multiplier * setting.sensitivity
    large = deltas.is_large(delta, setting.population)
    return {
        "private": multiplier > 0 and not large,
        "epsilon": accounting.finite(
            accounting.epsilon(setting, multiplier, delta, question.accountant)
        ),
        "delta": delta,
        "noise_multiplier": multiplier,
        "noise_in_clips": clips,
        "mean_noise_in_clips": clips / setting.cohort_size,
        "accountant": question.accountant,
        "conversion": CONVERSIONS[question.accountant],
        "adjacency": ADJACENCIES[setting.adjacency],
        "unit": "one client with all its data",
        **dataclasses.asdict(setting),
        "over_rounds": [
            [
                rounds,
                accounting.finite(
                    accounting.epsilon(
                        dataclasses.replace(setting, rounds=rounds),
                        multiplier,
                        delta,
                        question.accountant,
                    )
                ),
            ]
            for rounds in _some_rounds(setting.rounds)
        ]
        if question.curve is not None
        else [],
    }


def _some_rounds(rounds: int) -> list[int]:
    """Lists up to ten numbers of rounds, evenly spaced, the last among them."""
    count = min(rounds, _POINTS)
    return [math.ceil(rounds * (i + 1) / count) for i in range(count)]


def _smallest_cohort(question: Question, mean_noise: float) -> Setting:
    """Finds the smallest cohort whose noise is small enough for the mean.

    It counts by Renyi divergences, which are quick and never promise too much.
    """

    def keeps(cohort_size: int) -> bool:
        setting = dataclasses.replace(question.setting, cohort_size=cohort_size)
        sensitivity = setting.sensitivity
        epsilon = accounting.epsilon(
            setting,
            mean_noise * cohort_size / sensitivity,
            question.delta,
            "rdp",
            quick=True,
        )
        return epsilon <= (question.target_epsilon or 0)

    high = question.setting.population
    if not keeps(high):
        raise errors.ConfigError(
            f"--target_epsilon={question.target_epsilon} cannot be kept with "
            f"--mean_noise={mean_noise}, not even with all {high} clients in "
            "every round; raise one of them, or take fewer rounds."
        )
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(middle) else (middle, high)
    return dataclasses.replace(question.setting, cohort_size=high)


def _in_words(question: Question, figures: dict[str, Any]) -> str:
    epsilon = figures["epsilon"]
    shown = "infinite: no privacy" if epsilon is None else f"{epsilon:.4g}"
    if deltas.is_large(figures["delta"], figures["population"]):
        shown = f"No privacy, for delta is too large: {shown}"
    lines = [
        ("epsilon", f"{shown} at delta {figures['delta']:.3g}"),
        ("unit", figures["unit"]),
        ("adjacency", figures["adjacency"]),
        (
            "mechanism",
            f"{figures['mechanism']}: {MECHANISMS[figures['mechanism']]}",
        ),
        (
            "noise",
            f"{figures['noise_multiplier']:.4g} times the sensitivity, "
            f"{figures['noise_in_clips']:.4g} clips on the sum, "
            f"{figures['mean_noise_in_clips']:.3g} on the mean",
        ),
        (
            "sampling",
            f"{figures['sampling']}, {figures['cohort_size']} of "
            f"{figures['population']} clients, {figures['rounds']} rounds",
        ),
        (
            "accountant",
            f"{figures['accountant']}: {ACCOUNTANTS[figures['accountant']]}",
        ),
    ]
    text = [f"{name:<12}{words}" for name, words in lines]
    if figures["over_rounds"]:
        text += ["", f"{'rounds':>10}{'epsilon':>12}"]
        text += [
            f"{rounds:>10}{value:>12.4g}"
            for rounds, value in figures["over_rounds"]
            if value is not None
        ]
        text += ["", f"Drawn to {question.curve}"]
    return "\n".join(text)


def _draw(question: Question, figures: dict[str, Any]) -> None:
    """Draws epsilon over the rounds, as a PNG file."""
    assert question.curve is not None
    # Here and not above: it takes longer than most answers.
    from matplotlib import figure as drawing

    points = [p for p in figures["over_rounds"] if p[1] is not None]
    figure = drawing.Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*[(0, 0.0), *points]), marker="o", color="#2a6f97")
    axes.set_xlabel("round")
    axes.set_ylabel(f"epsilon at delta {figures['delta']:.3g}")
    axes.set_title(
        f"{figures['mechanism']}, {figures['sampling']} sampling, noise "
        f"multiplier {figures['noise_multiplier']:.3g}"
    )
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    with durable.explained(question.curve):
        figure.savefig(question.curve, dpi=150)
