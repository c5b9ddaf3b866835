"""Chooses the trials of a sweep: all combinations, or some that are drawn."""

import hashlib
import itertools
import re
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config.sweep import SweepConfig
from tff_pipeline.randomness import generator

# Flag -> value, as they are typed.
Settings = dict[str, str]
_MOST = 10_000
_LONGEST_NAME = 120
# How often a combination that was drawn before is drawn anew.
_DRAWS = 100


class Listed:
    """Trials that are known from the start; results change nothing."""

    def __init__(self, settings: list[Settings]):
        """Keeps the settings of each trial."""
        self._waiting = list(settings)
        self.count = len(settings)

    def next(self) -> Optional[Settings]:
        """Returns the settings of the next trial; `None` after the last."""
        return self._waiting.pop(0) if self._waiting else None

    def tell(self, settings: Settings, value: Optional[float]) -> None:
        """Does nothing with the result of a trial."""


def listed(config: SweepConfig) -> list[Settings]:
    """Returns the settings of a grid's or a random search's trials.

    Args:
      config: The sweep.

    Raises:
      ConfigError: If there are too many combinations, or fewer than are to be
        drawn.
    """
    return _grid(config) if config.search == "grid" else _drawn(config)


def _grid(config: SweepConfig) -> list[Settings]:
    flags = [each.flag for each in config.choices]
    values = [each.values for each in config.choices]
    count = 1
    for each in values:
        count *= len(each)
    if count > _MOST:
        raise errors.ConfigError(
            f"--grid gives {count} trials, more than {_MOST}; give fewer "
            "values, or draw some of them with --random=20."
        )
    return [dict(zip(flags, each)) for each in itertools.product(*values)]


def _drawn(config: SweepConfig) -> list[Settings]:
    """Draws trials; the first are the same for any number of them."""
    assert config.count is not None
    trials: list[Settings] = []
    for number in range(config.count):
        for attempt in range(_DRAWS):
            draw = generator(config.seed, "sweep", number, attempt)
            drawn: Settings = {}
            for each in config.choices:
                drawn[each.flag] = each.values[draw.integers(len(each.values))]
            for span in config.ranges:
                drawn[span.flag] = span.at(draw.random())
            if drawn not in trials:
                trials.append(drawn)
                break
        else:
            raise errors.ConfigError(
                f"--random={config.count}: only {len(trials)} combinations "
                "that differ were drawn; ask for fewer, or try all with --grid "
                "alone."
            )
    return trials


def probes(config: SweepConfig) -> list[Settings]:
    """Returns settings in which every value and every end of a range occurs.

    Args:
      config: The sweep, whose trials are not known beforehand.
    """
    values = {each.flag: list(each.values) for each in config.choices}
    values |= {each.flag: [each.at(0), each.at(1)] for each in config.ranges}
    longest = max(map(len, values.values()))
    return [
        {flag: each[min(place, len(each) - 1)] for flag, each in values.items()}
        for place in range(longest)
    ]


def name_of(settings: Settings) -> str:
    """Returns the name of a trial's folder.

    >>> name_of({"client_learning_rate": "0.1", "seed": "3"})
    'client_learning_rate=0.1,seed=3'

    Args:
      settings: The trial's. A name that would be too long, or that a path
        cannot have, is cut and ends with a hash.
    """
    text = ",".join(f"{flag}={value}" for flag, value in settings.items())
    name = re.sub(r"[^\w.,=+-]", "_", text, flags=re.ASCII)[:_LONGEST_NAME]
    if name != text:
        name += "-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    return name
