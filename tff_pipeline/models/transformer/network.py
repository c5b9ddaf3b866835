"""Computes a transformer, with its adapters, as one Keras layer.

The weights of all blocks lie in one variable each, and the model is a loop over
its blocks: its graph is that of one block, however many there are.
"""

from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline.models.transformer import attention, looping
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.block import Block
from tff_pipeline.models.transformer.stacked_weights import StackedWeights
from tff_pipeline.runtime import compat

# Keys and values of the tokens so far, of all blocks: two of [layers, batch,
# kv_heads, length, head_width].
Cache = tuple[tf.Tensor, tf.Tensor]


class Transformer(StackedWeights):
    """A transformer from token ids to what its last layer sees.

    Residuals, norms, scores and losses are float32; products of matrices are of
    `compute_dtype`.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        recompute: bool = False,
        padding: int = 0,
        **weights: Any,
    ):
        """Makes the layer; its weights are made when it is built.

        Args:
          architecture: The transformer.
          recompute: Whether the backward pass computes each block anew, in
            place of keeping what it saw: less memory, nearly half more time.
          padding: The id of places without a token, which an encoder's tokens
            do not see.
          **weights: The arguments of `StackedWeights`.
        """
        super().__init__(architecture, **weights)
        self._recompute = recompute
        self._padding = padding
        self._dropout = {}
        if self.lora is not None and self.lora.dropout:
            self._dropout = {
                part: tf.keras.layers.Dropout(self.lora.dropout)
                for part in self._hit
            }

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
        trained = self.trained_stacks()

        def block(
            number: tf.Tensor,
            hidden: tf.Tensor,
            values: Mapping[str, tf.Tensor],
        ) -> tf.Tensor:
            return Block(
                self,
                self.reader(number, values),
                mask=mask,
                angles=angles,
                dropout={part: seed[number] for part, seed in seeds.items()},
            )(hidden)

        rows = {name: self.rows(name) for name in trained}
        loop = looping.kept
        if training and self._recompute:
            loop = looping.recomputed
        hidden = loop(block, hidden, trained, rows, self.architecture.layers)
        if self.architecture.kind == "decoder":
            hidden = self.norm("final_norm", hidden)
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
        hidden = self._embedded(tokens, positions)
        # Of [batch, length]: one for all heads.
        angles = self._angles(positions[:, tf.newaxis])
        layers = self.architecture.layers

        def block(number: tf.Tensor, hidden: Any, *arrays: Any) -> Any:
            made = Block(
                self,
                self.reader(number, {}),
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
        # Read as a whole first: a gather of the variable itself copies it.
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
