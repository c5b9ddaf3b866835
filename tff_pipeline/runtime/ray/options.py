"""The number of workers of a cluster, and how long is waited for them."""

import dataclasses

# A column of metrics.csv: how many workers were lost in a round.
LOST_WORKERS = "lost_workers"


@dataclasses.dataclass(frozen=True)
class PoolOptions:
    """How many workers there are, and how long is waited for them.

    Attributes:
      workers: How many workers are asked for.
      min_workers: With fewer than these no shard is begun.
      wait_seconds: How long is waited for `min_workers`.
      shard_seconds: How long a worker may take for a shard.
      max_tries: How many workers may fail on one shard.
    """

    workers: int = 2
    min_workers: int = 1
    wait_seconds: float = 600.0
    shard_seconds: float = 600.0
    max_tries: int = 5
