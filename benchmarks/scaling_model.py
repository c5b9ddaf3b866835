"""Predicts what a round costs on many machines, from a few measured ones."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks import machine
from benchmarks.baselines.group import table

SHARD = 4  # Clients.


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to compute rounds of one workload.

    Attributes:
      model: `cnn` or `2nn`.
      clients: The number of clients in a round.
      workers: The number of Ray workers; 0 for one process without Ray.
    """

    model: str
    clients: int
    workers: int

    def __str__(self) -> str:
        place = f"{self.workers} on Ray" if self.workers else "one process"
        return f"{self.model}, {self.clients} clients, {place}"


WAYS = (
    *(Way("cnn", 16, workers) for workers in (0, 1, 2, 4)),
    *(Way("2nn", 16, workers) for workers in (0, 1, 2)),
    # Held out of the fit.
    *(Way("cnn", 32, workers) for workers in (0, 2)),
)
HELD_OUT = WAYS[-1]

Figures = Mapping[Way, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class CostModel:
    """The wall time of a round whose workers have a core each.

        work x overhead / workers + bytes / bandwidth + shards x latency

    The driver adds one shard after the other, so `latency`, which holds that,
    is not divided by the workers.

    Attributes:
      overhead: The workers' CPU time over that of the same clients in one
        process.
      latency: Seconds of the driver for each shard.
    """

    overhead: float
    latency: float

    def seconds(
        self,
        work: float,
        workers: int,
        shards: int,
        num_bytes: float = 0.0,
        bandwidth: float = 1.0,
    ) -> float:
        """Predicts a round.

        Args:
          work: CPU seconds of the clients in one process.
          workers: The number of workers.
          shards: The number of shards; workers beyond it have nothing to do.
          num_bytes: The bytes through the driver's link, in both directions.
          bandwidth: Bytes a second of that link.
        """
        turns = -(-shards // workers)
        return (
            work * self.overhead / shards * turns
            + num_bytes / bandwidth
            + shards * self.latency
        )


def fitted(medians: Figures) -> CostModel:
    """Fits the model to all ways on Ray but the one that is held out.

    On one machine bytes go through shared memory, so bandwidth is not fitted;
    what packing them costs is in `overhead` and `latency`.

    Args:
      medians: Way -> the figures of `scaling.measured`.
    """
    overheads, latencies = [], []
    for way, figures in medians.items():
        if not way.workers or way == HELD_OUT:
            continue
        alone = medians[dataclasses.replace(way, workers=0)]
        overheads.append(figures["worker_cpu"] / alone["driver_cpu"])
        latencies.append(figures["driver_cpu"] / -(-way.clients // SHARD))
    return CostModel(statistics.median(overheads), statistics.median(latencies))


def tables(medians: Figures) -> Sequence[str]:
    """Makes the lines of docs/scaling.md from what was measured.

    Args:
      medians: Way -> the figures of `scaling.measured`.
    """
    rows = []
    for way, figures in medians.items():
        alone = medians[dataclasses.replace(way, workers=0)]
        cpu = figures["driver_cpu"] + figures["worker_cpu"]
        rows.append(
            [
                str(way),
                f"{figures['seconds']:.2f}",
                f"{figures['driver_cpu']:.2f}",
                f"{figures['worker_cpu']:.2f}",
                f"{cpu / alone['driver_cpu']:.2f}",
                f"{figures['bytes_down'] / 1e6:.1f}",
                f"{figures['bytes_up'] / 1e6:.1f}",
                f"{figures['grown'] / 2**20:.0f}",
            ]
        )
    header = [
        *("a round", "wall s", "driver CPU s", "workers CPU s"),
        *("CPU / one process", "MB down", "MB up", "MiB grown"),
    ]
    model = fitted(medians)
    held, alone = (
        medians[HELD_OUT],
        medians[dataclasses.replace(HELD_OUT, workers=0)],
    )
    guess = model.seconds(
        alone["driver_cpu"], HELD_OUT.workers, -(-HELD_OUT.clients // SHARD)
    )
    return [
        f"Medians on {machine.words()}, which driver and workers share:",
        "",
        table(header, rows),
        "",
        f"Fitted: `overhead` {model.overhead:.2f}, `latency` "
        f"{1e3 * model.latency:.0f} ms a shard of the driver's time. Held out, "
        f"{HELD_OUT}: {guess:.2f} s predicted, {held['seconds']:.2f} s "
        f"measured ({100 * (guess / held['seconds'] - 1):+.0f} %).",
        "",
        *_predictions(model, medians),
    ]


def _predictions(model: CostModel, medians: Figures) -> Sequence[str]:
    """Makes the table of what the model says of larger clusters."""
    cnn = medians[Way("cnn", 16, 0)]["driver_cpu"] / 16
    rows = []
    for name, client_seconds, update, clients, workers in (
        ("CNN, 1,663,370 weights", cnn, 6_653_480, 400, 100),
        ("CNN, 1,663,370 weights", cnn, 6_653_480, 4000, 100),
        # docs/large_models.md: 7 CPU seconds a step, two steps a client.
        ("135M with LoRA of rank 8", 14.0, 1_843_204, 400, 100),
    ):
        shards = -(-clients // SHARD)
        # A shard brings one sum; weights go once to each worker's machine.
        num_bytes = update * (shards + workers)
        for link, bandwidth in (("1 Gbit/s", 1.25e8), ("10 Gbit/s", 1.25e9)):
            seconds = model.seconds(
                client_seconds * clients, workers, shards, num_bytes, bandwidth
            )
            rows.append(
                [
                    name,
                    str(clients),
                    str(workers),
                    link,
                    f"{seconds:.1f}",
                    f"{100 * shards * model.latency / seconds:.0f} %",
                    f"{86400 / seconds * clients / 1e6:.1f}",
                ]
            )
    header = [
        *("predicted", "clients a round", "workers", "driver's link"),
        *("s a round", "of it the driver", "million clients a day"),
    ]
    return [table(header, rows)]
