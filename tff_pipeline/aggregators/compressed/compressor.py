"""The interface of compressors: codes from an update to bytes, and back."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.aggregation import Aggregation
from tff_pipeline.config.compression import CompressionConfig

Specs = Sequence[tf.TensorSpec]
Leaves = Sequence[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class CompressorContext:
    """The arguments that a compressor is built from.

    Attributes:
      config: The options of compressors.
      seed: The experiment's seed, for what all clients begin with alike.
    """

    config: CompressionConfig
    seed: int = 0


class Compressor(abc.ABC):
    """A code from the tensors of an update to bytes.

    An entry of `registry.COMPRESSORS` is a function from a `CompressorContext`
    to a `Compressor`, or to a `LinearCode`. What both sides know, such as
    shapes, options and lengths that follow from these, is not sent; all else is
    in the bytes.

    Attributes:
      biased: True if the mean of what is decoded is not the update, so that
        what was lost must be kept for the next time (error feedback).
    """

    biased: ClassVar[bool] = False

    @abc.abstractmethod
    def describe(self) -> str:
        """Describes the code, in part of a sentence."""

    def initial_state(self, specs: Specs) -> Any:
        """Makes what the sender keeps for the next time, before the first.

        Args:
          specs: Of the update's tensors.

        Returns:
          A nested structure of NumPy arrays; `()` if nothing is kept.
        """
        del specs
        return ()

    @abc.abstractmethod
    def encode(
        self, leaves: Leaves, state: Any, key: tf.Tensor
    ) -> tuple[tf.Tensor, Any]:
        """Turns an update into bytes.

        Args:
          leaves: The update's tensors, of floats; their shapes are known.
          state: What the sender kept.
          key: The sender's key for all draws of this time, int64 [2].

        Returns:
          (the payload, uint8 [n]; what the sender keeps).
        """

    @abc.abstractmethod
    def decode(self, payload: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
        """Turns bytes into an update.

        Args:
          payload: uint8 [n].
          specs: Of the update's tensors.

        Returns:
          Tensors like `specs`.
        """


class LinearCode(abc.ABC):
    """A code of which sums are codes of sums, as secure sums need it.

    It is a step before an aggregation, and not a hook that makes bytes: what
    leaves a client are numbers, which the aggregation may add up unseen. An
    entry of `registry.COMPRESSORS` that makes one stands in
    `config.compression.LINEAR` too.
    """

    @abc.abstractmethod
    def describe(self) -> str:
        """Describes the code, in part of a sentence."""

    @abc.abstractmethod
    def before(self, inner: Aggregation) -> Aggregation:
        """Puts the code before an aggregation.

        Args:
          inner: The aggregation, with all its steps.

        Returns:
          One for updates, whose coded numbers `inner` combines.
        """


def dimension_of(specs: Sequence[Any]) -> int:
    """Returns the number of numbers in tensors.

    Args:
      specs: The tensors, their specs or types.
    """
    return sum(int(np.prod(s.shape, dtype=np.int64)) for s in specs)


def flattened(leaves: Leaves) -> tf.Tensor:
    """Joins tensors to one vector.

    Args:
      leaves: Tensors of floats.

    Returns:
      float32 [n].
    """
    return tf.concat(
        [tf.reshape(tf.cast(leaf, tf.float32), [-1]) for leaf in leaves], axis=0
    )


def unflattened(vector: tf.Tensor, specs: Specs) -> list[tf.Tensor]:
    """Undoes `flattened`.

    Args:
      vector: float32 [n].
      specs: Of the tensors.
    """
    parts = tf.split(vector, [dimension_of([spec]) for spec in specs])
    return [
        tf.cast(tf.reshape(part, spec.shape), spec.dtype)
        for part, spec in zip(parts, specs)
    ]


def drawn_seed(key: tf.Tensor) -> tf.Tensor:
    """Draws the seed that is sent with the payload.

    The key itself is not sent, for a client draws from it what is its own.

    Args:
      key: int64 [2].

    Returns:
      An int64 scalar.
    """
    return tf.random.stateless_uniform(
        [], key, minval=None, maxval=None, dtype=tf.int64
    )


def uniform(shape: Sequence[int], key: tf.Tensor) -> tf.Tensor:
    """Draws uniform numbers from 0 to 1, none of which is sent.

    Args:
      shape: Their shape.
      key: int64 [2].

    Returns:
      float32.
    """
    return tf.random.stateless_uniform(
        shape, key + tf.constant([0, 1], "int64")
    )
