"""Trains what was not measured yet, and writes a table into a page of docs."""

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.baselines import training
from tff_pipeline.files import durable

# The figures of each run by its key, "model | run | seed".
Results = Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class KeptTable:
    """Runs whose figures are kept in a file and stand in a page.

    Attributes:
      runs: Model -> name of a run -> its flagfile below `configs/`, and flags.
      run_of: Makes the run of (model, name, flagfile, flags).
      table: Makes the lines of the table from all figures.
      results: The path of the file of figures.
      page: The path of the page.
      begin: The text of the page behind which the table begins.
      end: The text before which it ends.
    """

    runs: Mapping[str, Mapping[str, tuple[str, Sequence[str]]]]
    run_of: Callable[[str, str, str, Sequence[str]], training.Run]
    table: Callable[[Any], Sequence[str]]
    results: str
    page: str
    begin: str
    end: str

    def main(self, description: str) -> None:
        """Trains what is missing, prints the table, and writes the page.

        Args:
          description: What --help says of the command.
        """
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--data", required=True)
        parser.add_argument("--model", choices=self.runs, default="mnist_2nn")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--page", action="store_true")
        arguments = parser.parse_args()
        results = self._read()
        for name, (flagfile, flags) in self.runs[arguments.model].items():
            key = f"{arguments.model} | {name} | {arguments.seed}"
            if key in results:
                continue
            run = self.run_of(arguments.model, name, flagfile, flags)
            results[key] = training.train(run, arguments.seed, arguments.data)
            text = json.dumps(results, indent=1)
            durable.write_text(self.results, f"{text}\n")
            print(key, results[key], flush=True)
        table = "\n".join(self.table(results)) + "\n"
        print(table)
        if arguments.page:
            self._write(table)

    def _read(self) -> dict[str, dict[str, float]]:
        if not os.path.exists(self.results):
            return {}
        with open(self.results, encoding="utf-8") as file:
            results: dict[str, dict[str, float]] = json.load(file)
        return results

    def _write(self, table: str) -> None:
        with open(self.page, encoding="utf-8") as file:
            before, _, rest = file.read().partition(self.begin)
        _, _, after = rest.partition(self.end)
        durable.write_text(
            self.page, f"{before}{self.begin}{table}{self.end}{after}"
        )
