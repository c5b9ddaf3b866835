"""LoRA adapters: written as folders of PEFT, and merged into their base.

A LoRA module (Hu et al. 2022, section 4.1) on a matrix W [outputs, inputs] has
A [rank, inputs] and B [outputs, rank]; the layer computes x (W + s B A)^T, with
s = alpha / rank.

    adapter/adapter_config.json        rank, alpha, the modules, as PEFT has it
    adapter/adapter_model.safetensors  A and B of each module
    adapter/head.safetensors           the new last layer of an encoder:
                                       weight [outputs, inputs] and bias
    adapter/README.md                  the model card, if there is one

The second file's header also has the SHA-256 and the source of the base, which
PEFT does not look at. `adapter_reader` reads such folders.
"""

import dataclasses
import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.files import durable
from tff_pipeline.models.pretrained import libraries, names
from tff_pipeline.models.transformer.architecture import Architecture

Array = npt.NDArray[Any]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
HEAD = "head.safetensors"
CARD = "README.md"
# Where PEFT's names begin: its wrapper, and the model within.
WRAPPER = "base_model.model."
BASE_SHA256, BASE_SOURCE = "base_sha256", "base_source"
# What PEFT calls the use of a family's base; encoders give vectors.
_TASK_TYPES = {"bert": "FEATURE_EXTRACTION"}


@dataclasses.dataclass(frozen=True)
class Adapter:
    """LoRA modules, all of one rank, and the base that they belong to.

    Attributes:
      rank: The rank of all modules.
      alpha: The number that, divided by the rank, scales the modules' outputs.
      modules: Name of a matrix as in `Architecture.weight_shapes`, without
        ".kernel" -> (A, float32 [rank, inputs], B, float32 [outputs, rank]).
      base_sha256: The SHA-256 of the base's weights.
      base_source: Where the base came from.
      dropout: The share of the modules' inputs that is dropped in training.
      head: The last layer that was trained with it, float32 [outputs, inputs]
        and [outputs]; `None` where the base's own is used. PEFT has no place
        for it, so it is a file of its own.
    """

    rank: int
    alpha: float
    modules: Mapping[str, tuple[Array, Array]]
    base_sha256: str
    base_source: str
    dropout: float = 0.0
    head: Optional[tuple[Array, Array]] = None

    @property
    def scale(self) -> float:
        """The factor of the modules' outputs, alpha / rank."""
        return self.alpha / self.rank


def write(
    folder: str,
    adapter: Adapter,
    architecture: Architecture,
    family: str,
    readme: str = "",
) -> None:
    """Writes an adapter as PEFT's folder, whole or not at all.

    PEFT loads it for the Hugging Face model of the same checkpoint: one with a
    language model's head for decoders, `AutoModel` for BERT. Adapters of
    architectures of no such family have our names, and are for `read` alone.

    Args:
      folder: The folder; an older version is replaced.
      adapter: The adapter.
      architecture: The base's architecture.
      family: The architecture's `names.family`.
      readme: The content of README.md, which PEFT keeps the model card in;
        empty for none.

    Raises:
      ConfigError: If the package safetensors is not installed.
      RunDirectoryError: If the folder cannot be written.
    """
    safetensors = libraries.load("safetensors.numpy", folder)
    prefix = "" if family in _TASK_TYPES else names.PREFIXES[family]
    tensors = {}
    for module, pair in adapter.modules.items():
        theirs = names.prefixed(names.module_name(module, family), prefix)
        for letter, factor in zip("AB", pair):
            name = f"{WRAPPER}{theirs}.lora_{letter}.weight"
            # The library reads memory in order, whatever the strides.
            tensors[name] = np.ascontiguousarray(factor, np.float32)
    metadata = {
        "format": "pt",
        BASE_SHA256: adapter.base_sha256,
        BASE_SOURCE: adapter.base_source,
    }
    files = {WEIGHTS: tensors}
    if adapter.head is not None:
        files[HEAD] = {
            name: np.ascontiguousarray(value, np.float32)
            for name, value in zip(("weight", "bias"), adapter.head)
        }
    config = _config(adapter, architecture, family)
    with durable.folder(folder, CONFIG) as temporary:
        for name, arrays in files.items():
            with open(os.path.join(temporary, name), "wb") as file:
                file.write(_in_order(safetensors.save(arrays, metadata)))
        texts = {CONFIG: json.dumps(config, indent=2) + "\n", CARD: readme}
        for name, content in texts.items():
            if content:
                path = os.path.join(temporary, name)
                with open(path, "w", encoding="utf-8") as text:
                    text.write(content)


def _in_order(content: bytes) -> bytes:
    """Sorts the metadata of a safetensors file.

    The library writes them in an order of chance, and the same adapter is to be
    the same file.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    # It ends with spaces, so that the numbers begin at a multiple of 8.
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _config(
    adapter: Adapter, architecture: Architecture, family: str
) -> dict[str, Any]:
    """Returns the content of adapter_config.json, as of PEFT 0.13."""
    alpha = adapter.alpha
    whole = float(alpha).is_integer()
    return {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": adapter.base_source,
        "bias": "none",
        # Whether the base stores matrices [inputs, outputs].
        "fan_in_fan_out": family == "gpt2",
        "inference_mode": True,
        "init_lora_weights": True,
        "layer_replication": None,
        "layers_pattern": None,
        "layers_to_transform": None,
        "loftq_config": {},
        "lora_alpha": int(alpha) if whole else alpha,
        "lora_dropout": adapter.dropout,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": adapter.rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": _targets(adapter.modules, architecture, family),
        "task_type": _TASK_TYPES.get(family, "CAUSAL_LM"),
        "use_dora": False,
        "use_rslora": False,
    }


def _targets(
    modules: Collection[str], architecture: Architecture, family: str
) -> list[str]:
    """Lists the modules as PEFT's `target_modules`, as short as may be.

    PEFT adapts each layer of the base whose name ends with one of them. So a
    module is named by the shortest end of its name that no layer has which is
    not adapted: "q_proj", or "3.self_attn.q_proj" if other blocks have none.
    """
    matrices = matrix_shapes(architecture)
    ours = {names.module_name(module, family) for module in modules}
    others = {names.module_name(name, family) for name in matrices} - ours
    targets = set()
    for name in ours:
        words = name.split(".")
        for length in range(1, len(words) + 1):
            end = ".".join(words[-length:])
            if not any(f".{other}".endswith(f".{end}") for other in others):
                targets.add(end)
                break
    return sorted(targets)


def matrix_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Lists the matrices that an adapter may have modules for.

    >>> from tff_pipeline.models.transformer import architecture
    >>> shapes = matrix_shapes(architecture.smollm2_135m())
    >>> len(shapes), shapes["blocks.29.attention.key"]
    (210, (192, 576))

    Args:
      architecture: The base's architecture.

    Returns:
      Name, without ".kernel" -> [outputs, inputs].
    """
    kernel = ".kernel"
    return {
        name[: -len(kernel)]: shape
        for name, shape in architecture.weight_shapes().items()
        if name.endswith(kernel)
    }


def merged(
    arrays: Mapping[str, Array], adapter: Adapter
) -> Mapping[str, Array]:
    """Adds an adapter to its base, for a model that needs no adapter.

    Args:
      arrays: The base's weights, by their names in `Architecture`.
      adapter: The adapter.

    Returns:
      The weights under the same names: W + alpha / rank * B A, computed in
      float32 and rounded to the dtype of W, for matrices with a module, and
      the base's for all others. Each is computed when it is asked for, and
      not kept.

    Raises:
      DataError: If the adapter has a module for a matrix that is not there.
    """
    missing = [
        name for name in adapter.modules if f"{name}.kernel" not in arrays
    ]
    if missing:
        raise errors.DataError(
            f"The adapter has a module for {missing[0]}, which the base has "
            "not; give the base that it was made on."
        )
    return _Merged(arrays, adapter)


class _Merged(Mapping[str, Any]):
    """Computes merged weights, one at a time."""

    def __init__(self, arrays: Mapping[str, Array], adapter: Adapter):
        self._arrays = arrays
        self._adapter = adapter

    def __getitem__(self, name: str) -> Array:
        weight = self._arrays[name]
        module = name[: -len(".kernel")]
        if not name.endswith(".kernel") or module not in self._adapter.modules:
            return weight
        a, b = self._adapter.modules[module]
        change = (b @ a) * np.float32(self._adapter.scale)
        return (weight.astype(np.float32) + change).astype(weight.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)
