"""Chooses trials by the results of those before, with Vizier's eagle strategy.

google-vizier is installed with TFF, but not all that its algorithms import. Of
these, the eagle strategy (a firefly algorithm) needs the fewest: packages that
are not in the lock, since nothing else here needs them.
"""

import json
import os
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.commands.trials import Settings
from tff_pipeline.config.sweep import SweepConfig
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.metric_names import lower_is_better

_NEEDS = (
    "chex==0.1.85 equinox==0.11.2 etils flax==0.7.5 jaxopt==0.8.3 "
    "jaxtyping==0.2.25 msgpack nest_asyncio optax==0.1.7 "
    "orbax-checkpoint==0.4.4 toolz typeguard==2.13.3"
)


class VizierSearch:
    """Trials that Vizier chooses; a sweep that was killed goes on the same way.

    What it chose and was told is written to a file, in order, and said again to
    a strategy that starts anew.
    """

    def __init__(self, config: SweepConfig, metric: str, folder: str):
        """Says again what the file holds, if it is there.

        Args:
          config: The sweep; `count` is the number of trials.
          metric: The metric that is to become better.
          folder: The folder of the sweep, where the file is.

        Raises:
          ConfigError: If Vizier's packages are not there, or the file is of
            another sweep.
          RunDirectoryError: If the file cannot be read.
        """
        assert config.count is not None
        self._config = config
        self._metric = metric
        self._path = path = os.path.join(folder, "suggestions.jsonl")
        self.count = config.count
        self._designer, self._library = _designer(config, metric)
        self._trials: list[tuple[Settings, Any]] = []
        self._events: list[dict[str, Any]] = []
        known = _read(path)
        for event in known:
            if "settings" in event:
                settings = self._suggest()
                if settings != event["settings"]:
                    raise errors.ConfigError(
                        f"{path} is of a sweep with other --grid, --range, "
                        "--metric or --sweep_seed; give another --output_dir, "
                        "or --overwrite to delete its trials."
                    )
            else:
                self._told(event["trial"], event["value"])
        self._events = known
        self._chosen = [e["settings"] for e in known if "settings" in e]
        self._place = 0

    def next(self) -> Optional[Settings]:
        """Returns the settings of the next trial; `None` after the last."""
        if self._place == self.count:
            return None
        if self._place == len(self._chosen):
            settings = self._suggest()
            self._chosen.append(settings)
            self._note({"settings": settings})
        self._place += 1
        return self._chosen[self._place - 1]

    def tell(self, settings: Settings, value: Optional[float]) -> None:
        """Takes a trial's result.

        Args:
          settings: The trial's.
          value: Its metric; `None` if it failed.
        """
        told = {e["trial"] for e in self._events if "trial" in e}
        for number, known in enumerate(self._chosen):
            if known == settings and number not in told:
                self._told(number, value)
                self._note({"trial": number, "value": value})
                return

    def _suggest(self) -> Settings:
        (suggestion,) = self._designer.suggest(1)
        values = suggestion.parameters.as_dict()
        settings = {
            each.flag: str(values[each.flag]) for each in self._config.choices
        }
        for span in self._config.ranges:
            settings[span.flag] = span.at(float(values[span.flag]))
        trial = suggestion.to_trial(len(self._trials) + 1)
        self._trials.append((settings, trial))
        return settings

    def _told(self, number: int, value: Optional[float]) -> None:
        algorithms, vizier = self._library
        trial = self._trials[number][1]
        if value is None:
            trial.complete(
                vizier.Measurement(), infeasibility_reason="it failed"
            )
        else:
            trial.complete(vizier.Measurement({self._metric: value}))
        self._designer.update(
            algorithms.CompletedTrials([trial]), algorithms.ActiveTrials()
        )

    def _note(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        text = "".join(json.dumps(each) + "\n" for each in self._events)
        durable.write_text(self._path, text)


def _read(path: str) -> list[dict[str, Any]]:
    if not os.path.exists(path):
        return []
    try:
        return list(map(json.loads, storage.read_text(path).splitlines()))
    except (OSError, ValueError) as error:
        raise errors.RunDirectoryError(
            f"{path} cannot be read ({error}); restore it, or give --overwrite "
            "to begin the sweep again."
        ) from None


def _designer(config: SweepConfig, metric: str) -> tuple[Any, Any]:
    """Returns (a new strategy, what of Vizier it takes)."""
    try:
        from vizier import algorithms, pyvizier

        # `vizier.algorithms.designers` exports it too, but imports all others.
        from vizier._src.algorithms.designers.eagle_strategy import (
            eagle_strategy,
        )
    except ImportError as error:
        raise errors.ConfigError(
            f"--vizier={config.count}: google-vizier's strategies cannot be "
            f"imported ({error}); install what they need with pip install "
            f"--no-deps {_NEEDS}, or choose trials with --random="
            f"{config.count}."
        ) from None
    problem = pyvizier.ProblemStatement()
    root = problem.search_space.root
    for each in config.choices:
        root.add_categorical_param(each.flag, list(each.values))
    for span in config.ranges:
        # The share of the way: the range knows its scale and whole numbers.
        root.add_float_param(span.flag, 0.0, 1.0)
    goal = pyvizier.ObjectiveMetricGoal
    problem.metric_information.append(
        pyvizier.MetricInformation(
            metric,
            goal=goal.MINIMIZE if lower_is_better(metric) else goal.MAXIMIZE,
        )
    )
    strategy = eagle_strategy.EagleStrategyDesigner(problem, seed=config.seed)
    return strategy, (algorithms, pyvizier)
