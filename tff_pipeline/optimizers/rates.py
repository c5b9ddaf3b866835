"""Learning rates that change while an optimizer is used.

The optimizers of `tff.learning`, and those of `WithRate`, keep their rate in
their state, among what `get_hparams` returns.
"""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.config import OptimizerConfig
from tff_pipeline.optimizers import schedules

_KEY = tff.learning.optimizers.LEARNING_RATE_KEY


class WithRate(tff.learning.optimizers.Optimizer):
    """Base of optimizers whose state is a mapping with the learning rate."""

    def get_hparams(self, state: Any) -> Any:
        """Returns what may be changed between steps: the learning rate.

        Args:
          state: What `initialize` or `next` returned.
        """
        return collections.OrderedDict([(_KEY, state[_KEY])])

    def set_hparams(self, state: Any, hparams: Any) -> Any:
        """Returns a state with another learning rate.

        Args:
          state: What `initialize` or `next` returned.
          hparams: What `get_hparams` returned, changed.
        """
        return collections.OrderedDict([*state.items(), *hparams.items()])


def with_rate(
    optimizer: tff.learning.optimizers.Optimizer, state: Any, rate: Any
) -> Any:
    """Sets the learning rate of an optimizer's state.

    Training on is bitwise the same as with an optimizer that was built with
    this rate.

    Example:
      >>> optimizer = tff.learning.optimizers.build_sgdm(0.1)
      >>> state = optimizer.initialize(tf.TensorSpec([2]))
      >>> dict(with_rate(optimizer, state, 0.01))
      {'learning_rate': 0.01}

    Args:
      optimizer: The optimizer that the state belongs to.
      state: What its `initialize` or `next` returned.
      rate: The rate from the next step on, a float32 scalar.

    Returns:
      The state with the rate in place of its own.

    Raises:
      ValueError: If the optimizer keeps no learning rate in its state.
    """
    hparams = optimizer.get_hparams(state)
    if _KEY not in hparams:
        raise ValueError(
            f"{type(optimizer).__name__} keeps no {_KEY!r} in its state, so "
            "its rate cannot be set; return it from get_hparams and take it "
            "in set_hparams."
        )
    hparams[_KEY] = rate
    return optimizer.set_hparams(state, hparams)


def scheduled(
    optimizer: tff.learning.optimizers.Optimizer, options: OptimizerConfig
) -> tff.learning.optimizers.Optimizer:
    """Lets the server optimizer's rate follow its schedule.

    Args:
      optimizer: The optimizer with the configured rate.
      options: The rate and its schedule.

    Returns:
      An optimizer whose step t = 1, 2, ... has the rate of round t; it counts
      its steps in its state, so that a round without a step delays it.
    """

    def rate(steps_before: tf.Tensor) -> tf.Tensor:
        round_number = tf.cast(steps_before, tf.float64) + 1
        factor = schedules.factor_in(tf, options, round_number)
        return tf.cast(options.learning_rate * factor, tf.float32)

    return tff.learning.optimizers.schedule_learning_rate(optimizer, rate)
