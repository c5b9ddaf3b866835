"""Computes a transformer, with its adapters, as one Keras layer.

The weights of all blocks lie in one variable each, and the model is a loop over
its blocks: its graph is that of one block, however many there are. A block's
part of a variable is read without a copy.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.models.transformer import attention, looping
from tff_pipeline.models.transformer.architecture import (
    Architecture,
    split_name,
)
from tff_pipeline.models.transformer.base import LAYER
from tff_pipeline.models.transformer.block import Block
from tff_pipeline.models.transformer.lora import Lora, adapted
from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]
# Keys and values of the tokens so far, of all blocks: two of [layers, batch,
# kv_heads, length, head_width].
Cache = tuple[tf.Tensor, tf.Tensor]

_BLOCKS = "blocks."


class Transformer(tf.keras.layers.Layer):
    """A transformer from token ids to what its last layer sees.

    Residuals, norms, scores and losses are float32; products of matrices are of
    `compute_dtype`.
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
        recompute: bool = False,
        padding: int = 0,
    ):
        """Makes the layer; its weights are made when it is built.

        Args:
          architecture: The transformer.
          trains: Tells by a weight's name whether it is trained.
          weight_dtypes: Name -> dtype, of weights that are not float32.
          initial: Name -> the value that a weight begins with; the others are
            drawn. Names are those of `Architecture.stacked_shapes`.
          lora: The settings of low-rank adaptation; `None` for none.
          compute_dtype: "float32" or "bfloat16".
          recompute: Whether the backward pass computes each block anew, in
            place of keeping what it saw: less memory, nearly half more time.
          padding: The id of places without a token, which an encoder's tokens
            do not see.
        """
        super().__init__(name=LAYER)
        self.architecture = architecture
        self.lora = lora
        self.products = tf.as_dtype(compute_dtype)
        self._trains = trains
        self._dtypes = weight_dtypes or {}
        self._initial = initial or {}
        self._recompute = recompute
        self._padding = padding
        self._variables: dict[str, tf.Variable] = {}
        # The factors A that are drawn and never travel. They are no weights,
        # and hidden from Keras, which would keep track of a dictionary.
        self._drawn: Mapping[str, Array] = types.MappingProxyType({})
        # Matrix, such as "attention.query" -> the blocks where it is adapted.
        hit: dict[str, list[int]] = {}
        if lora is not None:
            for name in adapted(architecture, lora.targets):
                block, part = split_name(name)
                hit.setdefault(part[len(_BLOCKS) :], []).append(block or 0)
        self._hit: Mapping[str, Sequence[int]] = types.MappingProxyType(hit)
        self._dropout = {}
        if lora is not None and lora.dropout:
            self._dropout = {
                part: tf.keras.layers.Dropout(lora.dropout) for part in hit
            }

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
                lora.factors(f"{_BLOCKS}{block}.{part}", shape)
                for block in blocks
            ]
            a, b = (np.stack(each) for each in zip(*factors))
            if lora.train == "b":
                drawn[part] = a
            else:
                self._add_factor(f"{_BLOCKS}{part}.lora_a", a)
            self._add_factor(f"{_BLOCKS}{part}.lora_b", b)
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
            f"{_BLOCKS}{block}.{part}"
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
        part = stacked[len(_BLOCKS) :]
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

    @compat.plain
    def call(self, tokens: tf.Tensor, training: Any = False) -> tf.Tensor:
        """Computes the hidden states of all tokens.

        Args:
          tokens: Ids, int32 [batch, length].
          training: True while the model is trained.

        Returns:
          float32 [batch, length, width].
        """
        length = tf.shape(tokens)[1]
        if self.architecture.kind == "decoder":
            mask = attention.causal_mask(length)
        else:
            seen = tf.not_equal(tokens, self._padding)
            mask = attention.visible_mask(seen)[:, tf.newaxis, tf.newaxis]
        positions = tf.range(length)
        hidden = self._embedded(tokens, positions)
        seeds = self._seeds() if training else {}
        angles = self._angles(positions)
        trained = {
            name[len(_BLOCKS) :]: tf.convert_to_tensor(variable)
            for name, variable in self._variables.items()
            if name.startswith(_BLOCKS) and variable.trainable
        }

        def block(
            number: tf.Tensor,
            hidden: tf.Tensor,
            values: Mapping[str, tf.Tensor],
        ) -> tf.Tensor:
            return Block(
                self,
                self._reader(number, values),
                mask=mask,
                angles=angles,
                dropout={part: seed[number] for part, seed in seeds.items()},
            )(hidden)

        rows = {name: self._rows(name) for name in trained}
        loop = looping.kept
        if training and self._recompute:
            loop = looping.recomputed
        hidden = loop(block, hidden, trained, rows, self.architecture.layers)
        if self.architecture.kind == "decoder":
            hidden = self.norm("final_norm", hidden)
        return hidden

    def _rows(self, name: str) -> Optional[Sequence[int]]:
        """Returns the place of each block in a stack; `None` for its own.

        Of factors of some blocks it is 0 for the other blocks.
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

    def _reader(
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
            rows = self._rows(name)
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
        return tf.convert_to_tensor(self._variables[_BLOCKS + name])

    def go_on(
        self,
        tokens: tf.Tensor,
        positions: tf.Tensor,
        cache: Cache,
        mask: tf.Tensor,
    ) -> tuple[tf.Tensor, Cache]:
        """Computes tokens that follow others, whose keys and values are kept.

        Args:
          tokens: Ids, int32 [batch, length].
          positions: Their positions, int32 [batch, length].
          cache: The keys and values, of which those at `positions` are
            written.
          mask: See `attention.attend`; [batch, 1, length, cached].

        Returns:
          (float32 [batch, length, width], the cache with these tokens).
        """
        hidden = self._embedded(tokens, positions)
        # Of [batch, length]: one for all heads.
        angles = self._angles(positions[:, tf.newaxis])
        layers = self.architecture.layers

        def block(number: tf.Tensor, hidden: Any, *arrays: Any) -> Any:
            made = Block(
                self,
                self._reader(number, {}),
                mask=mask,
                angles=angles,
                dropout={},
            )
            before = tuple(part[number] for part in cache)
            hidden, after = made.cached(hidden, before, positions)
            return (
                number + 1,
                hidden,
                *(a.write(number, part) for a, part in zip(arrays, after)),
            )

        _, hidden, *arrays = tf.while_loop(
            lambda number, *_: number < layers,
            block,
            (
                tf.constant(0),
                hidden,
                *(tf.TensorArray(self.products, layers) for _ in range(2)),
            ),
            parallel_iterations=1,
        )
        if self.architecture.kind == "decoder":
            hidden = self.norm("final_norm", hidden)
        keys, values = (
            tf.ensure_shape(array.stack(), part.shape)
            for array, part in zip(arrays, cache)
        )
        return hidden, (keys, values)

    def empty_cache(self, batch: tf.Tensor, length: tf.Tensor) -> Cache:
        """Makes a cache without a token.

        Args:
          batch: The number of texts, an int32 scalar.
          length: The largest number of tokens, an int32 scalar.
        """
        architecture = self.architecture
        shape = [
            architecture.layers,
            batch,
            architecture.kv_heads,
            length,
            architecture.head_width,
        ]
        return tf.zeros(shape, self.products), tf.zeros(shape, self.products)

    def _angles(self, positions: tf.Tensor) -> Any:
        if self.architecture.positions != "rotary":
            return None
        return attention.rotary_angles(
            positions,
            self.architecture.head_width,
            self.architecture.rotary_base,
        )

    def _seeds(self) -> dict[str, tf.Tensor]:
        """Draws the seeds of dropout, [layers, 2], once for both passes."""
        numbers = tf.range(self.architecture.layers, dtype=tf.int64)
        fold_in = tf.random.experimental.stateless_fold_in
        return {
            part: tf.map_fn(
                lambda number, seed=seed: fold_in(seed, number), numbers
            )
            for part, seed in (
                (part, compat.next_seed(layer))
                for part, layer in self._dropout.items()
            )
        }

    def _embedded(self, tokens: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        # Read as a whole first; see `models.frozen`.
        def rows(name: str, ids: tf.Tensor) -> tf.Tensor:
            table = tf.convert_to_tensor(self._variables[name])
            return tf.cast(tf.gather(table, ids), tf.float32)

        hidden = rows("embeddings.tokens", tokens)
        if self.architecture.positions == "learned":
            hidden += rows("embeddings.positions", positions)
        if self.architecture.token_types:
            # One text has the first type alone.
            hidden += rows("embeddings.types", tf.zeros([], tf.int32))
        if self.architecture.kind == "encoder":
            hidden = self.norm("embeddings.norm", hidden)
        if self.architecture.normalized_embeddings:
            hidden = self.root_mean_square_norm(hidden)
        return hidden

    def norm(
        self,
        name: str,
        hidden: tf.Tensor,
        weight: Optional[Callable[[str], tf.Tensor]] = None,
    ) -> tf.Tensor:
        """Normalizes the last axis.

        Args:
          name: The norm's name, such as "final_norm".
          hidden: float32 [..., width].
          weight: Reads weights by name, where it is a block's norm.
        """
        read = weight or self._variables.__getitem__
        scale = tf.cast(read(f"{name}.scale"), tf.float32)
        if self.architecture.norm == "rms":
            return self.root_mean_square_norm(hidden) * scale
        centered = hidden - tf.reduce_mean(hidden, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centered), -1, keepdims=True)
        bias = tf.cast(read(f"{name}.bias"), tf.float32)
        epsilon = self.architecture.norm_epsilon
        return centered * tf.math.rsqrt(variance + epsilon) * scale + bias

    def root_mean_square_norm(self, hidden: tf.Tensor) -> tf.Tensor:
        """Divides vectors by their root mean square (Zhang, Sennrich 2019).

        Args:
          hidden: float32 [..., width].
        """
        squares = tf.reduce_mean(tf.square(hidden), -1, keepdims=True)
        epsilon = self.architecture.norm_epsilon
        return hidden * tf.math.rsqrt(squares + epsilon)
