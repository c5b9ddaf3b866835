"""Measures what exact noise costs a round, beside other samplers.

python -m benchmarks.secure_noise [NUMBERS ...]

For sums of so many numbers, the processor's seconds to draw the noise: the
float32 noise of dp_gaussian, the exact noise of --dp_secure_noise, and, where
the package opendp is installed (it is no dependency), the same law by OpenDP.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tff_pipeline.aggregators.private import noise
from tff_pipeline.aggregators.private.grid import ExactNoise, Grid

_NUMBERS = (199_210, 1_199_882)
_TURNS = 5


def main() -> None:
    print(f"{'numbers':>10}  {'sampler':<22}{'seconds':>9}")
    for count in map(int, sys.argv[1:] or _NUMBERS):
        for name, draw in _samplers(count).items():
            draw()
            seconds = []
            for _ in range(_TURNS):
                began = time.process_time()
                draw()
                seconds.append(time.process_time() - began)
            median = statistics.median(seconds)
            print(f"{count:>10,}  {name:<22}{median:>9.3f}")


def _samplers(count: int) -> dict[str, Callable[[], Any]]:
    grid, key = Grid(1.0, 1.0), bytes(16)
    total = np.zeros(count, np.int64)
    exact = ExactNoise(key, grid.sigma)
    specs = [tf.TensorSpec([count], tf.float32)]

    def floats() -> Any:
        number = tf.constant(0, tf.int64)
        return noise.standard_normal(noise.key_of(1), number, specs)

    samplers: dict[str, Callable[[], Any]] = {
        "float32 (dp_gaussian)": floats,
        "exact (AES-256-CTR)": lambda: exact.add(0, total),
    }
    if importlib.util.find_spec("opendp") is not None:
        samplers["OpenDP"] = _opendp(count, float(grid.sigma))
    return samplers


def _opendp(count: int, sigma: float) -> Callable[[], Any]:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    measurement = space >> dp.m.then_gaussian(sigma)
    total = [0] * count
    return lambda: measurement(total)


if __name__ == "__main__":
    main()
