"""Measures what encryption costs client, server and key holder in a round.

python -m benchmarks.he_mean [NUMBERS ...]

For updates of so many numbers: the median seconds and the bytes of the objects
that `--aggregator=he_mean` is made of, on one core, and how far the mean of ten
clients is from the exact one.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tff_pipeline.aggregators.encrypted import ckks

_NUMBERS = (199_210, 1_199_882)
_CLIENTS = 10
_STEP = 2.0**-22  # As in `he_mean`.


def main() -> None:
    holder = ckks.KeyHolder()
    public = holder.public_context
    print(f"public context, once: {len(public):,} bytes")
    print(
        f"{'numbers':>10}{'encrypt s':>11}{'bytes up':>13}{'of float32':>12}"
        f"{'add s':>8}{'decrypt s':>11}{'error':>10}"
    )
    for count in map(int, sys.argv[1:] or _NUMBERS):
        _measure(holder, ckks.Client(public), ckks.Server(public), count)


def _measure(
    holder: ckks.KeyHolder,
    client: ckks.Client,
    server: ckks.Server,
    count: int,
) -> None:
    draw = np.random.default_rng(0)
    exact, total = np.zeros(count), b""
    encrypting, adding, sizes = [], [], []
    for _ in range(_CLIENTS):
        update = draw.normal(scale=0.01, size=count)
        exact += update / _CLIENTS
        steps = np.rint(update / _STEP)
        message, seconds = _timed(lambda steps=steps: client.encrypt(steps))
        encrypting.append(seconds)
        sizes.append(len(message))
        total, seconds = _timed(
            lambda message=message, total=total: server.add(total, message)
        )
        adding.append(seconds)
    integers, decrypting = _timed(lambda: holder.decrypt(total))
    error = np.abs(integers * (_STEP / _CLIENTS) - exact).max()
    size = statistics.median(sizes)
    print(
        f"{count:>10,}{statistics.median(encrypting):>11.2f}{size:>13,.0f}"
        f"{size / (4 * count):>12.1f}{statistics.median(adding[1:]):>8.2f}"
        f"{decrypting:>11.2f}{error:>10.1e}"
    )


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Returns what a call returns, and the processor's seconds it took."""
    began = time.process_time()
    result = call()
    return result, time.process_time() - began


if __name__ == "__main__":
    main()
