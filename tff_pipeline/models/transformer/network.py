"""Computes a transformer, with its adapters, as one Keras layer."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy.typing as npt
import tensorflow as tf

from tff_pipeline.models.transformer import attention
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import LAYER
from tff_pipeline.models.transformer.block import Block
from tff_pipeline.models.transformer.lora import Lora, adapted
from tff_pipeline.runtime import compat

Array = npt.NDArray[Any]
# Keys and values of the tokens so far, of every block: [batch, kv_heads,
# length, head_width] each.
Cache = Sequence[tuple[tf.Tensor, tf.Tensor]]


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
            drawn.
          lora: The settings of low-rank adaptation; `None` for none.
          compute_dtype: "float32" or "bfloat16".
          recompute: Whether the backward pass computes each block anew, in
            place of keeping what it saw: less memory, a third more time.
          padding: The id of places without a token, which an encoder's tokens
            do not see.
        """
        super().__init__(name=LAYER)
        self.architecture = architecture
        self.lora = lora
        self._trains = trains
        self._dtypes = weight_dtypes or {}
        self._initial = initial or {}
        self.products = tf.as_dtype(compute_dtype)
        self._recompute = recompute
        self._padding = padding
        self._variables: dict[str, tf.Variable] = {}
        # The factors A that are drawn and never travel. They are no weights,
        # and hidden from Keras, which would keep track of a dictionary.
        self._drawn: Mapping[str, Array] = types.MappingProxyType({})
        self._dropout = {}
        if lora is not None and lora.dropout:
            self._dropout = {
                name: tf.keras.layers.Dropout(lora.dropout)
                for name in adapted(architecture, lora.targets)
            }

    def build(self, input_shape: Any) -> None:
        """Makes the weights.

        Args:
          input_shape: Not used.
        """
        del input_shape
        for name, shape in self.architecture.weight_shapes().items():
            trains = self._trains(name)
            self._variables[name] = self.add_weight(
                name,
                shape,
                self._dtypes.get(name, tf.float32),
                initializer=self._initializer(name, shape),
                trainable=trains,
            )
        drawn = {}
        if self.lora is not None:
            hit = adapted(self.architecture, self.lora.targets)
            for name, shape in hit.items():
                a, b = self.lora.factors(name, shape)
                if self.lora.train == "b":
                    drawn[name] = a
                else:
                    self._add_factor(f"{name}.lora_a", a)
                self._add_factor(f"{name}.lora_b", b)
        self._drawn = types.MappingProxyType(drawn)
        super().build([])

    def _add_factor(self, name: str, value: Any) -> None:
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
        return initializers.RandomNormal(stddev=shape[1] ** -0.5)

    @property
    def lora_pairs(self) -> dict[str, tuple[Optional[str], str]]:
        """Matrix -> the names of the weights A, `None` if drawn, and B."""
        names = [
            name.removesuffix(".lora_b")
            for name in self._variables
            if name.endswith(".lora_b")
        ]
        return {
            name: (
                None if name in self._drawn else f"{name}.lora_a",
                f"{name}.lora_b",
            )
            for name in names
        }

    def lora_factors(
        self, name: str, read: Callable[[str], tf.Tensor]
    ) -> Optional[tuple[Any, tf.Tensor]]:
        """Returns A and B of a matrix, or `None` if it is not adapted.

        Args:
          name: The name of the matrix.
          read: Reads a trained weight by name.
        """
        if f"{name}.lora_b" not in self._variables:
            return None
        a = self._drawn.get(name)
        return (
            read(f"{name}.lora_a") if a is None else a,
            read(f"{name}.lora_b"),
        )

    def trained_in(self, block: str) -> dict[str, tf.Variable]:
        """Returns the trained weights of a block by name.

        Args:
          block: The block's name, such as "blocks.0".
        """
        return {
            name: variable
            for name, variable in self._variables.items()
            if name.startswith(f"{block}.") and variable.trainable
        }

    def root_mean_square_norm(self, hidden: tf.Tensor) -> tf.Tensor:
        """Divides vectors by their root mean square (Zhang, Sennrich 2019).

        Args:
          hidden: float32 [..., width].
        """
        squares = tf.reduce_mean(tf.square(hidden), -1, keepdims=True)
        epsilon = self.architecture.norm_epsilon
        return hidden * tf.math.rsqrt(squares + epsilon)

    def factors(self, name: str) -> tuple[Any, tf.Variable]:
        """Returns A and B of an adapted matrix.

        Args:
          name: A key of `lora_pairs`.

        Returns:
          (a variable or array [rank, in], a variable [out, rank]).
        """
        a = self._drawn.get(name)
        if a is None:
            a = self._variables[f"{name}.lora_a"]
        return a, self._variables[f"{name}.lora_b"]

    def weight(self, name: str) -> tf.Variable:
        """Returns the variable of a weight.

        Args:
          name: The name, as in `Architecture.weight_shapes`, or that with
            ".lora_a" or ".lora_b" in place of ".kernel".
        """
        return self._variables[name]

    @property
    def table(self) -> tf.Tensor:
        """The matrix of the logits, [ids, width], of the products' dtype."""
        tied = self.architecture.tied_head
        name = "embeddings.tokens" if tied else "head.kernel"
        return tf.cast(
            tf.convert_to_tensor(self._variables[name]), self.products
        )

    @property
    def table_trains(self) -> bool:
        """True if the matrix of the logits is trained."""
        tied = self.architecture.tied_head
        name = "embeddings.tokens" if tied else "head.kernel"
        return self._trains(name)

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
        hidden, _ = self._through(
            tokens, tf.range(length), mask, None, None, training
        )
        return hidden

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
        return self._through(tokens, positions, mask, cache, positions, False)

    def empty_cache(self, batch: tf.Tensor, length: tf.Tensor) -> Cache:
        """Makes a cache without a token.

        Args:
          batch: The number of texts, an int32 scalar.
          length: The largest number of tokens, an int32 scalar.
        """
        architecture = self.architecture
        shape = [
            batch,
            architecture.kv_heads,
            length,
            architecture.head_width,
        ]
        return [
            (tf.zeros(shape, self.products), tf.zeros(shape, self.products))
            for _ in range(architecture.layers)
        ]

    def _through(
        self,
        tokens: tf.Tensor,
        positions: tf.Tensor,
        mask: tf.Tensor,
        cache: Optional[Cache],
        places: Optional[tf.Tensor],
        training: Any,
    ) -> tuple[tf.Tensor, Cache]:
        architecture = self.architecture
        hidden = self._embedded(tokens, positions)
        angles = None
        if architecture.positions == "rotary":
            angles = attention.rotary_angles(
                # Of [batch, length]: one for all heads.
                positions if places is None else positions[:, tf.newaxis],
                architecture.head_width,
                architecture.rotary_base,
            )
        kept = []
        for number in range(architecture.layers):
            block = Block(
                self,
                number,
                mask=mask,
                angles=angles,
                dropout=self._seeds(number) if training else {},
                training=training,
            )
            if cache is not None:
                hidden, after = block.cached(hidden, cache[number], places)
                kept.append(after)
            elif self._recompute and training:
                hidden = block.recomputed(hidden)
            else:
                hidden = block(hidden)
        if architecture.kind == "decoder":
            hidden = self.norm("final_norm", hidden)
        return hidden, kept

    def _seeds(self, block: int) -> Mapping[str, tf.Tensor]:
        """Draws the seeds of a block's dropout, outside what is recomputed."""
        return {
            name: layer._random_generator.make_seed_for_stateless_op()
            for name, layer in self._dropout.items()
            if name.startswith(f"blocks.{block}.")
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
          weight: Reads weights by name, where variables are not to be read.
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
