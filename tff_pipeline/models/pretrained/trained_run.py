"""Reads the pretrained model that a run has trained further.

It is the base that the run began with, with what the run trained: weights of
the base itself, or an adapter, which is added to them.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.models import stored_weights
from tff_pipeline.models.transformer import adapter, adapter_reader
from tff_pipeline.models.transformer.adapter import Adapter
from tff_pipeline.models.transformer.architecture import split_name
from tff_pipeline.models.transformer.base import PREFIX, Base
from tff_pipeline.models.transformer.lora import Lora, adapted
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.checkpoint_folder import STATE
from tff_pipeline.runs.directory import RunDirectory

Array = npt.NDArray[Any]


def began_with(run_dir: str, open_base: Callable[[str, str], Base]) -> Base:
    """Opens the base that a run began with.

    Args:
      run_dir: The run directory.
      open_base: Opens a base, from --init_from and --base_dtype.

    Raises:
      ConfigError: If the run is of a task that stands on none, or the base is
        where it was no more.
      DataError: If another one is there now.
    """
    directory = RunDirectory(run_dir)
    data = directory.read_config().data
    if not data.stands_on_base:
        raise errors.ConfigError(
            f"--init_from={run_dir} is a run of --task={data.task}, which "
            "stands on no pretrained model, and this task needs one; name the "
            "run of a task that does, such as shakespeare_llm."
        )
    place = str(data.model.init_from)
    try:
        base = open_base(place, str(data.model.base_dtype))
    except errors.ConfigError as error:
        raise errors.ConfigError(
            f"--init_from={run_dir} was trained on --init_from={place}, which "
            f"cannot be opened from here: {error}"
        ) from None
    hashes = directory.read_environment().get("data")
    began = hashes.get("base") if isinstance(hashes, dict) else None
    if began != base.weights.sha256:
        raise errors.DataError(
            f"{run_dir} was trained on the base of SHA-256 {began}, and "
            f"--init_from={place} is now {base.weights.sha256}; restore the "
            "one that it began with."
        )
    return base


def newest_state(run_dir: str) -> str:
    """Returns the path of the newest checkpoint's arrays.

    Args:
      run_dir: The run directory.

    Raises:
      RunDirectoryError: If nothing is saved yet.
    """
    store = CheckpointStore(RunDirectory(run_dir).checkpoints)
    return os.path.join(store.path(store.newest()), STATE)


def weights(run_dir: str, base: Base) -> Mapping[str, Array]:
    """Returns the weights of the base as the run has trained them.

    Args:
      run_dir: The run directory.
      base: What it began with, see `began_with`.

    Returns:
      Name, as in `Architecture.weight_shapes` -> numbers, read one at a time.

    Raises:
      DataError: If the run does not say what it has trained, or what it began
        its adapter with is gone.
      RunDirectoryError: If it has no checkpoint.
    """
    trained = {
        name[len(PREFIX) :]: array
        for name, array in stored_weights.of_run(run_dir).items()
        if name.startswith(PREFIX)
    }
    config = RunDirectory(run_dir).read_config()
    arrays = base.arrays()
    if config.data.model.trainable == "lora":
        made = _adapter(config, base, trained)
        return adapter.merged(arrays, made)
    return _Trained(arrays, trained)


class _Trained(Mapping[str, Any]):
    """Gives weights of a base, in the place of some those that were trained."""

    def __init__(
        self, arrays: Mapping[str, Array], trained: Mapping[str, Array]
    ):
        self._arrays = arrays
        self._trained = trained

    def __getitem__(self, name: str) -> Array:
        block, stacked = split_name(name)
        if stacked not in self._trained:
            return self._arrays[name]
        values = self._trained[stacked]
        return values if block is None else values[block]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _adapter(
    config: ExperimentConfig, base: Base, trained: Mapping[str, Array]
) -> Adapter:
    """Makes the adapter of a run from the weights that it trains."""
    options = config.data.model
    start = None
    if options.lora_train == "b" and options.init_adapter is not None:
        # Of which the factors A do not travel.
        start = adapter_reader.read(
            options.init_adapter, base.architecture, base.weights.sha256
        ).modules
    lora = Lora(
        rank=int(options.lora_rank or 0),
        alpha=float(options.lora_alpha or 0),
        targets=str(options.lora_targets),
        seed=config.run.seed,
        start=start,
    )
    modules: dict[str, tuple[Array, Array]] = {}
    rows: dict[str, int] = {}
    for name, shape in adapted(base.architecture, lora.targets).items():
        _, stacked = split_name(name)
        row = rows.get(stacked, 0)
        rows[stacked] = row + 1
        if options.lora_train == "b":
            a, _ = lora.factors(name, shape)
        else:
            a = np.asarray(trained[f"{stacked}.lora_a"][row])
        modules[name] = a, np.asarray(trained[f"{stacked}.lora_b"][row])
    return Adapter(
        lora.rank, lora.alpha, modules, base.weights.sha256, base.source
    )
