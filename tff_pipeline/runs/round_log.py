"""Writes and reads rounds.jsonl, a run's log of records chained by hashes.

A record a line: {"kind": ..., "previous": the SHA-256 of the record before,
..., "sha256": its own}. Whoever changes, drops or adds a line has to change all
that follow, and the heads that the checkpoints hold.

begun     what runs, on which data, where
resumed   after which round, where
before    the row of metrics.csv of an evaluation before the first round
round     hashes of the state, of what clients keep if they keep something,
          and of the cohort; the row of metrics.csv
failure   why a round failed, and what was decided
privacy   hashes of the privacy statement, as it was after a checkpoint
exported  the SavedModel's files, and the state it is of

There may be records of other kinds: `Recorder.event` writes what else happened
in a round.

Rounds that a killed process lost are not in it: it is cut back to the
checkpoint that a run goes on from, so that it tells how the state came to be.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.files.append_only import Journal
from tff_pipeline.runs.metrics_file import Row

_LOG = logging.getLogger(__name__)
# The kinds of records that hold a row of metrics.csv.
WITH_ROW = ("before", "round")
_START = "0" * 64  # What the first record has for a previous one.


class DamagedLogError(errors.RunDirectoryError):
    """A line of the log is damaged, or does not follow the one before."""


@dataclasses.dataclass(frozen=True)
class Record:
    """A line of the log.

    Attributes:
      content: All but the hashes, as JSON.
      previous: The hash of the record before.
      sha256: The record's own hash.
    """

    content: Mapping[str, Any]
    previous: str
    sha256: str

    @classmethod
    def after(cls, previous: str, content: Mapping[str, Any]) -> "Record":
        """Makes the record that follows the one with the hash `previous`."""
        chained = {**content, "previous": previous}
        text = json.dumps(chained, sort_keys=True)
        return cls(content, previous, hashlib.sha256(text.encode()).hexdigest())

    def line(self) -> str:
        """Returns the record as it stands in the file, in its only form."""
        values = {**self.content, "previous": self.previous}
        return json.dumps({**values, "sha256": self.sha256}) + "\n"


def read(path: str) -> list[Record]:
    """Reads the records of a log, and checks each against the one before.

    Args:
      path: The file. A last line that a killed process did not finish is left
        out.

    Returns:
      The records, oldest first.

    Raises:
      DamagedLogError: If the log cannot be read, or a record is not what was
        written; its line is named.
    """
    try:
        lines = storage.file_system(path).read(path).split(b"\n")[:-1]
    except OSError as error:
        raise DamagedLogError(
            f"{path} cannot be read ({error.strerror or error})."
        ) from None
    records: list[Record] = []
    for number, line in enumerate(lines, 1):
        head = records[-1].sha256 if records else _START
        try:
            content = json.loads(line)
            previous, own = content.pop("previous"), content.pop("sha256")
            content["kind"]  # All have one.
            if not isinstance(content["kind"], str):
                raise ValueError("it is of no kind")
            record = Record.after(head, content)
            whole = record.line() == line.decode() + "\n"
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ):
            raise DamagedLogError(
                f"{path} is damaged: line {number} is no record."
            ) from None
        if previous != head:
            raise DamagedLogError(
                f"{path} is damaged: line {number} does not follow the one "
                "before it."
            )
        if own != record.sha256 or not whole:
            raise DamagedLogError(
                f"{path} is damaged: line {number} does not have its SHA-256."
            )
        records.append(record)
    return records


class RoundLog:
    """The log of a run that is going on.

    Attributes:
      head: The hash of the newest record.
    """

    def __init__(self, path: str, run: Mapping[str, Any]):
        """Makes the object; `rewind` comes before all else.

        Args:
          path: The file.
          run: The run's config and environment, as JSON.
        """
        self._journal = Journal(path)
        self._path = path
        self._run = dict(run)
        self._opening: Optional[dict[str, Any]] = None
        self.head = _START

    def rewind(
        self, round_number: int, head: Optional[str]
    ) -> Optional[list[dict[str, Any]]]:
        """Cuts the log back to where a checkpoint was saved.

        Args:
          round_number: The checkpoint's; 0 to begin.
          head: The log's head then; `None` to begin.

        Returns:
          The rows of metrics.csv up to there, as far as rounds decide them, or
          `None` if the log is damaged. Then it is kept under another name, and
          a new one says that it begins after that round.
        """
        kept: list[Record] = []
        opening: dict[str, Any] = {"kind": "begun"}
        rows: Optional[list[dict[str, Any]]] = []
        if head is not None:
            opening = {"kind": "resumed", "after_round": round_number}
            try:
                kept = self._up_to(head)
                rows = [
                    dict(record.content["metrics"])
                    for record in kept
                    if record.content["kind"] in WITH_ROW
                ]
            except DamagedLogError as error:
                _LOG.warning("%s It is kept as %s.damaged.", error, self._path)
                self._put_aside()
                kept, rows = [], None
                opening = {"kind": "begun", "after_round": round_number}
        # Not written before there is something to follow it.
        self._opening = {**opening, **self._run}
        self.head = kept[-1].sha256 if kept else _START
        self._journal.begin("".join(record.line() for record in kept))
        return rows

    def _up_to(self, head: str) -> list[Record]:
        records = read(self._path)
        for place, record in enumerate(records, 1):
            if record.sha256 == head:
                return records[:place]
        raise DamagedLogError(
            f"{self._path} is damaged: the record that the checkpoint was "
            "saved after is not in it."
        )

    def _put_aside(self) -> None:
        files = storage.file_system(self._path)
        if files.exists(self._path):
            with durable.explained(self._path):
                files.replace(self._path, f"{self._path}.damaged")

    def round(
        self,
        number: int,
        state: str,
        cohort: str,
        row: Row,
        kept_state: Optional[str] = None,
    ) -> None:
        """Adds the record of a round.

        Args:
          number: The round, 1 or above.
          state: SHA-256 of the server's state after it.
          cohort: SHA-256 of who took part.
          row: Its row of metrics.csv; how long it took is left out, for that
            is no part of what can be repeated.
          kept_state: SHA-256 of what clients keep after it, where they keep
            something.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        states = {"state": state}
        if kept_state is not None:
            states["kept_state"] = kept_state
        metrics = {name: row[name] for name in row if name != "seconds"}
        self.add(
            "round", round=number, **states, cohort=cohort, metrics=metrics
        )

    def before(self, row: Row) -> None:
        """Adds the record of an evaluation before the first round.

        Args:
          row: Its row of metrics.csv, that of round 0.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        self.add("before", round=0, metrics=dict(row))

    def add(self, kind: str, **content: Any) -> None:
        """Adds a record.

        Args:
          kind: The kind of record, such as "failure".
          **content: What else it holds, as JSON.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._append(opening)
        self._append({"kind": kind, **content})

    def _append(self, content: Mapping[str, Any]) -> None:
        record = Record.after(self.head, content)
        self._journal.append(record.line())
        self.head = record.sha256

    def sync(self) -> None:
        """Returns when all records are on the disk."""
        self._journal.sync()
