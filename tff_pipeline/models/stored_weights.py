"""Reads a trained model's weights by name: of a run, a SavedModel, a file.

    stored_weights.read("runs/first")["logits/kernel"]

No code of the model is run for it: of a SavedModel the variables are read, and
a .keras file is loaded as Keras loads what it does not trust.
"""

import collections
import os
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.files import storage
from tff_pipeline.models import frozen, keras_file
from tff_pipeline.models.pretrained import packages
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]

READABLE = (
    "a run directory of this package, a SavedModel folder, or a .keras or .h5 "
    "file"
)
_H5 = (".h5", ".hdf5")
# Parts of a SavedModel's keys whose variables are none of the model's.
_NOT_OF_THE_MODEL = {"optimizer", "keras_api", ".OPTIMIZER_SLOT"}


def is_run(path: str) -> bool:
    """Tells whether a folder is a run directory, of whatever task.

    Args:
      path: The folder, which need not exist.
    """
    directory = RunDirectory(path)
    return storage.exists(directory.config) and storage.exists(directory.flags)


def is_keras(path: str) -> bool:
    """Tells whether a path is that of a SavedModel or of a file of Keras.

    Args:
      path: The file or folder, which need not exist.
    """
    return path.endswith((".keras", *_H5)) or _is_saved_model(path)


def _is_saved_model(path: str) -> bool:
    return storage.exists(os.path.join(path, "saved_model.pb"))


def read(init_from: str) -> dict[str, Array]:
    """Reads the weights of a model, trainable and not, by their names.

    Args:
      init_from: A run directory, whose newest checkpoint is read; a SavedModel
        folder; a .keras or .h5 file.

    Returns:
      Name, such as "dense_3/kernel" -> numbers. The optimizer's are left out,
      and names that several weights have.

    Raises:
      ConfigError: If it is none of these.
      DataError: If it is damaged, or has no weights with names.
      RunDirectoryError: If it is a run that has no checkpoint yet, or whose
        checkpoint is damaged.
    """
    if is_run(init_from):
        return of_run(init_from)
    if init_from.startswith(packages.PREFIX) or _is_transformer(init_from):
        raise errors.ConfigError(
            f"--init_from={init_from} is a pretrained transformer, which this "
            f"task has no use for; name {READABLE}."
        )
    if not storage.exists(init_from):
        raise errors.ConfigError(
            f"--init_from={init_from} does not exist; name {READABLE}."
        )
    if not is_keras(init_from):
        raise errors.ConfigError(
            f"--init_from={init_from} is none of what weights are read from; "
            f"name {READABLE}."
        )
    reading = _of_keras
    if _is_saved_model(init_from):
        reading = _of_saved_model
    elif init_from.endswith(_H5):
        reading = _of_h5
    try:
        weights = reading(init_from)
    except errors.PipelineError:
        raise
    # What libraries raise, for a damaged file can be damaged in any way.
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise errors.DataError(
            f"{init_from} cannot be read ({type(error).__name__}: {why}); "
            "restore it, or save the model as a SavedModel, which any layer "
            "can be read from."
        ) from None
    if not weights:
        raise errors.DataError(
            f"{init_from} has no weights; name a model that has some."
        )
    return weights


def _is_transformer(path: str) -> bool:
    """Tells whether a path may be that of what tasks with a base take."""
    return path.endswith(".gguf") or any(
        storage.exists(os.path.join(path, name))
        for name in (frozen.MANIFEST, "config.json")
    )


def of_run(run_dir: str) -> dict[str, Array]:
    """Reads the weights of a run's model, of its newest checkpoint.

    Args:
      run_dir: The run directory.

    Returns:
      Name -> numbers, also of what the run froze itself, but not of a base.

    Raises:
      DataError: If an older version of this package wrote the run, and it has
        no exported model.
      RunDirectoryError: If it has no checkpoint yet, or a damaged one.
    """
    directory = RunDirectory(run_dir)
    _, weights = CheckpointStore(directory.checkpoints).load_weights()
    names: Any = directory.read_environment().get("weights")
    try:
        pairs = [
            (name, array)
            for kind in ("trainable", "non_trainable")
            for name, array in _paired(names[kind], getattr(weights, kind))
        ]
    except (TypeError, KeyError, ValueError):
        if _is_saved_model(directory.saved_model):
            return read(directory.saved_model)
        raise errors.DataError(
            f"{directory.environment} does not name the weights of its "
            "checkpoints, as those of older versions do not, or of algorithms "
            "without a model at the server; name a SavedModel that "
            "scripts/export.py makes of that run."
        ) from None
    held = frozen_by_run(directory)
    if held is not None:
        pairs += [
            (name, array.mapped().numpy())
            for name, array in held.arrays.items()
        ]
    return _unique(pairs)


def frozen_by_run(directory: RunDirectory) -> Optional[frozen.FrozenWeights]:
    """Loads the weights that a run has frozen by `--freeze`.

    Args:
      directory: The run directory.

    Returns:
      The weights, none of which are in memory yet; `None` if the run froze
      none.

    Raises:
      DataError: If they are damaged.
      RunDirectoryError: If they are missing, or lie elsewhere.
    """
    pattern = directory.read_config().data.model.freeze
    if pattern is None:
        return None
    if not storage.is_local(directory.frozen):
        raise errors.RunDirectoryError(
            f"{directory.frozen} is mapped into memory; copy the run's folder "
            "to this machine."
        )
    if not storage.exists(directory.frozen):
        raise errors.RunDirectoryError(
            f"{directory.frozen} is missing, with the weights of the model "
            f"that --freeze={pattern} froze; restore it."
        )
    return frozen.load(directory.frozen)


def _paired(
    names: list[str], arrays: Iterable[Array]
) -> list[tuple[str, Array]]:
    values = list(arrays)
    if len(names) != len(values):
        raise ValueError(f"{len(names)} names for {len(values)} arrays")
    return list(zip(map(str, names), values))


def _of_saved_model(path: str) -> dict[str, Array]:
    prefix = os.path.join(path, "variables", "variables")
    if not storage.exists(f"{prefix}.index"):
        return {}
    reader = tf.train.load_checkpoint(prefix)
    return _unique(
        (name, reader.get_tensor(key))
        for key, name in compat.checkpoint_names(reader).items()
        if _NOT_OF_THE_MODEL.isdisjoint(key.split("/"))
    )


def _of_keras(path: str) -> dict[str, Array]:
    model = keras_file.load(path)
    return _unique((each.name, each.numpy()) for each in model.weights)


def _of_h5(path: str) -> dict[str, Array]:
    # Here, for few runs need it.
    import h5py

    pairs: list[tuple[str, Array]] = []
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if "keras_version" not in group.attrs:
            raise errors.DataError(
                f"{path} holds weights without their names; save the whole "
                "model, by model.save."
            )

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                # The first part is the layer of the outermost model.
                pairs.append((name.partition("/")[2], item[()]))

        group.visititems(visit)
    return _unique(pairs)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Array]:
    """Makes a dict of the numbers whose name no others have."""
    found = [
        (name.partition(":")[0], np.asarray(array))
        for name, array in pairs
        # Of text, as the words of a lookup table.
        if np.asarray(array).dtype.kind not in "OSU"
    ]
    counts: Mapping[str, int] = collections.Counter(name for name, _ in found)
    return {name: array for name, array in found if counts[name] == 1}
