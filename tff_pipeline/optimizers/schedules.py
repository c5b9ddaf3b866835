"""Schedules of the learning rate: pure functions of the round's number.

With w = `lr_warmup_rounds` (1 if unset), d = `lr_decay_rounds`, f = `lr_decay`
and s = max(t - w, 0) rounds since the warm-up, round t = 1, 2, ... has
min(t / w, 1) times

    constant     1
    step         f ** floor(s / d)
    exponential  f ** (s / d)
    cosine       f + (1 - f) * (1 + cos(pi * min(s / d, 1))) / 2
    linear       1 - (1 - f) * min(s / d, 1)

of the configured rate. So the first round has all of it, or a w-th, and d
rounds after the first with all of it, f is left; cosine and linear stay there.
Cosine annealing is from Loshchilov and Hutter 2017, "SGDR", equation 5, and
the warm-up from Goyal et al. 2017, "Accurate, Large Minibatch SGD", section
2.2.
"""

import math
from typing import Any

import numpy as np

from tff_pipeline.config import OptimizerConfig


def factor(options: OptimizerConfig, round_number: int) -> float:
    """Computes the factor on the learning rate in a round.

    Example:
      >>> options = OptimizerConfig(
      ...     "client", lr_schedule="step", lr_decay=0.5, lr_decay_rounds=10
      ... )
      >>> [factor(options, t) for t in (1, 10, 11, 21)]
      [1.0, 1.0, 0.5, 0.25]

    Args:
      options: The schedule and its options.
      round_number: The round, counted from 1.

    Returns:
      A number from 0 to 1.
    """
    return float(factor_in(np, options, np.float64(round_number)))


def factor_in(namespace: Any, options: OptimizerConfig, round_: Any) -> Any:
    """Computes `factor` with NumPy or in a TensorFlow graph.

    Example:
      >>> options = OptimizerConfig("server", lr_warmup_rounds=4)
      >>> float(factor_in(np, options, np.float64(3)))
      0.75

    Args:
      namespace: The module `numpy` or `tensorflow`.
      options: The schedule and its options.
      round_: The round, counted from 1; a float64 scalar of the namespace.

    Returns:
      A float64 scalar of the namespace.
    """
    warmup = options.lr_warmup_rounds or 1
    warmed = namespace.minimum(round_ / warmup, 1.0)
    if options.lr_schedule == "constant":
        return warmed
    # `OptimizerConfig` settles both.
    assert options.lr_decay is not None
    assert options.lr_decay_rounds is not None
    left = options.lr_decay
    since = namespace.maximum(round_ - warmup, 0.0)
    share = since / options.lr_decay_rounds
    if options.lr_schedule == "step":
        # Whole numbers are divided, so that no quotient is rounded up.
        return warmed * left ** (since // options.lr_decay_rounds)
    if options.lr_schedule == "exponential":
        return warmed * left**share
    share = namespace.minimum(share, 1.0)
    if options.lr_schedule == "cosine":
        share = (1 - namespace.cos(math.pi * share)) / 2
    return warmed * (1 - (1 - left) * share)
