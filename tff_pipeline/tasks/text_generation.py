"""Text that continues a prompt, by a model of next tokens, in its graph."""

from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from tff_pipeline.datasets.sequences import PADDING
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.text_serving import Encode


class Generator(tf.keras.layers.Layer):
    """Continues texts, one token at a time."""

    def __init__(
        self,
        model: tf.keras.Model,
        encode: Encode,
        window: int,
        symbols: Sequence[bytes],
        separator: str = "",
        ends: Collection[int] = (),
    ):
        """Makes the layer.

        Args:
          model: From ids [batch, length] to logits of what comes next, [batch,
            ids].
          encode: Turns texts into ids.
          window: The number of last ids that the model is shown, as in
            training.
          symbols: The text of each id; ids of "" are never drawn.
          separator: The text between two symbols.
          ends: Ids after which a text has ended.
        """
        super().__init__(name="generator")
        self._model = model
        self._encode = encode
        self._window = window
        self._symbols = list(symbols)
        self._separator = separator
        self._ends = list(ends)

    @compat.plain
    def call(
        self,
        prompt: tf.Tensor,
        length: tf.Tensor,
        temperature: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the prompts with their continuations, strings [batch].

        Args:
          prompt: Strings [batch].
          length: The greatest number of tokens to add, int32.
          temperature: The temperature of drawing tokens, float32; 0 takes the
            likeliest.
          seed: int32; the same seed gives the same texts.
        """
        window, ends = self._window, tf.constant(self._ends, tf.int32)
        symbols = tf.constant(self._symbols)
        barred = tf.constant(
            [
                0.0 if symbol or place in self._ends else -np.inf
                for place, symbol in enumerate(self._symbols)
            ]
        )
        ids = self._encode(prompt)[:, -window:]
        counts = tf.cast(ids.row_lengths(), tf.int32)
        shown = ids.to_tensor(PADDING, shape=[None, window])

        def step(
            place: tf.Tensor,
            shown: tf.Tensor,
            counts: tf.Tensor,
            ended: tf.Tensor,
            text: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            logits = self._model(shown, training=False)
            logits = tf.gather(logits, counts - 1, batch_dims=1) + barred
            drawn = tf.random.stateless_categorical(
                logits / tf.maximum(temperature, 1e-6),
                1,
                tf.stack([seed, place]),
                tf.int32,
            )[:, 0]
            likeliest = tf.argmax(logits, -1, tf.int32)
            token = tf.where(temperature > 0, drawn, likeliest)
            ended |= tf.reduce_any(token[:, tf.newaxis] == ends, axis=1)
            symbol = tf.gather(symbols, token)
            longer = tf.where(
                text == "",
                symbol,
                tf.strings.join([text, symbol], self._separator),
            )
            # A full window loses its first token.
            moved = tf.concat([shown[:, 1:], shown[:, :1] * 0], axis=1)
            full = counts == window
            shown = tf.where(full[:, tf.newaxis], moved, shown)
            counts = tf.minimum(counts + 1, window)
            here = tf.range(window) == counts[:, tf.newaxis] - 1
            shown = tf.where(here, token[:, tf.newaxis], shown)
            return (
                place + 1,
                shown,
                counts,
                ended,
                tf.where(ended, text, longer),
            )

        *_, text = tf.while_loop(
            lambda place, shown, counts, ended, text: (
                (place < length) & ~tf.reduce_all(ended)
            ),
            step,
            (
                tf.constant(0),
                shown,
                counts,
                tf.zeros_like(counts, tf.bool),
                prompt,
            ),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, window]),
                *[tf.TensorShape([None])] * 3,
            ),
        )
        return text
