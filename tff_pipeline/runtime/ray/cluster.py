import contextlib
import os

import ray

from tff_pipeline.runtime.ray.watchdog import limited


@contextlib.contextmanager
def joined(address, workers, seconds):
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with limited(seconds, "joining"):
        ray.init(
            None if address == "local" else address,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            log_to_driver=False,
            **({"num_cpus": workers} if address == "local" else {}),
        )
    try:
        yield
    finally:
        with limited(seconds, "leaving"):
            ray.shutdown()
