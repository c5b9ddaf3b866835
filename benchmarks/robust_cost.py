"""Measures what robust aggregators cost in a round, beside the mean.

    python -m benchmarks.robust_cost [CLIENTS] [NAME ...]

The messages of 100 clients, by default, of McMahan's network of 199,210
weights, are aggregated by each rule in the in-process runtime, collecting them
included; a fifth of the clients may be hostile. Prints the median seconds of
three rounds after a first, which compiles, and those of the processor.
"""

import collections
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tff_pipeline.aggregators import chain
from tff_pipeline.aggregators.aggregation import AggregationContext
from tff_pipeline.aggregators.collect import TAG_TYPE
from tff_pipeline.config import AggregationConfig
from tff_pipeline.runtime.in_process import InProcessContext

_ROUNDS = 3
_SHAPES = ([784, 200], [200], [200, 200], [200], [200, 10], [10])
_CHAINS = (
    *("mean", "clip+mean", "median", "trimmed_mean", "krum", "multi_krum"),
    *("bulyan", "geometric_median", "centered_clipping", "nnm+median"),
    *("bucketing+krum", "zeroing+clip_quantile+mean"),
)


def main() -> None:
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    names = sys.argv[2:] or _CHAINS
    draw = np.random.default_rng(0)
    messages = [
        [draw.normal(size=shape).astype(np.float32) for shape in _SHAPES]
        for _ in range(clients)
    ]
    print(f"{'':28} {'seconds':>8} {'CPU':>8}")
    with InProcessContext():
        for name in names:
            wall, processor = _seconds(name, messages)
            print(f"{name:28} {wall:8.2f} {processor:8.2f}", flush=True)


def _seconds(name: str, messages: list[Any]) -> tuple[float, float]:
    """Returns the median seconds of a round, and of the processor in it."""
    options: dict[str, Any] = {}
    if "centered_clipping" in name:
        options["centered_clip_norm"] = 100.0
    if name.startswith("clip+"):
        options["clip_norm"] = 100.0
    if AggregationConfig(name, **options).robust:
        options["byzantine_clients"] = math.ceil(len(messages) / 5)
    config = AggregationConfig(name, **options)
    built = chain.build(AggregationContext(config, len(messages)))
    message_type = tff.to_type([(np.float32, shape) for shape in _SHAPES])
    weight_type: Any = TAG_TYPE if built.tagged else tff.TensorType(np.float32)
    process = built.factory.create(message_type, weight_type)
    weights: list[Any] = [np.float32(1)] * len(messages)
    if built.tagged:
        weights = [
            collections.OrderedDict(
                weight=np.float32(1),
                key=np.int64(key),
                mark=np.int32(0),
                round=np.int32(1),
            )
            for key in range(len(messages))
        ]
    state, wall, processor = process.initialize(), [], []
    for _ in range(_ROUNDS + 1):
        began, busy = time.perf_counter(), time.process_time()
        state = process.next(state, messages, weights).state
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
    return statistics.median(wall[1:]), statistics.median(processor[1:])


if __name__ == "__main__":
    main()
