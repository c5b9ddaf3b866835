"""Holds a transformer's weights: one variable for all blocks of each matrix.

A block's part of a variable is read without a copy.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.models.transformer import looping
from tff_pipeline.models.transformer.architecture import (
    Architecture,
    split_name,
)
from tff_pipeline.models.transformer.base import LAYER
from tff_pipeline.models.transformer.lora import Lora, adapted

Array = npt.NDArray[Any]

BLOCKS = "blocks."


class StackedWeights(tf.keras.layers.Layer):
    """The weights of a transformer and its adapters, as a layer's variables.

    Attributes:
      architecture: The transformer.
      lora: The settings of low-rank adaptation; `None` for none.
      products: The dtype of the products of matrices.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        trains: Callable[[str], bool] = lambda name: True,
        weight_dtypes: Optional[Mapping[str, tf.DType]] = None,
        initial: Optional[Mapping[str, Callable[[], tf.Tensor]]] = None,
        lora: Optional[Lora] = None,
        compute_dtype: str = "float32",
    ):
        """Makes the layer; its weights are made when it is built.

        Args:
          architecture: The transformer.
          trains: Tells by a weight's name whether it is trained.
          weight_dtypes: Name -> dtype, of weights that are not float32.
          initial: Name -> the value that a weight begins with; the others are
            drawn. Names are those of `Architecture.stacked_shapes`.
          lora: The settings of low-rank adaptation; `None` for none.
          compute_dtype: "float32" or "bfloat16", of the products of matrices.
        """
        super().__init__(name=LAYER)
        self.architecture = architecture
        self.lora = lora
        self.products = tf.as_dtype(compute_dtype)
        self._trains = trains
        self._dtypes = weight_dtypes or {}
        self._initial = initial or {}
        self._variables: dict[str, tf.Variable] = {}
        # The factors A that are drawn and never travel. They are no weights,
        # and hidden from Keras, which would keep track of a dictionary.
        self._drawn: Mapping[str, Array] = types.MappingProxyType({})
        # Matrix, such as "attention.query" -> the blocks where it is adapted.
        hit: dict[str, list[int]] = {}
        if lora is not None:
            for name in adapted(architecture, lora.targets):
                block, part = split_name(name)
                hit.setdefault(part[len(BLOCKS) :], []).append(block or 0)
        self._hit: Mapping[str, Sequence[int]] = types.MappingProxyType(hit)

    def build(self, input_shape: Any) -> None:
        """Makes the weights.

        Args:
          input_shape: Not used.
        """
        del input_shape
        for name, shape in self.architecture.stacked_shapes().items():
            self._variables[name] = self.add_weight(
                name,
                shape,
                self._dtypes.get(name, tf.float32),
                initializer=self._initializer(name, shape),
                trainable=self._trains(name),
            )
        if self.lora is not None:
            self._add_factors(self.lora)
        super().build([])

    def _add_factors(self, lora: Lora) -> None:
        drawn = {}
        for part, blocks in self._hit.items():
            shape = self.architecture.matrices[part]
            factors = [
                lora.factors(f"{BLOCKS}{block}.{part}", shape)
                for block in blocks
            ]
            a, b = (np.stack(each) for each in zip(*factors))
            if lora.train == "b":
                drawn[part] = a
            else:
                self._add_factor(f"{BLOCKS}{part}.lora_a", a)
            self._add_factor(f"{BLOCKS}{part}.lora_b", b)
        self._drawn = types.MappingProxyType(drawn)

    def _add_factor(self, name: str, value: Array) -> None:
        self._variables[name] = self.add_weight(
            name,
            value.shape,
            tf.float32,
            initializer=tf.keras.initializers.Constant(value),
        )

    def _initializer(self, name: str, shape: Sequence[int]) -> Any:
        if name in self._initial:
            value = self._initial[name]
            return lambda shape, dtype=None, **_: tf.cast(value(), dtype)
        initializers = tf.keras.initializers
        if name.endswith(".scale"):
            return "ones"
        if name.endswith(".bias"):
            return "zeros"
        # A block begins as the identity (Zhang et al. 2019, "Fixup").
        if name.endswith(
            ("attention.output.kernel", "feed_forward.down.kernel")
        ):
            return "zeros"
        if name.startswith("embeddings"):
            return initializers.RandomNormal(stddev=0.02)
        return initializers.RandomNormal(stddev=shape[-1] ** -0.5)

    def is_adapted(self, part: str) -> bool:
        """Tells whether a matrix has factors in any block.

        Args:
          part: The matrix, such as "attention.query".
        """
        return part in self._hit

    @property
    def adapted_names(self) -> list[str]:
        """The names of adapted matrices, such as "blocks.0.attention.query"."""
        return [
            f"{BLOCKS}{block}.{part}"
            for part, blocks in self._hit.items()
            for block in blocks
        ]

    def factors(self, name: str) -> tuple[Array, Array]:
        """Returns the factors of an adapted matrix.

        Args:
          name: One of `adapted_names`.

        Returns:
          (A, B), float32 [rank, in] and [out, rank].
        """
        block, stacked = split_name(name)
        part = stacked[len(BLOCKS) :]
        row = self._hit[part].index(block or 0)
        a = self._drawn.get(part)
        if a is None:
            a = self._variables[f"{stacked}.lora_a"].numpy()
        return a[row], self._variables[f"{stacked}.lora_b"].numpy()[row]

    def numbers(self, name: str) -> Array:
        """Returns the numbers of a weight.

        Args:
          name: Its name, as in `Architecture.weight_shapes`.
        """
        block, stacked = split_name(name)
        values = tf.convert_to_tensor(self._variables[stacked])
        return (values if block is None else values[block]).numpy()

    @property
    def table(self) -> tf.Tensor:
        """The matrix of the logits, [ids, width], of the products' dtype."""
        return tf.cast(
            tf.convert_to_tensor(self._variables[self._table_name]),
            self.products,
        )

    @property
    def table_trains(self) -> bool:
        """True if the matrix of the logits is trained."""
        return self._trains(self._table_name)

    @property
    def _table_name(self) -> str:
        tied = self.architecture.tied_head
        return "embeddings.tokens" if tied else "head.kernel"

    def trained_stacks(self) -> dict[str, tf.Tensor]:
        """Reads what trains of all blocks.

        Returns:
          Name without the block, such as "attention.query.lora_a" -> [blocks,
          ...].
        """
        return {
            name[len(BLOCKS) :]: tf.convert_to_tensor(variable)
            for name, variable in self._variables.items()
            if name.startswith(BLOCKS) and variable.trainable
        }

    def rows(self, name: str) -> Optional[Sequence[int]]:
        """Returns the place of each block in a stack; `None` for its own.

        Of factors of some blocks it is 0 for the other blocks.

        Args:
          name: The weight's name in a block, such as "attention.query.lora_a".
        """
        part, _, kind = name.rpartition(".")
        if kind not in ("lora_a", "lora_b"):
            return None
        blocks = list(self._hit[part])
        if len(blocks) == self.architecture.layers:
            return None
        return [
            blocks.index(block) if block in blocks else 0
            for block in range(self.architecture.layers)
        ]

    def reader(
        self, number: tf.Tensor, values: Mapping[str, tf.Tensor]
    ) -> Callable[[str], tf.Tensor]:
        """Returns the function that reads one block's weights.

        Args:
          number: The number of the block, an int32 scalar.
          values: The block's weights that are at hand, such as those of which
            a gradient is taken; the others are read from their stacks.
        """

        def read(name: str) -> tf.Tensor:
            part, _, kind = name.rpartition(".")
            rows = self.rows(name)
            value = values.get(name)
            if value is None:
                value = self._stack(name)[looping.row(number, rows)]
            if kind == "lora_b" and rows is not None:
                # Of blocks where the matrix is not adapted.
                here = tf.reduce_any(number == tf.constant(self._hit[part]))
                value *= tf.cast(here, value.dtype)
            return value

        return read

    def _stack(self, name: str) -> tf.Tensor:
        """Returns a weight of all blocks, [blocks, ...]."""
        part, _, kind = name.rpartition(".")
        if kind == "lora_a" and part in self._drawn:
            return tf.constant(self._drawn[part])
        return tf.convert_to_tensor(self._variables[BLOCKS + name])
