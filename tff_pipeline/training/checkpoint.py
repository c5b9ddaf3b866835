"""Checkpoints: one folder a saved round, whole or not there.

    checkpoints/round_000010/state.npz      the server state's arrays by path
    checkpoints/round_000010/manifest.json  round, SHA-256, shapes, versions

Nothing is pickled: `state.npz` is read with `allow_pickle=False`, and every
array's name, shape and dtype must be the one that the process expects.
"""

import hashlib
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any, Optional, Union

import numpy as np
import tensorflow_federated as tff
import tree

import tff_pipeline
from tff_pipeline import durable, errors

_LOG = logging.getLogger(__name__)
_STATE = "state.npz"
_MANIFEST = "manifest.json"
_PREFIX = "round_"
_WEIGHTS = "global_model_weights"


class InvalidCheckpointError(errors.RunDirectoryError):
    """A checkpoint's files are damaged or of another structure."""


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, directory: str, keep: int = 0):
        """Makes the store.

        Args:
          directory: Where the checkpoints lie; made when first saved to.
          keep: How many of the newest to keep; 0 keeps all.
        """
        self._directory = directory
        self._keep = keep

    def rounds(self) -> list[int]:
        """The saved rounds, oldest first, valid or not."""
        if not os.path.isdir(self._directory):
            return []
        names = os.listdir(self._directory)
        matches = [re.fullmatch(f"{_PREFIX}([0-9]+)", name) for name in names]
        return sorted(int(match[1]) for match in matches if match)

    def save(
        self,
        round_number: int,
        state: Any,
        privacy: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Saves `state`, replacing what this round had; prunes old ones.

        Args:
          round_number: How many rounds it has seen.
          state: Nested structure of arrays, such as
            `tff.learning.templates.LearningAlgorithmState`.
          privacy: The account of what these rounds spent, as JSON.

        Raises:
          RunDirectoryError: If it cannot be written; older checkpoints stand.
          TypeError: If `state` holds something that is not an array.
        """
        arrays = _flatten(state)
        # In memory first: the sum is of what was meant, not of what was read
        # back, and a full disk meets a plain write.
        archive = io.BytesIO()
        np.savez(archive, **arrays)
        with durable.folder(self._path(round_number)) as folder:
            with open(os.path.join(folder, _STATE), "wb") as file:
                file.write(archive.getbuffer())
            content = {
                "format": 1,
                "round": round_number,
                "sha256": {_STATE: _sha256(archive.getbuffer())},
                "tff_pipeline": tff_pipeline.__version__,
                "tensorflow_federated": tff.__version__,
                "arrays": {
                    name: [str(array.dtype), list(array.shape)]
                    for name, array in arrays.items()
                },
                **({"privacy": privacy} if privacy is not None else {}),
            }
            manifest = {"content": content, "sha256": _sha256_of(content)}
            with open(
                os.path.join(folder, _MANIFEST), "w", encoding="utf-8"
            ) as file:
                json.dump(manifest, file, indent=2)
        # Later rounds are of a future that is being trained anew.
        for later in self.rounds():
            if later > round_number:
                shutil.rmtree(self._path(later), ignore_errors=True)
        if self._keep:
            for old in self.rounds()[: -self._keep]:
                shutil.rmtree(self._path(old), ignore_errors=True)

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
        path = self._path(round_number)
        arrays, _ = _read(path, round_number)
        expected = _flatten(like)
        for name in {**expected, **arrays}:
            saved, wanted = (
                f"{a[name].dtype}{list(a[name].shape)}" if name in a else None
                for a in (arrays, expected)
            )
            if saved != wanted:
                raise InvalidCheckpointError(
                    f"{path} holds {saved} as {name} where this run has "
                    f"{wanted}; it is of another model or algorithm."
                )
        leaves = [arrays[name][()] for name in expected]
        return tree.unflatten_as(like, leaves)

    def load_latest(self, like: Any) -> Optional[tuple[int, Any]]:
        """The newest valid (round, state), or `None` if nothing was saved.

        An invalid one is named in a warning and passed over.

        Raises:
          InvalidCheckpointError: If there are checkpoints, but none is valid.
        """
        if os.path.isdir(self._directory):
            durable.remove_temporary(self._directory)
        problem = None
        for round_number in reversed(self.rounds()):
            try:
                return round_number, self.load(round_number, like)
            except InvalidCheckpointError as error:
                problem = error
                _LOG.warning("Passing over a checkpoint: %s", error)
        if problem is not None:
            raise InvalidCheckpointError(
                f"No checkpoint in {self._directory} is valid; the oldest: "
                f"{problem} Restore one, or start again with --overwrite."
            )
        return None

    def load_privacy(self, round_number: int) -> Optional[dict[str, Any]]:
        """The account that was saved with a round, or `None` without one.

        Raises:
          InvalidCheckpointError: If the checkpoint is missing or damaged.
        """
        return _read(self._path(round_number), round_number)[1].get("privacy")

    def load_weights(
        self, round_number: Optional[int] = None
    ) -> tuple[int, tff.learning.models.ModelWeights]:
        """The model's weights of a round, by default of the newest.

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
        elif round_number not in rounds:
            raise errors.ConfigError(
                f"--round={round_number} is not among the saved rounds of "
                f"{self._directory}: {', '.join(map(str, rounds))}."
            )
        arrays, _ = _read(self._path(round_number), round_number)

        def part(kind: str) -> list[np.ndarray]:
            names = [n for n in arrays if n.startswith(f"{_WEIGHTS}/{kind}/")]
            return [arrays[name] for name in names]

        weights = tff.learning.models.ModelWeights(
            part("trainable"), part("non_trainable")
        )
        return round_number, weights

    def _path(self, round_number: int) -> str:
        return os.path.join(self._directory, f"{_PREFIX}{round_number:06d}")


def _flatten(state: Any) -> dict[str, np.ndarray]:
    """Path -> array, such as global_model_weights/trainable/0, in order."""
    arrays: dict[str, np.ndarray] = {}
    for path, leaf in tree.flatten_with_path(state):
        name, array = "/".join(map(str, path)), np.asarray(leaf)
        # What NumPy would pickle, or would not know when it reads it.
        if array.dtype.hasobject or array.dtype.kind == "V":
            raise TypeError(f"{name} is not an array of numbers or bytes.")
        if name in arrays:
            raise TypeError(f"Two values of the state are called {name}.")
        arrays[name] = array
    return arrays


def _sha256(content: Union[bytes, memoryview]) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of(content: Any) -> str:
    """Of a JSON value, whatever the white space it is written with."""
    return _sha256(json.dumps(content, sort_keys=True).encode())


def _read(
    path: str, round_number: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the checkpoint `path` by name, and its manifest's content.

    Both are checked against their sums.
    """
    try:
        with open(os.path.join(path, _MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        content = manifest["content"]
        if manifest["sha256"] != _sha256_of(content):
            raise ValueError(f"{_MANIFEST} does not have its SHA-256")
        if content["round"] != round_number:
            raise ValueError(f"it is of round {content['round']}")
        with open(os.path.join(path, _STATE), "rb") as file:
            state = file.read()
        if content["sha256"][_STATE] != _sha256(state):
            raise ValueError(f"{_STATE} does not have its SHA-256")
        with np.load(io.BytesIO(state), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in content["arrays"]}
        return arrays, content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidCheckpointError(
            f"{path} is damaged ({type(error).__name__}: {error})."
        ) from None
