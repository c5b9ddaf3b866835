"""Makes all randomness a function of (seed, purpose, counters).

No generator outlives the call that made it, so nothing has to be saved for a
resumed run to draw what the uninterrupted one would have drawn.
"""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Returns a generator of its own for one use of randomness.

    >>> generator(0, "cohort", 3).integers(100, size=4).tolist()
    [25, 54, 70, 12]

    Args:
      seed: The experiment's seed, at least 0.
      purpose: What is drawn, such as "cohort"; separate purposes never share
        numbers.
      *counters: Where in the experiment, such as round and client; each at
        least 0.

    Returns:
      A generator; the same arguments give the same draws in every process.
    """
    # Their number too, for a missing counter would count as one of 0.
    key = [seed, zlib.crc32(purpose.encode()), len(counters), *counters]
    return np.random.default_rng(np.random.SeedSequence(key))
