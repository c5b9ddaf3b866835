"""The type of metrics of a whole test set, which are no means over examples."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
# (labels [n, ...], the model's outputs [n, ...]) -> a number, NaN where it is
# not defined.
SetMetric = Callable[[Array, Array], float]
