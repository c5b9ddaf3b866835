"""Matches a model's weights with stored ones, by name and shape.

Keras numbers the layers that have no name of their own through a whole process:
dense_7 and dense_8 may be the first two of a model. `numbered_anew` counts them
within the model, so that the same model has the same names everywhere.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models.name_patterns import listed
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.runs.state_files import digest
from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]

# Weights that are named in a line.
_SHOWN = 5


def numbered_anew(
    names: Sequence[str], layers: Collection[str]
) -> tuple[str, ...]:
    """Counts layers that Keras numbered from the first of the model.

    >>> numbered_anew(["dense_7/kernel:0", "dense_8/kernel:0"], {"dense"})
    ('dense/kernel', 'dense_1/kernel')
    >>> numbered_anew(["block_2/dense_3/bias", "logits/bias"], {"dense"})
    ('block_2/dense/bias', 'logits/bias')

    Args:
      names: The names of a model's variables.
      layers: What Keras calls layers that have no name, see `default_names`;
        each is counted within the layer that it is part of.

    Returns:
      The names in the same order, without TensorFlow's ":0".
    """
    paths = [name.partition(":")[0].split("/") for name in names]
    # (The path above, the name without a number) -> the numbers there.
    numbers: dict[tuple[tuple[str, ...], str], set[int]] = (
        collections.defaultdict(set)
    )
    for path in paths:
        for depth, part in enumerate(path):
            base, number = _split(part)
            if base in layers:
                numbers[tuple(path[:depth]), base].add(number)

    def renamed(above: tuple[str, ...], part: str) -> str:
        base, number = _split(part)
        if base not in layers:
            return part
        rank = sorted(numbers[above, base]).index(number)
        return f"{base}_{rank}" if rank else base

    return tuple(
        "/".join(
            renamed(tuple(path[:depth]), part)
            for depth, part in enumerate(path)
        )
        for path in paths
    )


def _split(part: str) -> tuple[str, int]:
    """Splits "dense_7" into a name and a number, 0 where there is none."""
    base, _, number = part.rpartition("_")
    return (base, int(number)) if base and number.isdecimal() else (part, 0)


def default_names(model: tf.keras.Model) -> frozenset[str]:
    """Lists what Keras calls a model's layers where they have no name.

    Args:
      model: A model that has been built.
    """
    classes = {type(each).__name__ for each in compat.all_layers(model)}
    names = {_snake_case(name) for name in {*classes, type(model).__name__}}
    names |= {"model", "sequential"}
    return frozenset(
        f"{way}{name}"
        for name in names
        for way in ("", "forward_", "backward_")
    )


def _snake_case(name: str) -> str:
    """Spells a class's name as Keras does.

    >>> _snake_case("MultiHeadAttention"), _snake_case("GRUCell")
    ('multi_head_attention', 'gru_cell')
    """
    words = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def names(model: tf.keras.Model) -> dict[str, tuple[str, ...]]:
    """Names the weights of a model that travel.

    Args:
      model: A model that has been built.

    Returns:
      "trainable" and "non_trainable" -> names in the order of
      `weight_groups(model).sent`.
    """
    found = names_by_group(model)
    return {group: found[group] for group in ("trainable", "non_trainable")}


def names_by_group(model: tf.keras.Model) -> dict[str, tuple[str, ...]]:
    """Names all weights of a model; a name does not say which are frozen.

    Args:
      model: A model that has been built.

    Returns:
      "trainable", "non_trainable" and "frozen" -> names in the order of
      `weight_groups(model)`.
    """
    groups = weight_groups(model)._asdict()
    found = iter(
        numbered_anew(
            [each.name for group in groups.values() for each in group],
            default_names(model),
        )
    )
    return {
        group: tuple(itertools.islice(found, len(variables)))
        for group, variables in groups.items()
    }


@dataclasses.dataclass(frozen=True)
class Beginning:
    """Holds the values that weights of a model begin with.

    Attributes:
      values: Name, as in `names` -> numbers, of each weight with a match.
      sha256: The SHA-256 of all that was stored, names and numbers.
      words: Which weights have a match and which not, in a line or two.
    """

    values: Mapping[str, Array]
    sha256: str
    words: str


def match(
    model: tf.keras.Model,
    stored: Mapping[str, Array],
    place: str,
    leave_out: str = "",
) -> Beginning:
    """Finds a stored value for each weight of a model that travels.

    A weight is matched with the stored one of its name, or else with the only
    one whose path ends with its own, or the other way round: a model within
    another may have the other's name before its own.

    Args:
      model: A model that has been built.
      stored: Name -> numbers, as `stored_weights.read` returns them.
      place: Where they were read, for the words and the error.
      leave_out: What the names of weights begin with that are not to be matched
        for they have their values from elsewhere; empty for none.

    Raises:
      ConfigError: If there is none for any weight.
    """
    known = numbered_anew(list(stored), default_names(model))
    values = dict(sorted(zip(known, stored.values())))
    sent = weight_groups(model).sent
    found = names(model)
    shapes = [
        (name, tuple(each.shape))
        for kind, of_kind in found.items()
        for name, each in zip(of_kind, getattr(sent, kind))
        if not (leave_out and name.startswith(leave_out))
    ]
    sources = _sources([name for name, _ in shapes], list(values))
    begun, missing, other = {}, [], []
    for name, shape in shapes:
        source = sources.get(name)
        if source is None:
            missing.append(name)
        elif values[source].shape != shape:
            there = list(values[source].shape)
            other.append(f"{name} {list(shape)} (there {there})")
        else:
            begun[name] = values[source]
    if not begun and not leave_out:
        raise errors.ConfigError(
            f"--init_from={place} has none of the model's {len(shapes)} "
            f"weights: the model has {_with_shapes(shapes)}, and that has "
            f"{_with_shapes([(name, values[name].shape) for name in values])}; "
            "name a model with the same layers, or give layers the same names."
        )
    begun_numbers = sum(array.size for array in begun.values())
    numbers = sum(int(np.prod(shape)) for _, shape in shapes)
    which = " beside its base" if leave_out else ""
    words = [
        f"{len(begun)} of {len(shapes)} weights of the model{which} "
        f"({begun_numbers:,} of {numbers:,} numbers) begin with those of "
        f"{place}."
    ]
    if other:
        words.append(
            f"Of another shape there, and drawn: {listed(other, _SHOWN)}."
        )
    if missing:
        words.append(f"Not there, and drawn: {listed(missing, _SHOWN)}.")
    return Beginning(begun, digest(values), " ".join(words))


def _with_shapes(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    return listed([f"{name} {list(shape)}" for name, shape in shapes], _SHOWN)


def _sources(
    needed: Sequence[str], known: Sequence[str]
) -> dict[str, Optional[str]]:
    """Finds the stored name of each weight; `None` where two would do."""
    counts = collections.Counter(needed)
    sources: dict[str, Optional[str]] = {
        name: name if counts[name] == 1 else None
        for name in needed
        if name in known or counts[name] > 1
    }
    left = [name for name in needed if name not in sources]
    free = [name for name in known if name not in sources]
    pairs = [
        (name, other)
        for name in left
        for other in free
        if name.endswith(f"/{other}") or other.endswith(f"/{name}")
    ]
    for name, other in pairs:
        alone = [pair for pair in pairs if name in pair or other in pair]
        if len(alone) == 1:
            sources[name] = other
    return sources
