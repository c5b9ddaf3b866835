"""Audits a run in one shot by clients that are made to be result.

Andrew et al. 2023, "One-shot Empirical Privacy Estimation for Federated
Learning": among the clients there are canaries, each sending a random direction
of the clip's norm whenever it takes part. How much better their directions are
found again in what was released than ones that never took part says how much
was given away, at least to who looks like this: an estimate from below.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy import optimize, special

from tff_pipeline.aggregators.private.noise import standard_normal
from tff_pipeline.client_work.hooks import ClientHook, Finished, Message
from tff_pipeline.privacy import accounting
from tff_pipeline.privacy.plan import Plan

Array = npt.NDArray[Any]

# Any clip cuts a canary down to its norm.
_NORM = 1e6
_RESAMPLES = 400
_LARGEST = 512.0  # What is more is as bad, and its exponential overflows.
_CONFIDENCE = 0.95


class Canaries(ClientHook):
    """Has canaries send random directions in place of what they learned."""

    name = "canaries"

    def __init__(self, key: Array):
        """Takes the key of their directions, int64 [2]."""
        self._key = key

    def describe(self) -> str:
        """Says that some clients are canaries."""
        return "of canaries, a random direction"

    def message(
        self, message: Message, state: Any, client: Finished
    ) -> tuple[Message, Any]:
        """Replaces the update of canaries, whose blocks have negative keys."""
        update, key = message.update, client.block["key"]
        flat = tf.nest.flatten(update)
        specs = [tf.TensorSpec(leaf.shape, leaf.dtype) for leaf in flat]

        def direction() -> Any:
            vector = standard_normal(self._key, number_of(key), specs)
            norm = tf.linalg.global_norm(vector)
            return tf.nest.pack_sequence_as(
                update, [_NORM / norm * part for part in vector]
            )

        update = tf.cond(key < 0, direction, lambda: update)
        return message._replace(update=update), state

    def cosines(
        self, numbers: Iterable[int], released: Sequence[Array]
    ) -> Array:
        """Computes the cosines of directions with the sum of all releases.

        Args:
          numbers: The numbers of canaries, or of directions that took no part.
          released: The sum, in float32 arrays.

        Returns:
          Cosines, float64 [count].
        """
        specs = [tf.TensorSpec(part.shape, part.dtype) for part in released]
        total = np.concatenate([np.ravel(part) for part in released])
        total = total.astype(np.float64)
        length = np.linalg.norm(total) or 1.0

        def cosine(number: int) -> float:
            parts = standard_normal(
                self._key, tf.constant(number, tf.int64), specs
            )
            vector = np.concatenate([np.ravel(part) for part in parts])
            return float(total @ vector / length / np.linalg.norm(vector))

        return np.array([cosine(number) for number in numbers])


def audit(plan: Plan, released: Sequence[Array]) -> Optional[dict[str, Any]]:
    """Estimates epsilon from a run's canaries.

    Args:
      plan: The run's plan.
      released: The sum of all that was released, in float32 arrays.

    Returns:
      A JSON object, or `None` if the run has no canaries.
    """
    if not plan.num_canaries:
        return None
    numbers = range(plan.num_canaries)
    cosines = Canaries(plan.canary_key).cosines(numbers, released)
    dimension = sum(np.size(part) for part in released)
    result = estimate(cosines, dimension, plan.delta)
    return {
        "canaries": result.canaries,
        "epsilon": accounting.finite(result.epsilon),
        "interval": [
            accounting.finite(result.low),
            accounting.finite(result.high),
        ],
        "confidence": result.confidence,
        "delta": plan.delta,
    }


def key_of(number: int) -> int:
    """Returns the negative key of a canary's block.

    >>> key_of(0), key_of(7)
    (-1, -8)

    Args:
      number: The canary's number, at least 0.
    """
    return -1 - number


def number_of(key: tf.Tensor) -> tf.Tensor:
    """Returns the number of the canary with a key, int64.

    Args:
      key: The key of its block, an int64 tensor below 0.
    """
    return -1 - key


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Holds the result of an audit.

    Attributes:
      epsilon: The estimate at the run's delta.
      low: The lower end of its confidence interval.
      high: The upper end.
      confidence: The interval's confidence, such as 0.95.
      canaries: The count of canaries.
    """

    epsilon: float
    low: float
    high: float
    confidence: float
    canaries: int


def estimate(
    cosines: Array, dimension: int, delta: float, seed: int = 0
) -> Estimate:
    """Estimates epsilon from canaries' cosines by a normal distribution.

    Andrew et al. 2023, section 3: cosines of directions that took no part are
    normal with mean 0 and variance 1 / dimension, those of canaries normal with
    a mean and variance of their own; epsilon is that between the two.

    Args:
      cosines: The canaries' cosines, at least 2.
      dimension: The count of coordinates that were released.
      delta: The probability that is left out.
      seed: The seed of the bootstrap that gives the interval.
    """
    scaled = cosines * np.sqrt(dimension)
    center = epsilon_between(scaled.mean(), scaled.std(ddof=1), delta)
    draw = np.random.default_rng(seed)
    again = [
        epsilon_between(sample.mean(), sample.std(ddof=1), delta)
        for sample in (
            draw.normal(scaled.mean(), scaled.std(ddof=1), len(scaled))
            for _ in range(_RESAMPLES)
        )
    ]
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(again, [tail, 1 - tail])
    return Estimate(center, float(low), float(high), _CONFIDENCE, len(cosines))


def epsilon_between(mean: float, stddev: float, delta: float) -> float:
    """Computes epsilon between N(mean, stddev^2) and N(0, 1), 0 to 512.

    The larger of the two directions; more than 512 counts as 512.

    >>> epsilon_between(0.0, 1.0, 1e-5)
    0.0

    Args:
      mean: The mean of the first distribution.
      stddev: Its standard deviation, above 0.
      delta: The probability that is left out.
    """

    def delta_of(epsilon: float) -> float:
        return max(
            _beyond(mean, stddev, 0.0, 1.0, epsilon),
            _beyond(0.0, 1.0, mean, stddev, epsilon),
        )

    if delta_of(0.0) <= delta:
        return 0.0
    high = 1.0
    while delta_of(high) > delta:
        high *= 2
        if high > _LARGEST:
            return _LARGEST
    return float(
        optimize.brentq(lambda epsilon: delta_of(epsilon) - delta, 0.0, high)
    )


def _beyond(
    mean: float, stddev: float, other: float, spread: float, epsilon: float
) -> float:
    """Computes P(S) - exp(epsilon) Q(S) for the worst S.

    S is where the density of P is more than exp(epsilon) times that of Q.

    P is N(mean, stddev^2), Q is N(other, spread^2).
    """
    # log p - log q - epsilon = a x^2 + b x + c
    a = 0.5 / spread**2 - 0.5 / stddev**2
    b = mean / stddev**2 - other / spread**2
    c = (
        0.5 * other**2 / spread**2
        - 0.5 * mean**2 / stddev**2
        + math.log(spread / stddev)
        - epsilon
    )

    def gain(low: float, high: float) -> float:
        of_p = _mass((low - mean) / stddev, (high - mean) / stddev)
        of_q = _mass((low - other) / spread, (high - other) / spread)
        return of_p - math.exp(epsilon) * of_q

    if abs(a) < 1e-12:
        if abs(b) < 1e-300:
            return 0.0
        root = -c / b
        return gain(root, math.inf) if b > 0 else gain(-math.inf, root)
    square = b * b - 4 * a * c
    if square <= 0:
        return gain(-math.inf, math.inf) if a > 0 else 0.0
    low, high = sorted(
        [(-b - math.sqrt(square)) / (2 * a), (-b + math.sqrt(square)) / (2 * a)]
    )
    if a < 0:
        return gain(low, high)
    return gain(-math.inf, low) + gain(high, math.inf)


def _mass(low: float, high: float) -> float:
    """Computes the standard normal distribution's mass between two numbers."""
    if low > 0:
        # On the side where tails do not round to 1.
        low, high = -high, -low
    return float(special.ndtr(high) - special.ndtr(low))
