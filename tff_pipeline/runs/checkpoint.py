"""Checkpoints: one folder a saved round, whole or not there.

    checkpoints/round_000010/state.npz      the server state's arrays by path
    checkpoints/round_000010/clients.npz    what clients keep, if they do
    checkpoints/round_000010/manifest.json  SHA-256 of these, and all the rest

The manifest says the round, the config, versions, arrays' shapes, and what else
goes with the state: privacy spent, the log's head, the best round so far.
Nothing is pickled: arrays are read with `allow_pickle=False`, and each one's
name, shape and dtype must be what the process expects.
"""

import contextlib
import logging
import os
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow_federated as tff

import tff_pipeline
from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.client_states import ClientStates
from tff_pipeline.runs.state_files import (
    FORMAT,
    MANIFEST,
    InvalidCheckpointError,
    flatten,
    manifest_bytes,
    read_arrays,
    read_manifest,
    unflatten,
    write_arrays,
)

_LOG = logging.getLogger(__name__)
_STATE = "state.npz"
_CLIENTS = "clients.npz"
_PREFIX = "round_"
_WEIGHTS = "global_model_weights"

# A round's number, or "best".
CheckpointName = Union[int, str]


class Saved(NamedTuple):
    """A checkpoint that was loaded.

    Attributes:
      round_number: Rounds that the state has seen.
      state: The server's.
      clients: What clients keep, where they keep something.
      notes: What was saved beside it.
    """

    round_number: int
    state: Any
    clients: Optional[ClientStates]
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
          directory: Where the checkpoints lie; made when first saved to.
          keep: How many of the newest to keep; 0 keeps all.
          config: The flags that make the run what it is. Checkpoints hold
            them, and those with others are refused; `None` refuses none.
        """
        self._directory = directory
        self._keep = keep
        self._config = None if config is None else dict(config)

    def rounds(self) -> list[int]:
        """The saved rounds, oldest first, valid or not."""
        files = storage.of(self._directory)
        if not files.is_folder(self._directory):
            return []
        names = files.names(self._directory)
        matches = [re.fullmatch(f"{_PREFIX}([0-9]+)", name) for name in names]
        return sorted(int(match[1]) for match in matches if match)

    def save(
        self,
        round_number: int,
        state: Any,
        clients: Optional[ClientStates] = None,
        notes: Optional[Mapping[str, Any]] = None,
        spare: Collection[int] = (),
    ) -> None:
        """Saves `state`, replacing what this round had; prunes old ones.

        Args:
          round_number: How many rounds it has seen.
          state: Nested structure of arrays, such as
            `tff.learning.templates.LearningAlgorithmState`.
          clients: What clients keep, where the algorithm has them do so.
          notes: What else belongs to it, as JSON; see `notes`.
          spare: Rounds that are not pruned.

        Raises:
          RunDirectoryError: If it cannot be written; older checkpoints stand.
          TypeError: If `state` holds something that is not an array.
        """
        parts = {_STATE: flatten(state)}
        if clients is not None:
            parts[_CLIENTS] = clients.arrays()
        path = self._path(round_number)

        def write() -> None:
            with durable.folder(path, MANIFEST) as folder:
                content = {
                    "format": FORMAT,
                    "round": round_number,
                    "sha256": {
                        name: write_arrays(os.path.join(folder, name), arrays)
                        for name, arrays in parts.items()
                    },
                    "tff_pipeline": tff_pipeline.__version__,
                    "tensorflow_federated": tff.__version__,
                    "config": self._config,
                    "arrays": {
                        part: {
                            name: [str(array.dtype), list(array.shape)]
                            for name, array in arrays.items()
                        }
                        for part, arrays in parts.items()
                    },
                    "notes": dict(notes or {}),
                }
                manifest = os.path.join(folder, MANIFEST)
                with storage.local.create(manifest) as file:
                    file.write(manifest_bytes(content))

        durable.repeatedly(write)
        self._prune(round_number, spare)

    def _prune(self, newest: int, spare: Collection[int]) -> None:
        rounds = self.rounds()
        # Later rounds are of a future that is being trained anew.
        doomed = [number for number in rounds if number > newest]
        if self._keep:
            saved = [number for number in rounds if number <= newest]
            doomed += [n for n in saved[: -self._keep] if n not in spare]
        for number in doomed:
            # It is in nobody's way; the next save tries again.
            with contextlib.suppress(OSError):
                durable.remove_folder(self._path(number), MANIFEST)

    def load(self, round_number: int, like: Any) -> Any:
        """The state of a round.

        Args:
          round_number: A saved round.
          like: A state of the structure that is expected.

        Returns:
          A state like `like`, bitwise as it was saved.

        Raises:
          InvalidCheckpointError: If it is missing, damaged, or not like
            `like`.
        """
        return self._load(round_number, like).state

    def load_latest(
        self, like: Any, clients: Optional[ClientStates] = None
    ) -> Optional[Saved]:
        """The newest valid checkpoint, or `None` if nothing was saved.

        An invalid one is named in a warning and passed over.

        Raises:
          InvalidCheckpointError: If there are checkpoints, but none is valid.
        """
        if storage.of(self._directory).is_folder(self._directory):
            with durable.explained(self._directory):
                durable.remove_temporary(self._directory)
        problem = None
        for round_number in reversed(self.rounds()):
            try:
                return self._load(round_number, like, clients)
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
        """What was saved beside a state.

        Raises:
          InvalidCheckpointError: If the checkpoint is missing or damaged.
        """
        return self._content(round_number)["notes"]

    def check(self, round_number: int) -> dict[str, np.ndarray]:
        """The arrays of a saved state by path, all files' sums checked.

        Raises:
          InvalidCheckpointError: If the checkpoint is missing or damaged.
        """
        path, content = self._path(round_number), self._content(round_number)
        parts = {
            part: read_arrays(path, content, part) for part in content["sha256"]
        }
        return parts[_STATE]

    def load_weights(
        self, round_number: Optional[CheckpointName] = None
    ) -> tuple[int, tff.learning.models.ModelWeights]:
        """The model's weights of a round, by default of the newest.

        Args:
          round_number: The round, or "best": that of `--target_metric`.

        Returns:
          (round, weights); no process is needed to know their structure.

        Raises:
          ConfigError: If that round was not saved.
          RunDirectoryError: If nothing was saved, or that round is damaged.
        """
        rounds = self.rounds()
        if not rounds:
            raise errors.RunDirectoryError(
                f"{self._directory} holds no checkpoint yet; train the run "
                "first."
            )
        if round_number is None:
            round_number = rounds[-1]
        if round_number == "best":
            best = self.notes(rounds[-1]).get("best")
            if best is None:
                raise errors.ConfigError(
                    "--round=best needs a run that was trained with "
                    "--target_metric=...; name one of the saved rounds: "
                    f"{', '.join(map(str, rounds))}."
                )
            round_number = best["round"]
        assert not isinstance(round_number, str)
        if round_number not in rounds:
            raise errors.ConfigError(
                f"--round={round_number} is not among the saved rounds of "
                f"{self._directory}: {', '.join(map(str, rounds))}."
            )
        arrays = self.check(round_number)

        def part(kind: str) -> list[np.ndarray]:
            names = [n for n in arrays if n.startswith(f"{_WEIGHTS}/{kind}/")]
            return [arrays[name] for name in names]

        weights = tff.learning.models.ModelWeights(
            part("trainable"), part("non_trainable")
        )
        return round_number, weights

    def _load(
        self,
        round_number: int,
        like: Any,
        clients: Optional[ClientStates] = None,
    ) -> Saved:
        path, content = self._path(round_number), self._content(round_number)
        state = unflatten(read_arrays(path, content, _STATE), like, path)
        if clients is not None:
            arrays = read_arrays(path, content, _CLIENTS)
            try:
                clients = clients.restored(arrays)
            except ValueError as error:
                raise InvalidCheckpointError(
                    f"{path} is of another algorithm: {error}"
                ) from None
        return Saved(round_number, state, clients, content["notes"])

    def _path(self, round_number: int) -> str:
        return os.path.join(self._directory, f"{_PREFIX}{round_number:06d}")

    def _content(self, round_number: int) -> dict[str, Any]:
        """Of a manifest, which is whole and of this run."""
        path = self._path(round_number)
        content = read_manifest(path, round_number)
        saved, wanted = content["config"], self._config
        if wanted is None or saved is None:
            return content
        if differing := fields.differences(saved, wanted):
            raise InvalidCheckpointError(
                f"{path} is of a run that differs in "
                f"--{', --'.join(differing)}."
            )
        return content
