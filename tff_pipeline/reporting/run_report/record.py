"""Reads what a run left in its folder, for its report."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import storage
from tff_pipeline.reporting.run_report.final_model import FinalModel
from tff_pipeline.runs import metrics_file, restarts
from tff_pipeline.runs.directory import RunDirectory

# As `json.dumps` writes it, so that the lines of rounds need no parsing.
_FAILURE = '"kind": "failure"'


@dataclasses.dataclass(frozen=True)
class Record:
    """What there is to say of a run.

    Attributes:
      name: The name of the run's folder.
      config: The experiment.
      rows: The rows of metrics.csv, at least one.
      environment: The content of environment.json; empty if it is not there,
        and so are all others.
      card: The exported model's card.
      adapter_card: The card of an exported adapter, in words.
      privacy: The privacy statement.
      privacy_text: The same in words.
      travels: What leaves and reaches a client, a line each.
      profile: The text of profile.txt.
      audit: The text of audit.txt.
      evaluation: What evaluate.py found of the last round.
      failures: The log's records of rounds that failed.
      restarts: When the run was started again, and why.
      model: What was found by looking at the final model.
      missing: Why nothing was found there, a sentence; `None` if it was.
    """

    name: str
    config: ExperimentConfig
    rows: Sequence[metrics_file.Row]
    environment: Mapping[str, Any]
    card: Mapping[str, Any]
    adapter_card: str
    privacy: Mapping[str, Any]
    privacy_text: str
    travels: Sequence[str]
    profile: str
    audit: str
    evaluation: Mapping[str, Any]
    failures: Sequence[Mapping[str, Any]]
    restarts: Sequence[Mapping[str, Any]]
    model: FinalModel
    missing: Optional[str] = None

    @property
    def last_round(self) -> int:
        """The number of the last round in metrics.csv."""
        return int(self.rows[-1]["round"])

    @property
    def columns(self) -> list[str]:
        """The columns of metrics.csv that hold something, in order."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def constant(self) -> Mapping[str, float]:
        """The scores of the best constant answer on the test set."""
        constant = self.environment.get("constant_answer")
        return constant if isinstance(constant, dict) else {}

    def last(self, prefix: str) -> dict[str, float]:
        """Returns the newest values of the columns with a prefix.

        Args:
          prefix: Such as "eval_", which the result's names are without.
        """
        for row in reversed(self.rows):
            found = {
                name[len(prefix) :]: float(value)
                for name, value in row.items()
                if name.startswith(prefix)
            }
            if found:
                return found
        return {}

    def series(self, column: str) -> tuple[list[float], list[float]]:
        """Returns the rounds in which a column has a value, and the values.

        Args:
          column: A column of metrics.csv.
        """
        rows = [row for row in self.rows if column in row]
        return [row["round"] for row in rows], [row[column] for row in rows]


def tells_exactly(rows: Sequence[metrics_file.Row]) -> bool:
    """Tells whether a run writes exact figures of the clients that train.

    Args:
      rows: The rows of its metrics.csv.
    """
    return any("clients" in row for row in rows)


def read(
    directory: RunDirectory,
    config: ExperimentConfig,
    model: FinalModel,
    missing: Optional[str] = None,
) -> Record:
    """Reads a run's folder.

    Args:
      directory: The run directory.
      config: Its experiment.
      model: What was found by looking at its final model.
      missing: Why nothing was, a sentence.

    Raises:
      RunDirectoryError: If metrics.csv cannot be read or has no row.
    """
    rows = metrics_file.read(directory.metrics)
    if not rows:
        raise errors.RunDirectoryError(
            f"{directory.metrics} has no row, so that there is nothing to "
            "report; train at least one round."
        )
    card = os.path.join(
        directory.saved_model, "assets.extra", "model_card.json"
    )
    evaluation = os.path.join(
        directory.evaluations, f"round_{int(rows[-1]['round']):06d}.json"
    )
    return Record(
        name=os.path.basename(os.path.normpath(directory.path)),
        config=config,
        rows=rows,
        environment=directory.read_environment(),
        card=_json(card),
        adapter_card=_text(os.path.join(directory.adapter, "README.md")),
        privacy=_json(directory.privacy_json),
        privacy_text=_text(directory.privacy_text),
        travels=directory.read_travels(),
        profile=_text(directory.profile),
        audit=_text(directory.audit_text),
        evaluation=_json(evaluation),
        failures=_failures(directory.rounds),
        restarts=restarts.read(directory.restarts),
        model=model,
        missing=missing,
    )


def _text(path: str) -> str:
    """Reads a file that may be missing or damaged."""
    try:
        return storage.read_text(path)
    except (OSError, UnicodeDecodeError):
        return ""


def _json(path: str) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _failures(path: str) -> list[dict[str, Any]]:
    found = []
    for line in _text(path).splitlines():
        if _FAILURE in line:
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if content.get("kind") == "failure":
                found.append(content)
    return found
