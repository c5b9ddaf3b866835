"""Freezes weights of a model whose function knows nothing of it.

`frozen.using` finds a variable by the name that it has when it is made, and a
layer without a name of its own has another in every model (dense_7, dense_9).
Here a variable is found by its rank among those that the model makes under the
same name but for such numbers; its array is named as in
`initial_weights.names`.
"""

import collections
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import frozen
from tff_pipeline.models.frozen_files import FrozenWeights
from tff_pipeline.models.initial_weights import names_by_group
from tff_pipeline.models.weight_groups import weight_groups

BuildFn = Callable[[], tf.keras.Model]
# What a variable is called but for numbers -> its rank of these, from 1. Keras
# makes other variables too, some in the first model of a process alone.
Place = tuple[str, int]

_NOT_MADE = "make all layers anew, in the same order, whenever it is called"


def freeze(build_fn: BuildFn, weights: FrozenWeights) -> BuildFn:
    """Returns a function that makes the same model with frozen weights.

    What the model draws for its other weights is as without frozen ones.

    Args:
      build_fn: Makes a new model that has its variables.
      weights: The stored values; names as in `initial_weights.names`.

    Returns:
      The function.

    Raises:
      ConfigError: If an array is not one weight of the model, of its shape and
        dtype.
    """
    order = _order(build_fn, weights)
    return functools.partial(
        _build,
        build_fn,
        weights,
        {order[name]: name for name in weights.arrays},
    )


class _Counter:
    """Tells the places of a model's variables, in the order they are made."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = collections.Counter()

    def next(self, name: Optional[str]) -> Place:
        """Returns the place of the variable that is made now.

        Args:
          name: Its name within the name scope.
        """
        path = "/".join(filter(None, (tf.get_current_name_scope(), name)))
        stem = re.sub(r"_\d+(?=/|$)", "", path)
        self._counts[stem] += 1
        return stem, self._counts[stem]


def _order(build_fn: BuildFn, weights: FrozenWeights) -> dict[str, Place]:
    """Finds the places of arrays' variables among all that a model makes."""
    counter = _Counter()

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        place = counter.next(arguments.get("name"))
        variable = next_creator(**arguments)
        variable.place_in_order = place
        return variable

    with tf.variable_creator_scope(create):
        model = build_fn()
    order: dict[str, Place] = {}
    names = names_by_group(model)
    for group, variables in weight_groups(model)._asdict().items():
        for name, variable in zip(names[group], variables):
            if name not in weights.arrays:
                continue
            place = getattr(variable, "place_in_order", None)
            if place is None:
                raise errors.ConfigError(
                    f"The model's weight {name} cannot be frozen, for the "
                    f"model's function did not make it; {_NOT_MADE}."
                )
            if name in order:
                raise errors.ConfigError(
                    f"The model has two weights {name}, of which one cannot "
                    "be frozen by name; give its layers different names."
                )
            order[name] = place
    if missing := [name for name in weights.arrays if name not in order]:
        raise errors.ConfigError(
            f"{weights.folder} holds {missing[0]}, which is no weight of the "
            "model; use the weights that the model was made for."
        )
    return order


def _build(
    build_fn: BuildFn, weights: FrozenWeights, places: Mapping[Place, str]
) -> tf.keras.Model:
    """Makes a model with frozen weights.

    Args:
      build_fn: Makes the model.
      weights: The stored values.
      places: Place of a variable -> the name of its array.
    """
    counter = _Counter()
    made: list[tuple[str, Any]] = []

    def create(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        name = places.get(counter.next(arguments.get("name")))
        if name is None:
            return next_creator(**arguments)
        _draw(arguments.get("initial_value"))
        variable = frozen.frozen_variable(
            weights, name, next_creator, arguments
        )
        # A function may load weights into its model; these begin as stored.
        _on_update(variable, functools.partial(_unchanged, variable))
        made.append((name, variable))
        return variable

    with tf.variable_creator_scope(create):
        model = build_fn()
    for name, variable in made:
        _on_update(variable, functools.partial(frozen.refuse_update, name))
    names = {
        name
        for name, variable in zip(
            names_by_group(model)["frozen"], weight_groups(model).frozen
        )
        if frozen.weights_of(variable) is weights
    }
    if differing := names ^ set(weights.arrays):
        raise errors.ConfigError(
            "The model's function made other variables than before, such as "
            f"{min(differing)}, and some of them are frozen; {_NOT_MADE}."
        )
    return model


def _draw(initial_value: Any) -> None:
    """Draws what is not used, that later draws of the model are the same."""
    with tf.init_scope():
        if callable(initial_value) and tf.executing_eagerly():
            initial_value()


def _on_update(variable: Any, action: Callable[..., Any]) -> None:
    """Has an action called in the place of every update of a variable."""
    for method in dir(variable):
        if method.startswith(("assign", "scatter_")):
            setattr(variable, method, action)


def _unchanged(variable: Any, *_: Any, **__: Any) -> Any:
    return variable
