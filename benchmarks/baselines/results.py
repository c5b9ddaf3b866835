"""The figures that were measured: a JSON file that grows run by run."""

import json
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from tff_pipeline.files import durable

# Figures by name, of one run with one seed.
Figures = Mapping[str, float]


class Results:
    """Figures by group, run and seed, and how each group was measured."""

    def __init__(self, path: str):
        """Reads the file, if it is there.

        Args:
          path: The JSON file; it is written anew with each run.
        """
        self._path = path
        self._groups: dict[str, Any] = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._groups = json.load(file)

    def __contains__(self, group: str) -> bool:
        """Tells whether all figures of a group were measured."""
        return bool(self._groups.get(group, {}).get("complete"))

    def began(self, group: str) -> bool:
        """Tells whether any figure of a group was measured.

        Args:
          group: The group's name.
        """
        return bool(self._groups.get(group, {}).get("runs"))

    def made(self, group: str) -> str:
        """Returns when and on what the last figure of a group was measured.

        Args:
          group: The group's name.
        """
        return str(self._groups[group]["made"])

    def complete(self, group: str) -> None:
        """Notes that all figures of a group were measured.

        Args:
          group: The group's name.
        """
        self._groups[group]["complete"] = True
        self._write()

    def forget(self, group: str) -> None:
        """Drops the figures of a group.

        Args:
          group: The group's name.
        """
        self._groups.pop(group, None)

    def measured(
        self,
        group: str,
        run: str,
        seed: int,
        measure: Callable[[], Figures],
        made: str,
    ) -> tuple[Figures, bool]:
        """Returns figures from the file, or measures them and writes them.

        Args:
          group: The group's name.
          run: The run's name.
          seed: Its seed.
          measure: Measures the figures.
          made: When and on what they are measured.

        Returns:
          (the figures, whether they were measured only now).
        """
        known = self._groups.setdefault(group, {"made": made, "runs": {}})
        seeds = known["runs"].setdefault(run, {})
        if str(seed) in seeds:
            return _read(seeds[str(seed)]), False
        figures = measure()
        # JSON has no infinity.
        seeds[str(seed)] = {
            name: value if math.isfinite(value) else None
            for name, value in figures.items()
        }
        known["made"] = made
        # Until the last run is in, see `complete`.
        known["complete"] = False
        self._write()
        return figures, True

    def _write(self) -> None:
        text = json.dumps(self._groups, indent=2, allow_nan=False)
        durable.write_text(self._path, text + "\n")

    def figures(self, group: str, run: str, figure: str) -> list[float]:
        """Returns a figure of a run, seed by seed; empty if there is none.

        Args:
          group: The group's name.
          run: The run's name.
          figure: The figure's name.
        """
        seeds = self._groups.get(group, {}).get("runs", {}).get(run, {})
        return [_read(seeds[seed])[figure] for seed in sorted(seeds, key=int)]


def _read(figures: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: math.inf if value is None else value
        for name, value in figures.items()
    }
