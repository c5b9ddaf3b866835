"""An LSTM cell whose gates see the cell's state."""

from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("tff_pipeline")
class PeepholeLSTMCell(tf.keras.layers.Layer):
    """An LSTM cell with peephole connections, for `tf.keras.layers.RNN`.

    Gers, Schraudolph and Schmidhuber 2002, "Learning Precise Timing with LSTM
    Recurrent Networks": the input and forget gates also take the old state of
    their own cell, the output gate the new one, each times a weight. Keras has
    had no such cell since 2.13.
    """

    def __init__(self, units: int, **kwargs: Any):
        """Makes a cell; its weights start as in `recurrent.two_lstms`.

        Args:
          units: The number of cells.
          **kwargs: Arguments of `tf.keras.layers.Layer`.
        """
        super().__init__(**kwargs)
        self.units = self.output_size = units
        self.state_size = [units, units]

    def build(self, input_shape: Sequence[Optional[int]]) -> None:
        """Makes the weights; the order of gates is input, forget, new, output.

        Args:
          input_shape: The shape of a step's inputs, [batch, features].
        """
        gates = 4 * self.units
        self.kernel = self.add_weight(
            "kernel", [input_shape[-1], gates], initializer="he_normal"
        )
        self.recurrent_kernel = self.add_weight(
            "recurrent_kernel", [self.units, gates], initializer="orthogonal"
        )
        self.bias = self.add_weight("bias", [gates], initializer=_forget_at_one)
        self.peepholes = self.add_weight(
            "peepholes", [3, self.units], initializer="zeros"
        )
        super().build(input_shape)

    def call(
        self, inputs: tf.Tensor, states: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Computes one step.

        Args:
          inputs: float32 [batch, features].
          states: The hidden values and the cells, float32 [batch, units] each.

        Returns:
          The hidden values, and a list of hidden values and cells: the next
          states.
        """
        hidden, cells = states
        enter, forget, new, leave = tf.split(
            inputs @ self.kernel + hidden @ self.recurrent_kernel + self.bias,
            4,
            axis=-1,
        )
        to_enter, to_forget, to_leave = tf.unstack(self.peepholes)
        cells = tf.sigmoid(forget + to_forget * cells) * cells + tf.sigmoid(
            enter + to_enter * cells
        ) * tf.tanh(new)
        hidden = tf.sigmoid(leave + to_leave * cells) * tf.tanh(cells)
        return hidden, [hidden, cells]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal layer."""
        return {**super().get_config(), "units": self.units}


def _forget_at_one(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
    """Returns biases of 0, but 1 for the forget gates, as in Keras's LSTM."""
    units = shape[0] // 4
    return tf.concat(
        [
            tf.zeros([units], dtype),
            tf.ones([units], dtype),
            tf.zeros([2 * units], dtype),
        ],
        axis=0,
    )
