"""Configures a sweep: which flags vary over its trials, and how."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Optional

from tff_pipeline import errors

# What a trial is, or is named by, and not what it learns.
_NOT_SWEPT = ("output_dir", "overwrite", "profile")
_SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
_MOST_IN_SPAN = 10_000
_RANGE_FORM = "NAME=LOW:HIGH or NAME=LOW:HIGH:log"


@dataclasses.dataclass(frozen=True)
class Choice:
    """A flag and the values that trials give it, as they are typed."""

    flag: str
    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Range:
    """A flag that is drawn between two numbers.

    Attributes:
      flag: The flag.
      low: The lowest value.
      high: The highest value.
      log: Whether the logarithm is drawn uniformly, and not the value.
      whole: Whether the values are whole numbers.
    """

    flag: str
    low: float
    high: float
    log: bool
    whole: bool

    def at(self, share: float) -> str:
        """Returns the value at a share of the way, with four digits.

        >>> Range("client_learning_rate", 0.001, 0.1, True, False).at(0.5)
        '0.01'
        >>> [Range("seed", 1, 3, False, True).at(x) for x in (0, 0.5, 0.99)]
        ['1', '2', '3']

        Args:
          share: From 0, which is `low`, up to 1.
        """
        if self.whole:
            # Each whole number has the same share.
            low, high = self.low - 0.5, self.high + 0.5
        else:
            low, high = self.low, self.high
        if self.log:
            value = low * (high / low) ** share
        else:
            value = low + (high - low) * share
        if self.whole:
            return str(int(min(max(round(value), self.low), self.high)))
        return f"{value:.4g}"


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """What a sweep tries.

    Attributes:
      choices: Flags with lists of values.
      ranges: Flags between two numbers.
      search: "grid" for all combinations, "random" or "vizier".
      count: How many trials there are; `None` for a grid.
      seed: The seed of what is drawn.

    Raises:
      ConfigError: If there is nothing to vary, a flag varies twice, or ranges
        are given to a grid.
    """

    choices: tuple[Choice, ...]
    ranges: tuple[Range, ...] = ()
    search: str = "grid"
    count: Optional[int] = None
    seed: int = 0

    def __post_init__(self) -> None:
        flags = [each.flag for each in self.choices]
        flags += [each.flag for each in self.ranges]
        if not flags:
            raise errors.ConfigError(
                "No flag varies; give values with --grid, as in: "
                "--grid client_learning_rate=0.01,0.1."
            )
        for flag in flags:
            if flags.count(flag) > 1:
                raise errors.ConfigError(
                    f"--{flag} varies in two places; give all its values in "
                    f"one --grid {flag}=... or one --range."
                )
        if self.ranges and self.search == "grid":
            raise errors.ConfigError(
                f"--range {self.ranges[0].flag}=... is drawn from, and a grid "
                "draws nothing; give the number of trials with --random=20, or "
                "values with --grid."
            )


def choice(text: str, known: Mapping[str, type]) -> Choice:
    """Reads a value of `--grid`.

    >>> choice("seed=1..3,7", {"seed": int})
    Choice(flag='seed', values=('1', '2', '3', '7'))

    Args:
      text: NAME=VALUE,VALUE,...; FIRST..LAST stands for whole numbers.
      known: The kinds of the flags that there are, by name.

    Raises:
      ConfigError: If it is not of this form.
    """
    flag, rest = _named("grid", text, known, "NAME=VALUE,VALUE")
    values: list[str] = []
    for part in rest.split(","):
        span = _SPAN.fullmatch(part)
        if not part:
            raise errors.ConfigError(
                f"--grid {text}: a value is empty; write NAME=VALUE,VALUE,... "
                "without a comma too many."
            )
        if span is None:
            values.append(part)
            continue
        first, last = map(int, span.groups())
        if not first <= last < first + _MOST_IN_SPAN:
            raise errors.ConfigError(
                f"--grid {text}: {part} must go up from its first number to "
                f"its last, over fewer than {_MOST_IN_SPAN} values."
            )
        values += map(str, range(first, last + 1))
    for value in values:
        if values.count(value) > 1:
            raise errors.ConfigError(
                f"--grid {text}: {value} is there twice; leave one out."
            )
    return Choice(flag, tuple(values))


def span(text: str, known: Mapping[str, type]) -> Range:
    """Reads a value of `--range`.

    >>> span("dp_clip=0.1:1:log", {"dp_clip": float})
    Range(flag='dp_clip', low=0.1, high=1.0, log=True, whole=False)

    Args:
      text: NAME=LOW:HIGH, or NAME=LOW:HIGH:log.
      known: The kinds of the flags that there are, by name.

    Raises:
      ConfigError: If it is not of this form.
    """
    flag, rest = _named("range", text, known, _RANGE_FORM)
    kind = known[flag]
    if kind not in (int, float):
        raise errors.ConfigError(
            f"--range {text}: --{flag} is no number; list its values with "
            f"--grid {flag}=..."
        )
    low, high, log = _ends(text, rest.split(":"), kind)
    if not low < high or (log and low <= 0):
        raise errors.ConfigError(
            f"--range {text}: the first number must be below the second"
            f"{', and above 0 for log' if log else ''}."
        )
    return Range(flag, low, high, log, kind is int)


def _ends(
    text: str, parts: Sequence[str], kind: type
) -> tuple[float, float, bool]:
    try:
        low, high = map(kind, parts[:2])
        known = len(parts) == 2 or list(parts[2:]) == ["log"]
        if known and math.isfinite(low) and math.isfinite(high):
            return low, high, len(parts) == 3
    except ValueError:
        pass
    numbers = "whole numbers" if kind is int else "finite numbers"
    raise errors.ConfigError(
        f"--range {text}: must be {_RANGE_FORM}, with {numbers}."
    )


def _named(
    option: str, text: str, known: Mapping[str, type], form: str
) -> tuple[str, str]:
    """Parts NAME=REST, and checks the name."""
    flag, equals, rest = text.partition("=")
    flag = flag.strip().lstrip("-")
    if not equals or not flag:
        raise errors.ConfigError(f"--{option} {text}: must be {form}.")
    if flag in _NOT_SWEPT or flag not in known:
        raise errors.ConfigError(
            f"--{option} {text}: --{flag} is no flag that a sweep varies; name "
            "one of train, see train --helpfull."
        )
    return flag, rest
