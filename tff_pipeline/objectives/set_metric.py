"""Metrics of a whole test set, which are no means over its examples."""

from collections.abc import Callable

import numpy as np

# (labels of shape [n, ...], outputs of shape [n, ...]) -> a figure.
SetMetric = Callable[[np.ndarray, np.ndarray], float]
