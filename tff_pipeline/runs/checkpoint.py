"""The checkpoints of a run: one folder a saved round, whole or not there.

    checkpoints/round_000010/  a checkpoint; see `checkpoint_folder`
    checkpoints/kept_rows/     what clients keep, for all checkpoints

A row that a client keeps is written once, before the first checkpoint that
refers to it, and removed after the last.
"""

import contextlib
import logging
import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.runs import checkpoint_folder
from tff_pipeline.runs.best import Best
from tff_pipeline.runs.checkpoint_folder import Checked, CheckpointFolder
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runs.row_files import RowFiles
from tff_pipeline.runs.state_files import (
    MANIFEST,
    InvalidCheckpointError,
)

if TYPE_CHECKING:
    import tensorflow_federated as tff

_LOG = logging.getLogger(__name__)
_PREFIX = "round_"

# A round's number, or "best".
CheckpointName = Union[int, str]


class Saved(NamedTuple):
    """A checkpoint that was loaded.

    Attributes:
      round_number: Rounds that the state has seen.
      state: The server's state after them.
      kept: What clients keep, where they keep something.
      notes: What was saved beside the state.
    """

    round_number: int
    state: Any
    kept: Optional[KeptStates]
    notes: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(
        self,
        directory: str,
        keep: int = 0,
        config: Optional[Mapping[str, Any]] = None,
    ):
        """Makes the store.

        Args:
          directory: The folder of checkpoints; made when first saved to.
          keep: How many of the newest to keep; 0 keeps all.
          config: The flags that make the run what it is. Checkpoints hold
            them, and those with others are refused; `None` refuses none.
        """
        self._directory = directory
        self._keep = keep
        self._config = None if config is None else dict(config)
        # Rows that saved checkpoints refer to, and perhaps some more; `None`
        # if the checkpoints have to be read first.
        self._referred: Optional[set[str]] = None

    def rounds(self) -> list[int]:
        """Lists the saved rounds, oldest first, valid or not."""
        files = storage.file_system(self._directory)
        if not files.is_folder(self._directory):
            return []
        names = files.names(self._directory)
        matches = [re.fullmatch(f"{_PREFIX}([0-9]+)", name) for name in names]
        return sorted(int(match[1]) for match in matches if match)

    def newest(self) -> int:
        """Returns the newest saved round, valid or not.

        Raises:
          RunDirectoryError: If nothing was saved.
        """
        rounds = self.rounds()
        if not rounds:
            raise errors.RunDirectoryError(
                f"{self._directory} holds no checkpoint yet; train the run "
                "first."
            )
        return rounds[-1]

    def path(self, round_number: int) -> str:
        """Returns the folder of a round's checkpoint, saved or not."""
        return os.path.join(self._directory, f"{_PREFIX}{round_number:06d}")

    def save(
        self,
        round_number: int,
        state: Any,
        kept: Optional[KeptStates] = None,
        notes: Optional[Mapping[str, Any]] = None,
        spare: Collection[int] = (),
    ) -> None:
        """Saves `state`, replacing what this round had; prunes old ones.

        Args:
          round_number: How many rounds it has seen.
          state: Nested structure of arrays, such as
            `tff.learning.templates.LearningAlgorithmState`.
          kept: What clients keep, where the algorithm has them do so. Its
            rows must lie beside this store's checkpoints.
          notes: What else belongs to it, as JSON; see `notes`.
          spare: Rounds that are not pruned.

        Raises:
          RunDirectoryError: If it cannot be written; older checkpoints stand.
          TypeError: If `state` holds something that is not an array.
          ValueError: If the rows of `kept` lie elsewhere.
        """
        rows = RowFiles(self._directory).folder
        if kept is not None and kept.files.folder != rows:
            raise ValueError(
                f"What clients keep lies in {kept.files.folder}, not in {rows}."
            )
        checkpoint_folder.write(
            self.path(round_number),
            round_number,
            state=state,
            kept=kept,
            config=self._config,
            notes=notes or {},
        )
        pruned = self._prune(round_number, spare)
        if kept is not None:
            if pruned:
                self._referred = None
            elif self._referred is not None:
                self._referred.update(kept.row_digests)
            self._collect(kept)

    def _prune(self, newest: int, spare: Collection[int]) -> bool:
        """Removes old checkpoints; returns whether there were any."""
        rounds = self.rounds()
        # Later rounds are of a future that is being trained anew.
        doomed = [number for number in rounds if number > newest]
        if self._keep:
            saved = [number for number in rounds if number <= newest]
            doomed += [n for n in saved[: -self._keep] if n not in spare]
        for number in doomed:
            # It is in nobody's way; the next save tries again.
            with contextlib.suppress(OSError):
                durable.remove_folder(self.path(number), MANIFEST)
        return bool(doomed)

    def _collect(self, kept: KeptStates) -> None:
        """Removes rows that no checkpoint refers to, nor the run."""
        if self._referred is None:
            try:
                indexes = [
                    CheckpointFolder.open(
                        self.path(number), number
                    ).kept_index()
                    for number in self.rounds()
                ]
            except InvalidCheckpointError:
                # Whoever restores a damaged checkpoint wants its rows too.
                return
            self._referred = {
                row
                for index in indexes
                if index is not None
                for row in index.rows.values()
            }
        # The next save tries again.
        with contextlib.suppress(OSError):
            kept.files.collect(self._referred)

    def load(self, round_number: int, like: Any) -> Any:
        """Loads the server's state of a round.

        Args:
          round_number: A saved round.
          like: A state of the structure that is expected.

        Returns:
          A state like `like`, bitwise as it was saved.

        Raises:
          InvalidCheckpointError: If it is missing, damaged, or not like
            `like`.
        """
        return self._open(round_number).state(like)

    def load_latest(
        self, like: Any, kept: Optional[KeptStates] = None
    ) -> Optional[Saved]:
        """Loads the newest valid checkpoint, and removes what a kill left.

        An invalid one is named in a warning and passed over. Rows that clients
        keep make a checkpoint invalid if one is missing, or damaged; those of
        more than 1 GiB, all together, are read only when they are needed.

        Args:
          like: A state of the structure that is expected.
          kept: What clients keep before all rounds, where they keep something.

        Returns:
          What was saved, or `None` if nothing was.

        Raises:
          InvalidCheckpointError: If there are checkpoints, but none is valid.
        """
        if storage.file_system(self._directory).is_folder(self._directory):
            with durable.explained(self._directory):
                durable.remove_temporary(self._directory)
                RowFiles(self._directory).remove_temporary()
        saved = self._latest_valid(like, kept)
        if kept is not None:
            self._collect(kept)
        return saved

    def _latest_valid(
        self, like: Any, kept: Optional[KeptStates]
    ) -> Optional[Saved]:
        problem = None
        for round_number in reversed(self.rounds()):
            try:
                return self.load_all(round_number, like, kept)
            except InvalidCheckpointError as error:
                problem = error
                _LOG.warning("Passing over a checkpoint: %s", error)
        if problem is not None:
            raise InvalidCheckpointError(
                f"No checkpoint in {self._directory} is valid; the oldest: "
                f"{problem} Restore one, or start again with --overwrite."
            )
        return None

    def notes(self, round_number: int) -> dict[str, Any]:
        """Reads what was saved beside a state.

        Raises:
          InvalidCheckpointError: If the checkpoint is missing or damaged.
        """
        return self._open(round_number).notes

    def check(self, round_number: int) -> Checked:
        """Reads all of a checkpoint and checks the sums of all its files.

        Every row that a client keeps is read, one at a time.

        Raises:
          InvalidCheckpointError: If the checkpoint is missing or damaged.
        """
        return self._open(round_number).check()

    def load_weights(
        self, round_number: Optional[CheckpointName] = None
    ) -> tuple[int, "tff.learning.models.ModelWeights"]:
        """Loads the model's weights of a round, by default of the newest.

        Args:
          round_number: The round, or "best" for the best one by
            `--target_metric`.

        Returns:
          (round, weights); no process is needed to know their structure.

        Raises:
          ConfigError: If that round was not saved.
          RunDirectoryError: If nothing was saved, or that round is damaged.
        """
        newest, rounds = self.newest(), self.rounds()
        if round_number is None:
            round_number = newest
        if round_number == "best":
            round_number = Best.of_notes(self.notes(newest)).round_number
            if not round_number:
                raise errors.ConfigError(
                    "--round=best needs a run that was trained with "
                    "--target_metric=..., and an evaluation that gave a finite "
                    "value; name one of the saved rounds: "
                    f"{', '.join(map(str, rounds))}."
                )
        assert not isinstance(round_number, str)
        if round_number not in rounds:
            raise errors.ConfigError(
                f"--round={round_number} is not among the saved rounds of "
                f"{self._directory}: {', '.join(map(str, rounds))}."
            )
        return round_number, self._open(round_number).weights()

    def load_all(
        self, round_number: int, like: Any, kept: Optional[KeptStates] = None
    ) -> Saved:
        """Loads all of one checkpoint.

        Args:
          round_number: A round that was saved.
          like: A state of the structure that is expected.
          kept: What clients keep before all rounds, where they keep something.

        Raises:
          InvalidCheckpointError: If it is damaged, or of another structure.
        """
        saved = self._open(round_number)
        return Saved(
            round_number,
            saved.state(like),
            None if kept is None else saved.kept(kept),
            saved.notes,
        )

    def _open(self, round_number: int) -> CheckpointFolder:
        path = self.path(round_number)
        return CheckpointFolder.open(path, round_number, self._config)
