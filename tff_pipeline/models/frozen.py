"""Freezes weights of a model, which are mapped from files and never sent.

A model that adapts a large base trains few of its weights. The others are the
same on every machine and in every round, so they need not travel: they lie in
a folder that `store` writes once, and a model function marks them:

    base = frozen.load("/models/words")

    def model_fn():
        with frozen.using(base):
            return tf.keras.Sequential([
                tf.keras.Input([8], dtype=tf.int32),
                tf.keras.layers.Embedding(20_000, 64, name="words"),
                tf.keras.layers.GlobalAveragePooling1D(),
                tf.keras.layers.Dense(2),
            ])

Here the folder holds one array, "words/embeddings": a variable is found by the
name that Keras gives it, so layers with frozen weights need a `name`. They are
ordinary variables of Keras that evaluation and export see. But their memory is
the file's, mapped once more by every graph and thread and held once by the
operating system, and a graph of TFF holds the file's path in their place.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models.frozen_files import (
    MANIFEST,
    FrozenArray,
    FrozenWeights,
    load,
    store,
)

__all__ = [
    "MANIFEST",
    "FrozenArray",
    "FrozenWeights",
    "load",
    "store",
    "using",
    "weights_of",
]


@contextlib.contextmanager
def using(weights: FrozenWeights) -> Iterator[None]:
    """Freezes the variables that a model makes within the block, by name.

    Variables of other names are made as always. Several blocks may be nested,
    each with weights of its own.

    Args:
      weights: The stored values; each must be one variable of the model. The
        model has to make its variables within the block: call a subclassed one
        there.

    Raises:
      ConfigError: If a variable has another shape or dtype than the array of
        its name, two variables have the same name, or an array is no variable
        of the model.
    """
    others: list[str] = []
    frozen: set[str] = set()

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        scope = tf.get_current_name_scope()
        name = "/".join(filter(None, (scope, arguments.get("name"))))
        if name not in weights.arrays:
            others.append(name)
            return next_creator(**arguments)
        if name in frozen:
            raise errors.ConfigError(
                f"The model makes two variables {name}, and {weights.folder} "
                "holds one; give its layers different names."
            )
        frozen.add(name)
        return frozen_variable(weights, name, next_creator, arguments)

    with tf.variable_creator_scope(create):
        yield
    missing = [name for name in weights.arrays if name not in frozen]
    if missing:
        raise errors.ConfigError(
            f"{weights.folder} holds {missing[0]}"
            + (f" and {len(missing) - 1} more" if missing[1:] else "")
            + " that the model did not make within frozen.using; it made "
            f"{', '.join(filter(None, others)) or 'no others'}. Name its "
            "layers as in the stored weights, and build it there."
        )


def frozen_variable(
    weights: FrozenWeights,
    name: str,
    next_creator: Callable[..., Any],
    arguments: Mapping[str, Any],
) -> Any:
    """Makes a variable whose memory is the file of its array.

    Args:
      weights: The stored values.
      name: The name of the variable's array.
      next_creator: What a creator of `tf.variable_creator_scope` is given to
        make the variable with.
      arguments: The arguments for it.

    Returns:
      The variable; updates of it in place raise `ConfigError`.

    Raises:
      ConfigError: If it has another shape or dtype than its array.
    """
    array = weights.arrays[name]
    # Variables that are no layer's may leave these to their value.
    shape = arguments.get("shape")
    shape = array.shape if shape is None else tuple(shape)
    dtype = tf.as_dtype(arguments.get("dtype") or array.dtype)
    if (shape, dtype) != (array.shape, array.dtype):
        raise errors.ConfigError(
            f"The model's variable {name} is {dtype.name} of shape {shape}, "
            f"but {weights.folder} holds {array.dtype.name} of shape "
            f"{array.shape}; use the weights that the model was made for."
        )
    # Where variables begin, and not within the function that makes one.
    with tf.init_scope():
        value = array.mapped()
    variable = next_creator(**{**arguments, "initial_value": value})
    # An update in place writes into memory that is read only: no exception
    # would come of it, but the process's end.
    for method in dir(variable):
        if method.startswith(("assign_", "scatter_")):
            setattr(variable, method, functools.partial(refuse_update, name))
    variable.sparse_read = functools.partial(_rows, variable)
    variable.frozen_weights = weights
    return variable


def _rows(
    variable: tf.Variable, indices: tf.Tensor, name: Optional[str] = None
) -> tf.Tensor:
    """Gathers rows, as an embedding does, without a copy of the variable.

    TensorFlow's own way makes a copy at the first time, and at each later time
    that something reads all of it.
    """
    return tf.gather(tf.convert_to_tensor(variable), indices, name=name)


def refuse_update(name: str, *_: Any, **__: Any) -> None:
    """Refuses a variable's update, in its place.

    Args:
      name: The name of the variable's array.
      *_: What the update was to be.
      **__: The same.

    Raises:
      ConfigError: Always.
    """
    raise errors.ConfigError(
        f"The model updates its variable {name}, which is frozen; leave it out "
        "of the frozen weights."
    )


def weights_of(variable: tf.Variable) -> Optional[FrozenWeights]:
    """Returns the weights that a variable was frozen with, else `None`.

    Args:
      variable: A variable of any kind, one of Keras's mixed precision too.
    """
    return getattr(variable, "frozen_weights", None)
