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
        window = self._window
        ids = self._encode(prompt)[:, -window:]
        counts = tf.cast(ids.row_lengths(), tf.int32)
        ends = tf.constant(self._ends, tf.int32)

        def step(
            place: tf.Tensor,
            shown: tf.Tensor,
            counts: tf.Tensor,
            ended: tf.Tensor,
            text: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            token = self._next_token(
                shown, counts, temperature, tf.stack([seed, place])
            )
            ended |= tf.reduce_any(token[:, tf.newaxis] == ends, axis=1)
            text = tf.where(ended, text, self._longer(text, token))
            return place + 1, *_appended(shown, counts, token), ended, text

        *_, text = tf.while_loop(
            lambda place, shown, counts, ended, text: (
                (place < length) & ~tf.reduce_all(ended)
            ),
            step,
            (
                tf.constant(0),
                ids.to_tensor(PADDING, shape=[None, window]),
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

    def _next_token(
        self,
        shown: tf.Tensor,
        counts: tf.Tensor,
        temperature: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the next token of each text, int32 [batch]."""
        barred = tf.constant(
            [
                0.0 if symbol or place in self._ends else -np.inf
                for place, symbol in enumerate(self._symbols)
            ]
        )
        logits = self._model(shown, training=False)
        logits = tf.gather(logits, counts - 1, batch_dims=1) + barred
        drawn = tf.random.stateless_categorical(
            logits / tf.maximum(temperature, 1e-6), 1, seed, tf.int32
        )[:, 0]
        likeliest = tf.argmax(logits, -1, tf.int32)
        return tf.where(temperature > 0, drawn, likeliest)

    def _longer(self, text: tf.Tensor, token: tf.Tensor) -> tf.Tensor:
        """Returns texts with one more token, strings [batch]."""
        symbol = tf.gather(tf.constant(self._symbols), token)
        return tf.where(
            text == "",
            symbol,
            tf.strings.join([text, symbol], self._separator),
        )


def _appended(
    shown: tf.Tensor, counts: tf.Tensor, token: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the window with one more token, and how many tokens it holds."""
    window = shown.shape[1]
    # A full window loses its first token.
    moved = tf.concat([shown[:, 1:], shown[:, :1] * 0], axis=1)
    full = counts == window
    shown = tf.where(full[:, tf.newaxis], moved, shown)
    counts = tf.minimum(counts + 1, window)
    here = tf.range(window) == counts[:, tf.newaxis] - 1
    return tf.where(here, token[:, tf.newaxis], shown), counts
