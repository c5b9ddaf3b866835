"""A task whose data cannot be read so many times: handwritten digits.

Enter `TARGET` into `registry.TASKS`, and set `Breaking.times` and
`Breaking.error`.
"""

import dataclasses

import numpy as np

from tff_pipeline.config import DataConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.tasks import digits

TARGET = f"{__name__}:task"


class Breaking(InMemoryData):
    """Data of which the second client cannot be read, `times` times."""

    times, error = 0, None

    def load(self, client_id):
        if Breaking.times and client_id == self.client_ids[1]:
            Breaking.times -= 1
            raise Breaking.error
        return super().load(client_id)


def task(options, seed):
    """digits_2nn of four clients that break; see `registry.TaskEntry`."""
    spread = DataConfig("digits_2nn", partition="iid", num_clients=4)
    whole = digits.digits_2nn(spread, seed)
    names = whole.train.client_ids
    data = [whole.train.load(name) for name in names]
    ends = np.cumsum([len(each) for each in data])
    clients = dict(zip(names, np.split(np.arange(ends[-1]), ends[:-1])))
    everything = Examples(
        np.concatenate([each.x for each in data]),
        np.concatenate([each.y for each in data]),
    )
    return dataclasses.replace(whole, train=Breaking(everything, clients))
