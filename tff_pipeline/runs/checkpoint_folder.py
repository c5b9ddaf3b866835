"""Writes the folder of one checkpoint whole, and reads it with checks.

    checkpoints/round_000010/state.npz      the server state's arrays by path
    checkpoints/round_000010/kept.npz       the index of clients' rows
    checkpoints/round_000010/manifest.json  SHA-256 of these, and all the rest

Where clients keep nothing there is no `kept.npz`. The manifest has the round,
the config, versions, arrays' shapes, and what else goes with the state: privacy
spent, the log's head, the best round so far. Nothing is pickled: arrays are
read with `allow_pickle=False`, and each one's name, shape and dtype must be
what the process expects.
"""

import dataclasses
import os
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import tff_pipeline
from tff_pipeline.config import fields
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.kept_states import KeptIndex, KeptStates
from tff_pipeline.runs.row_files import RowFiles
from tff_pipeline.runs.state_files import (
    FORMAT,
    MANIFEST,
    Array,
    InvalidCheckpointError,
    flatten,
    manifest_bytes,
    read_arrays,
    read_manifest,
    unflatten,
    write_arrays,
)

if TYPE_CHECKING:
    import tensorflow_federated as tff

# The file of the server state's arrays.
STATE = "state.npz"
_WEIGHTS = "global_model_weights"
_KEPT = "kept.npz"
# Rows of up to so many bytes are all read when a run goes on, in a second or
# two. Larger ones, 16 GB of 3,400 clients say, are looked for, and checked when
# their clients take part, or by scripts/verify.py.
_READ_AT_START = 1 << 30


def write(
    path: str,
    round_number: int,
    *,
    state: Any,
    kept: Optional[KeptStates],
    config: Optional[Mapping[str, Any]],
    notes: Mapping[str, Any],
) -> None:
    """Writes a checkpoint, replacing the one that is there.

    Args:
      path: The folder.
      round_number: How many rounds the state has seen.
      state: Nested structure of arrays, such as
        `tff.learning.templates.LearningAlgorithmState`.
      kept: The states that clients keep, where the algorithm has any; their
        rows are on the disk already.
      config: Flag name -> value of the flags that a resumed run must not
        change.
      notes: Other values that belong to the checkpoint, as JSON.

    Raises:
      RunDirectoryError: If it cannot be written.
      TypeError: If `state` holds something that is not an array.
    """
    parts = {STATE: flatten(state)}
    if kept is not None:
        parts[_KEPT] = kept.index.arrays()

    def write_once() -> None:
        with durable.folder(path, MANIFEST) as folder:
            content = {
                "format": FORMAT,
                "round": round_number,
                "sha256": {
                    name: write_arrays(os.path.join(folder, name), arrays)
                    for name, arrays in parts.items()
                },
                "tff_pipeline": tff_pipeline.__version__,
                "tensorflow_federated": metadata.version(
                    "tensorflow-federated"
                ),
                "config": config,
                "arrays": {
                    part: {
                        name: [str(array.dtype), list(array.shape)]
                        for name, array in arrays.items()
                    }
                    for part, arrays in parts.items()
                },
                "notes": dict(notes),
            }
            if kept is not None:
                content["row"] = kept.structure
            with storage.local.create(os.path.join(folder, MANIFEST)) as file:
                file.write(manifest_bytes(content))

    durable.repeatedly(write_once)


class Checked(NamedTuple):
    """Content of a checkpoint whose files all have the SHA-256 of its manifest.

    Attributes:
      state: The server state's arrays by path.
      kept_state: SHA-256 of what clients keep, where they keep something.
      notes: The values that were saved beside the state.
    """

    state: dict[str, Array]
    kept_state: Optional[str]
    notes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoint whose manifest was read.

    Attributes:
      path: The folder.
      content: The manifest's JSON.
    """

    path: str
    content: Mapping[str, Any]

    @classmethod
    def open(
        cls,
        path: str,
        round_number: int,
        config: Optional[Mapping[str, Any]] = None,
    ) -> "CheckpointFolder":
        """Reads the manifest of a checkpoint.

        Args:
          path: The folder.
          round_number: The round that it must be of.
          config: The flags that it must have been saved with; `None` takes
            any.

        Raises:
          InvalidCheckpointError: If it is missing, damaged, of another round
            or of another run.
        """
        content = read_manifest(path, round_number)
        saved = content["config"]
        if (
            config is not None
            and saved is not None
            and (differing := fields.differences(saved, config))
        ):
            raise InvalidCheckpointError(
                f"{path} is of a run that differs in "
                f"--{', --'.join(differing)}."
            )
        return cls(path, content)

    @property
    def notes(self) -> dict[str, Any]:
        """Values that were saved beside the state."""
        return dict(self.content["notes"])

    def arrays(self) -> dict[str, Array]:
        """Reads the server state's arrays by path.

        Raises:
          InvalidCheckpointError: If they are missing or damaged.
        """
        return read_arrays(self.path, self.content, STATE)

    def state(self, like: Any) -> Any:
        """Reads the server state, bitwise as it was saved.

        Args:
          like: A state of the structure that is expected.

        Raises:
          InvalidCheckpointError: If it is missing, damaged, or not like
            `like`.
        """
        return unflatten(self.arrays(), like, self.path)

    def weights(self) -> "tff.learning.models.ModelWeights":
        """Reads the model's weights.

        Raises:
          InvalidCheckpointError: If they are missing or damaged.
        """
        # Here, for most readers of checkpoints need no TensorFlow.
        import tensorflow_federated as tff

        arrays = self.arrays()

        def part(kind: str) -> list[Array]:
            names = [n for n in arrays if n.startswith(f"{_WEIGHTS}/{kind}/")]
            return [arrays[name] for name in names]

        return tff.learning.models.ModelWeights(
            part("trainable"), part("non_trainable")
        )

    def kept_index(self) -> Optional[KeptIndex]:
        """Reads the index of clients' rows; `None` if clients keep nothing.

        Raises:
          InvalidCheckpointError: If it is missing or damaged.
        """
        if _KEPT not in self.content["sha256"]:
            return None
        arrays = read_arrays(self.path, self.content, _KEPT)
        try:
            return KeptIndex.from_arrays(arrays)
        except ValueError as error:
            raise InvalidCheckpointError(
                f"{self.path} is damaged ({_KEPT}: {error})."
            ) from None

    def kept(self, like: KeptStates) -> KeptStates:
        """Reads the states that clients keep.

        All rows must be there. They are read, and checked, if that takes a
        second or two: if they are no more than 1 GiB together.

        Args:
          like: The states that clients keep before the first round.

        Raises:
          InvalidCheckpointError: If something is missing, damaged, or of
            another structure than `like`.
        """
        index, structure = self.kept_index(), self.content.get("row")
        if index is None or structure != like.structure:
            raise InvalidCheckpointError(
                f"{self.path} is of another algorithm: a client keeps "
                f"{structure}, and in this run {like.structure}."
            )
        kept = like.restored(index)
        try:
            kept.check(_READ_AT_START)
        except InvalidCheckpointError as error:
            raise InvalidCheckpointError(
                f"{self.path} lacks what a client keeps: {error}"
            ) from error
        return kept

    def check(self) -> Checked:
        """Reads all of it, every row too, and checks the SHA-256 of all files.

        Raises:
          InvalidCheckpointError: If something is missing or damaged.
        """
        state, index = self.arrays(), self.kept_index()
        if index is None:
            return Checked(state, None, self.notes)
        RowFiles(os.path.dirname(self.path)).check(index.rows.values())
        return Checked(state, index.digest(), self.notes)
