"""Mixes the models of clients by a matrix of weights."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from tff_pipeline.algorithms import topology

# Numbers of each model that are mixed at a time, in float64.
_AT_ONCE = 1024


def mix(
    weights: topology.Matrix, models: Sequence[Sequence[npt.NDArray[Any]]]
) -> tuple[list[list[npt.NDArray[Any]]], float]:
    """Mixes models: x_i <- sum_j w_ij x_j.

    The sums are taken in float64, in the order of j whatever the number of
    threads, and rounded once.

    Args:
      weights: W, float64 [n, n].
      models: The n models, arrays of the same shapes and dtypes.

    Returns:
      (the n mixed models, the consensus distance
      sqrt(1/n sum_i |x_i - mean|^2) of these).

    >>> w = topology.metropolis(topology.complete(2))
    >>> mix(w, [[np.float32([1.0])], [np.float32([2.0])]])
    ([[array([1.5], dtype=float32)], [array([1.5], dtype=float32)]], 0.0)
    """
    # What all clients that mix give each other is summed up once, so that n^2
    # products are not needed where all are neighbours; elsewhere that is 0.
    mixing = weights.diagonal() < 1
    shared = weights[np.ix_(mixing, mixing)].min(initial=1.0)
    # Of a sparse matrix the product is a loop over j, in order.
    others = sparse.csr_matrix(weights - shared * np.outer(mixing, mixing))
    squares, mixed = 0.0, []
    for leaves in zip(*models):
        stack = np.stack([leaf.reshape(-1) for leaf in leaves])
        for first in range(0, stack.shape[1], _AT_ONCE):
            part = stack[:, first : first + _AT_ONCE]
            exact = part.astype(np.float64)
            total = shared * exact[mixing].sum(axis=0)
            part[:] = others @ exact + np.outer(mixing, total)
            after = part.astype(np.float64)
            squares += float(np.sum(np.square(after - after.mean(axis=0))))
        mixed.append([each.reshape(leaves[0].shape) for each in stack])
    return [list(model) for model in zip(*mixed)], math.sqrt(
        squares / len(models)
    )
