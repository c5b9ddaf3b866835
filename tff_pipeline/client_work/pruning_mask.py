"""Chooses, by their size, the weights that a pruned model keeps.

Zhu and Gupta 2017, "To prune, or not to prune": after each of the rounds from b
to e, the weights of the least size are set to 0 for good, to the share

    s(t) = s_f - s_f (1 - (t - b) / (e - b))^3.

Sizes are compared over all layers, as Lee et al. 2021, "Layer-adaptive sparsity
for the magnitude-based pruning", section 2: a weight's score is its square by
the sum of the squares of its layer that are not smaller. So small layers, which
need all they have, are pruned less than large ones, and it does not matter on
which scale a layer's weights began; the largest of each layer has score 1 and
stays. Pruned are weights of two axes or more, kernels and embeddings; biases,
and scales of normalizations, are few and stay.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tff_pipeline.config import PruningConfig

# Takes the rounds that are done, an int32 scalar; returns (whether to prune
# after the last of them, to which share of zeros).
Schedule = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def schedule_of(config: PruningConfig) -> Schedule:
    """Makes the schedule of `--prune_schedule`, one of TensorFlow's toolkit.

    >>> config = PruningConfig(0.8, begin_round=2, end_round=4).settled(6)
    >>> schedule = schedule_of(config)
    >>> [round(float(schedule(tf.constant(t))[1]), 3) for t in (2, 3, 4, 5)]
    [0.0, 0.7, 0.8, 0.8]

    Args:
      config: The options, settled, with a share to prune to.
    """
    schedules = tfmot.sparsity.keras
    begin, end = config.begin_round, config.end_round
    if config.schedule == "once":
        made: Schedule = schedules.ConstantSparsity(
            config.to, begin, begin, frequency=1
        )
        return made
    made = schedules.PolynomialDecay(0.0, config.to, begin, end, frequency=1)
    return made


def is_pruned(spec: tf.TensorSpec) -> bool:
    """Returns whether weights of this shape are pruned.

    Args:
      spec: Of the weights.
    """
    return len(spec.shape) > 1


def all_kept(specs: Sequence[tf.TensorSpec]) -> np.ndarray[Any, Any]:
    """Makes the mask that keeps everything.

    Args:
      specs: Of the trainable weights.

    Returns:
      bool [n], for all weights one after the other.
    """
    return np.ones([sum(_sizes(specs))], np.bool_)


def sparsity(
    kept: np.ndarray[Any, Any], specs: Sequence[tf.TensorSpec]
) -> float:
    """Returns the share of zeros of all weights that are pruned.

    Args:
      kept: The mask, bool [n].
      specs: Of the trainable weights.
    """
    sizes = _sizes(specs)
    total = sum(n for spec, n in zip(specs, sizes) if is_pruned(spec))
    return int(np.sum(~kept)) / total


def split(kept: tf.Tensor, specs: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    """Cuts a mask into those of the single weights.

    Args:
      kept: bool [n].
      specs: Of the trainable weights.

    Returns:
      A mask of the shape of each.
    """
    parts = tf.split(kept, _sizes(specs))
    return [tf.reshape(part, spec.shape) for part, spec in zip(parts, specs)]


def renewed(
    kept: tf.Tensor, weights: Sequence[tf.Tensor], share: tf.Tensor
) -> tf.Tensor:
    """Makes the next mask, of the weights of the highest scores.

    What is not kept now never comes back. Of equals the first stay.

    Args:
      kept: The mask, bool [n].
      weights: The trainable weights.
      share: The share of zeros to come to, a float32 scalar.

    Returns:
      bool [n].
    """
    layers = list(map(is_pruned, weights))
    scores = [
        _scores(tf.reshape(mask, [-1]), weight)
        if pruned
        else tf.fill([weight.shape.num_elements()], np.inf)
        for pruned, mask, weight in zip(layers, split(kept, weights), weights)
    ]
    sizes = _sizes(weights)
    total = sum(size for pruned, size in zip(layers, sizes) if pruned)
    count = tf.round(total * (1.0 - share))
    count = tf.maximum(sum(layers), tf.cast(count, tf.int32))
    places = tf.math.top_k(
        tf.concat(scores, axis=0), sum(sizes) - total + count
    ).indices
    chosen = tf.scatter_nd(
        places[:, tf.newaxis], tf.ones_like(places), [sum(sizes)]
    )
    return kept & (chosen > 0)


def _scores(mask: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Computes the scores of a layer, float32 [m]; -1 of what is not kept."""
    size = tf.abs(tf.cast(tf.reshape(weight, [-1]), tf.float32))
    # By the largest, so that no square overflows.
    size = tf.math.divide_no_nan(size, tf.reduce_max(size))
    squares = tf.where(mask, tf.square(size), 0.0)
    order = tf.argsort(squares, direction="DESCENDING", stable=True)
    ordered = tf.gather(squares, order)
    scores = tf.math.divide_no_nan(ordered, tf.cumsum(ordered))
    scores = tf.scatter_nd(order[:, tf.newaxis], scores, mask.shape)
    return tf.where(mask, scores, -1.0)


def _sizes(specs: Sequence[tf.TensorSpec]) -> list[int]:
    return [math.prod(spec.shape) for spec in specs]
