"""Reads LoRA adapters from folders that this package or PEFT wrote."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tff_pipeline import errors
from tff_pipeline.models.pretrained import libraries, names
from tff_pipeline.models.transformer import adapter
from tff_pipeline.models.transformer.adapter import Array
from tff_pipeline.models.transformer.architecture import Architecture

_PICKLE = "adapter_model.bin"
# Settings of PEFT's `LoraConfig` that no field of `Adapter` has, with the
# values that stand for "not used", and what an adapter with others is.
_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "bias": (("none",), "trains biases of the base"),
    "modules_to_save": ((None, []), "replaces layers of the base"),
    "use_dora": ((False, None), "is a DoRA adapter"),
    "lora_bias": ((False, None), "has biases in its modules"),
    "use_qalora": ((False, None), "is a QA-LoRA adapter"),
    "layer_replication": ((None, []), "repeats layers of the base"),
    "target_parameters": ((None, []), "adapts what is no layer's matrix"),
    "trainable_token_indices": ((None, [], {}), "trains embeddings"),
    "alora_invocation_tokens": ((None, []), "is used from some token on"),
    # The others change the base's weights before training.
    "init_lora_weights": (
        (True, False, "gaussian", "orthogonal", "eva"),
        "was trained on a base with changed weights",
    ),
}


def read(
    folder: str, architecture: Architecture, base_sha256: str
) -> adapter.Adapter:
    """Reads an adapter from PEFT's folder, whether we or PEFT wrote it.

    Args:
      folder: The folder, on this machine.
      architecture: The architecture of the base that the adapter is for.
      base_sha256: The SHA-256 of that base's weights. A folder of ours has that
        of its base; one of PEFT's has no more than shapes that must fit.

    Returns:
      The adapter, in the order of the architecture's matrices. Its
      `base_sha256` is the argument; rank-stabilised scaling (Kalajdzievski
      2023) is in its alpha.

    Raises:
      ConfigError: If the package safetensors is not installed.
      DataError: If a file is missing or damaged, the adapter was made on
        another base, has modules that the base has not, or is of a kind that
        `Adapter` cannot hold; the sentence says which.
    """
    config = _read_config(os.path.join(folder, adapter.CONFIG))
    tensors, metadata = read_tensors(folder)
    stored = metadata.get(adapter.BASE_SHA256, base_sha256)
    source = metadata.get(adapter.BASE_SOURCE) or str(
        config.get("base_model_name_or_path") or ""
    )
    if stored != base_sha256:
        raise errors.DataError(
            f"The adapter {folder} was made on another base, "
            f"{source or 'of unknown source'} with the SHA-256 "
            f"{stored[:12]}..., and not on the one given, with "
            f"{base_sha256[:12]}...; give its own base."
        )
    rank, alpha, dropout = _numbers(folder, config)
    modules = _modules(folder, tensors, architecture, rank)
    return adapter.Adapter(rank, alpha, modules, base_sha256, source, dropout)


def _read_config(path: str) -> dict[str, Any]:
    """Reads adapter_config.json, and refuses what is not plain LoRA."""
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); name a folder that "
            "this package or PEFT saved an adapter in."
        ) from None
    except ValueError as error:
        raise errors.DataError(
            f"{path} is damaged ({error}); restore it, or save the adapter "
            "again."
        ) from None
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise errors.DataError(
            f"{path} has peft_type={kind!r}; LORA alone can be read."
        )
    for setting, (unused, what) in _REFUSED.items():
        if setting in config and config[setting] not in unused:
            raise errors.DataError(
                f"The adapter of {path} {what} ({setting}="
                f"{json.dumps(config[setting])}), which cannot be read; train "
                f"it with {setting}={json.dumps(unused[0])}."
            )
    return config


def _numbers(
    folder: str, config: Mapping[str, Any]
) -> tuple[int, float, float]:
    """Returns the rank, alpha and dropout; refuses uneven ranks and alphas."""
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        dropout = float(config.get("lora_dropout") or 0.0)
        patterns = [
            (pattern, value, float(each))
            for pattern, value in (
                ("rank_pattern", rank),
                ("alpha_pattern", alpha),
            )
            for each in dict(config.get(pattern) or {}).values()
        ]
    except (KeyError, TypeError, ValueError):
        rank, alpha, dropout, patterns = 0, 0.0, 0.0, []
    if rank < 1 or not math.isfinite(alpha) or not 0 <= dropout < 1:
        values = ", ".join(
            f"{name}={config.get(name)!r}"
            for name in ("r", "lora_alpha", "lora_dropout")
        )
        raise errors.DataError(
            f"{os.path.join(folder, adapter.CONFIG)} has {values}, which must "
            "be a whole number of at least 1, a number, and a share below 1; "
            "save the adapter again."
        )
    for pattern, value, each in patterns:
        if each != value:
            raise errors.DataError(
                f"The adapter {folder} has a {pattern} with {each:g} beside "
                f"{value:g}, and all modules must have one rank and one alpha; "
                f"train it without {pattern}."
            )
    if config.get("use_rslora"):
        # Its scale is alpha / sqrt(rank).
        alpha *= math.sqrt(rank)
    return rank, alpha, dropout


def read_tensors(folder: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Reads an adapter's weights as they are named in their file.

    Args:
      folder: The folder, on this machine.

    Returns:
      (name -> float32 numbers, the file's metadata).

    Raises:
      ConfigError: If the package safetensors is not installed.
      DataError: If the file is missing or damaged.
    """
    path = os.path.join(folder, adapter.WEIGHTS)
    if not os.path.exists(path) and os.path.exists(
        os.path.join(folder, _PICKLE)
    ):
        raise errors.DataError(
            f"{folder} holds its adapter as {_PICKLE}, which would run code as "
            "it is read; save it with PEFT's safe_serialization=True."
        )
    safetensors = libraries.load("safetensors", path)
    try:
        with open(path, "rb") as file:
            content = file.read()
        tensors = {
            name: _float32(name, tensor)
            for name, tensor in safetensors.deserialize(content)
        }
        with safetensors.safe_open(path, framework="np") as stored:
            metadata = stored.metadata() or {}
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); name a folder that "
            "this package or PEFT saved an adapter in."
        ) from None
    except (ValueError, safetensors.SafetensorError) as error:
        raise errors.DataError(
            f"{path} is damaged ({error}); restore it, or save the adapter "
            "again."
        ) from None
    return tensors, metadata


def _float32(name: str, tensor: Mapping[str, Any]) -> Array:
    """Returns a tensor of a safetensors file as float32."""
    dtype, data = tensor["dtype"], tensor["data"]
    if dtype == "BF16":
        # Its bits are the upper half of a float32's.
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        numbers = bits.view(np.float32)
    elif dtype in ("F16", "F32", "F64"):
        numbers = np.frombuffer(data, f"<f{int(dtype[1:]) // 8}")
    else:
        raise ValueError(f"{name} is of dtype {dtype}")
    return numbers.astype(np.float32).reshape(tensor["shape"])


def _modules(
    folder: str,
    tensors: Mapping[str, Array],
    architecture: Architecture,
    rank: int,
) -> dict[str, tuple[Array, Array]]:
    """Pairs the factors by our names, and checks that they fit the base."""
    family = names.family(architecture)
    shapes = adapter.matrix_shapes(architecture)
    # A factor's name, with the base's model alone or within a larger one.
    places = {
        f"{adapter.WRAPPER}"
        f"{names.prefixed(names.module_name(module, family), prefix)}"
        f".lora_{letter}.weight": (module, letter)
        for module in shapes
        for prefix in ("", names.PREFIXES[family])
        for letter in "AB"
    }
    unknown = sorted(name for name in tensors if name not in places)
    if unknown:
        raise errors.DataError(
            f"The adapter {folder} has {', '.join(unknown[:5])}"
            + (f" and {len(unknown) - 5} more" if unknown[5:] else "")
            + ", which are no LoRA factors of matrices of the base; give the "
            "base that it was made on, and adapt its linear layers alone."
        )
    factors = {places[name]: tensor for name, tensor in tensors.items()}
    modules = {}
    for module, (outputs, inputs) in shapes.items():
        a, b = (factors.get((module, letter)) for letter in "AB")
        if a is None and b is None:
            continue
        for letter, factor, shape in (
            ("A", a, (rank, inputs)),
            ("B", b, (outputs, rank)),
        ):
            if factor is None or factor.shape != shape:
                has = "no" if factor is None else f"a {list(factor.shape)}"
                raise errors.DataError(
                    f"The adapter {folder} has {has} {letter} for {module}, "
                    f"where rank {rank} and this base need {list(shape)}; give "
                    "the base that it was made on."
                )
        assert a is not None and b is not None
        modules[module] = (a, b)
    if not modules:
        raise errors.DataError(
            f"The adapter {folder} has no modules; save it again."
        )
    return modules
