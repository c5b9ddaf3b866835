"""Who arrives when without rounds: invariants of every simulated step."""

import numpy as np
import pytest

from tff_pipeline.cohorts.asynchronous import DeviceSchedule
from tff_pipeline.cohorts.devices import Devices
from tff_pipeline.cohorts.samplers import UniformSampler
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    DeviceConfig,
    ExperimentConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)

IDS = [f"client_{i}" for i in range(30)]
STEPS = 200


def schedule(size, under_way, devices=None):
    config = ExperimentConfig(
        algorithm=AlgorithmConfig("fed_buff", buffer_size=size),
        clients=ClientConfig(clients_per_round=under_way),
        devices=devices or DeviceConfig(),
    )
    made = None
    if devices is not None:
        examples = Examples(np.zeros([300, 2]), np.zeros([300]))
        parts = np.split(np.arange(300), 30)
        data = InMemoryData(examples, dict(zip(IDS, parts)))
        made = Devices(config, data).with_traffic(10**5, 10**5)
    sampler = UniformSampler(IDS, under_way, 0)
    return sampler, DeviceSchedule(config, IDS, sampler, made)


def test_of_equal_speeds_and_a_full_buffer_it_is_the_samplers_rounds():
    sampler, made = schedule(8, 8)
    for number in range(1, 50):
        update = made.update(number)
        assert list(update.client_ids) == sampler.cohort(number)
        assert list(update.versions) == [number - 1] * 8
        assert list(update.begins) == sampler.cohort(number + 1)
        assert update.seconds == number


@pytest.mark.parametrize(
    "devices",
    [
        DeviceConfig(speeds="lognormal"),
        DeviceConfig(speeds="lognormal", dropout=0.3),
        DeviceConfig(speeds="equal", stragglers=0.5, straggler_work="all"),
    ],
)
@pytest.mark.parametrize("size, under_way", [(1, 5), (4, 12), (12, 12)])
def test_who_arrives_began_with_that_version(devices, size, under_way):
    _, made = schedule(size, under_way, devices)
    updates = [made.update(number) for number in range(1, STEPS + 1)]
    # Version 0 is what all have that do not begin with another one.
    holds = dict.fromkeys(IDS, 0)
    for number, update in enumerate(updates, 1):
        assert len(update.client_ids) == len(set(update.client_ids)) == size
        for client, version in zip(update.client_ids, update.versions):
            assert holds[client] == version <= number - 1
        holds |= dict.fromkeys(update.begins, number)
    times = [update.seconds for update in updates]
    assert all(a <= b for a, b in zip(times, times[1:]))
    # The same again, asked from the end.
    _, again = schedule(size, under_way, devices)
    assert again.update(STEPS) == updates[-1]


def test_a_small_buffer_of_uneven_devices_is_stale():
    _, made = schedule(2, 12, DeviceConfig(speeds="lognormal"))
    ages = [
        number - 1 - version
        for number in range(1, STEPS + 1)
        for version in made.update(number).versions
    ]
    # As many are under way as make six steps.
    assert 3 < np.mean(ages) < 7
