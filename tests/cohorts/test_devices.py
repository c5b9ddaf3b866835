"""Devices: functions of seed, round and client, and Bonawitz's shares."""

import collections
import dataclasses
import pathlib

import numpy as np
import pytest

from tests.testing.blocks import drawn_block
from tests.testing.small_training import dense, task_of
from tff_pipeline import errors
from tff_pipeline.cohorts import device_rounds
from tff_pipeline.cohorts.device_rounds import DeviceRounds
from tff_pipeline.cohorts.devices import Devices, Outcome
from tff_pipeline.cohorts.samplers import PoissonSampler, UniformSampler
from tff_pipeline.cohorts.source import CohortSource
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
BEGAN = (Outcome.COMPLETED, Outcome.LATE, Outcome.INTERRUPTED)
# Some of everything.
LIVELY = DeviceConfig(
    dropout=0.2,
    dropout_in_training=0.5,
    availability="diurnal",
    over_selection=1.5,
    stragglers=0.3,
    straggler_work="less",
    speeds="lognormal",
    round_deadline_s=20.0,
)


def population(clients, largest=60):
    sizes = np.random.default_rng(5).integers(1, largest, 10_000)[:clients]
    ends = np.cumsum(sizes)
    examples = Examples(np.zeros([ends[-1], 1]), np.zeros([ends[-1]]))
    return InMemoryData(
        examples,
        {
            f"client_{i}": np.arange(end - size, end)
            for i, (size, end) in enumerate(zip(sizes, ends))
        },
    )


def config_of(devices, size=20, seed=0, **clients):
    return ExperimentConfig(
        data=DataConfig(num_clients=10_000),
        clients=ClientConfig(clients_per_round=size, **clients),
        devices=devices,
        run=RunConfig(seed=seed),
    )


def rounds_of(config, data, sampler=UniformSampler):
    chosen = config.devices.chosen(config.clients.clients_per_round)
    devices = Devices(config, data).with_traffic(10**6, 10**6)
    drawn = sampler(data.client_ids, chosen, config.run.seed)
    return DeviceRounds(config, drawn, devices), devices


def totals(simulation, rounds):
    counts = collections.Counter()
    for number in range(1, rounds + 1):
        counts.update(simulation.round(number).counts)
    return counts


def options_of(path, group):
    """The group with the values that a flagfile gives it."""
    values = dict(
        line[2:].split("=", 1)
        for line in path.read_text().splitlines()
        if line.startswith("--")
    )
    return dataclasses.replace(
        group,
        **{
            field.name: field.metadata["allowed"].kind(values[flag])
            for flag, field in group.options()
            if flag in values
        },
    )


def test_the_phones_end_their_sessions_as_bonawitz_et_al_count():
    path = CONFIGS / "devices" / "phones.flags"
    config = config_of(
        options_of(path, DeviceConfig()),
        options_of(path, ClientConfig()).clients_per_round,
    )
    simulation, _ = rounds_of(config, population(2000))
    counts = totals(simulation, 1000)
    began = sum(counts[each] for each in BEGAN)
    # Their table 1 has whole percents, and 1% of other shapes.
    for outcome, percent in zip(BEGAN, (75, 22, 2)):
        share = percent / 99
        error = np.sqrt(share * (1 - share) / began)
        assert abs(counts[outcome] / began - share) < 0.005 + 4 * error
    there = sum(counts.values()) - counts[Outcome.UNAVAILABLE]
    dropped = (counts[Outcome.LOST] + counts[Outcome.INTERRUPTED]) / there
    assert abs(dropped - 0.08) < 4 * np.sqrt(0.08 * 0.92 / there)
    assert 0.06 < dropped < 0.10
    chosen = config.devices.chosen(config.clients.clients_per_round)
    assert chosen == 130 and sum(counts.values()) == 1000 * chosen


def test_four_times_as_many_are_there_at_midnight_as_at_noon():
    data = population(4000)
    devices = Devices(config_of(DeviceConfig(availability="diurnal")), data)

    def there(number, at_s):
        outcomes = [devices.session(i, number, at_s)[0] for i in range(4000)]
        return 1 - outcomes.count(Outcome.UNAVAILABLE) / 4000

    assert there(1, 0.0) == there(1, 86_400.0) == 1.0
    error = np.sqrt(0.25 * 0.75 / 4000)
    assert abs(there(1, 43_200.0) - 0.25) < 4 * error
    assert abs(there(2, 21_600.0) - 1 / 1.6) < 5 * error


def test_a_session_is_a_function_of_seed_round_and_client():
    few, many = population(50), population(400)
    _, small = rounds_of(config_of(LIVELY), few)
    _, large = rounds_of(config_of(LIVELY), many)
    numbers = [(i, number) for number in (1, 7, 2**30) for i in range(50)]
    sessions = {each: small.session(*each, 30_000.0) for each in numbers}
    assert len(set(sessions.values())) > 50
    # In another order, and though there are more clients.
    for each in reversed(numbers):
        assert large.session(*each, 30_000.0) == sessions[each]
    _, other = rounds_of(config_of(LIVELY, seed=1), few)
    assert any(other.session(*k, 30_000.0) != sessions[k] for k in numbers)
    for i, number in numbers:
        assert small.seconds(i, number) == large.seconds(i, number) > 0


def test_who_goes_on_in_the_middle_sees_the_same_rounds():
    config, data = config_of(LIVELY), population(100)
    simulation, _ = rounds_of(config, data)
    whole = [simulation.round(number) for number in range(1, 31)]
    assert rounds_of(config, data)[0].round(30) == whole[-1]
    # A round that is repeated is the same too.
    assert simulation.round(3) == whole[2]
    clock = [each.end_s for each in whole]
    assert sorted(set(clock)) == clock


def test_over_selection_keeps_the_first_to_finish():
    config = config_of(
        DeviceConfig(over_selection=1.5, speeds="lognormal", dropout=0.1)
    )
    simulation, devices = rounds_of(config, population(100))
    sampler = UniformSampler(range(100), 30, 0)
    start, enough = 0.0, 0
    for number in range(1, 101):
        happened = simulation.round(number)
        sessions = {
            i: devices.session(i, number, start)
            for i in sampler.positions(number)
        }
        assert len(sessions) == 30
        completed = sorted(
            (each.seconds, i)
            for i, each in sessions.items()
            if each.outcome is Outcome.COMPLETED
        )
        assert list(happened.positions) == [i for _, i in completed][:20]
        kept = len(happened.positions)
        enough += kept == 20
        assert happened.end_s == start + completed[kept - 1][0]
        assert happened.counts[Outcome.LATE] == len(completed) - kept
        start = happened.end_s
    assert enough > 90


def test_without_over_selection_all_who_come_count():
    # By chance more than are expected.
    config = config_of(DeviceConfig(speeds="equal"), sampling="poisson")
    simulation, _ = rounds_of(config, population(200), PoissonSampler)
    sampler = PoissonSampler(range(200), 20, 0)
    sizes = [len(simulation.round(n).positions) for n in range(1, 21)]
    assert sizes == [len(sampler.positions(n)) for n in range(1, 21)]
    assert max(sizes) > 20


def test_after_the_deadline_nobody_counts_and_the_server_waits_no_longer():
    config = config_of(DeviceConfig(speeds="lognormal", round_deadline_s=5.0))
    simulation, devices = rounds_of(config, population(100))
    start = 0.0
    for number in range(1, 21):
        happened = simulation.round(number)
        assert 0 < len(happened.positions) < 20
        times = [devices.seconds(i, number) for i in happened.positions]
        assert max(times) <= 5.0
        assert happened.counts[Outcome.LATE] == 20 - len(times)
        assert happened.end_s == pytest.approx(start + 5.0)
        start = happened.end_s


def test_stragglers_do_all_of_it_or_fewer_epochs_or_come_late():
    data = population(300)
    sessions = {
        work: [
            Devices(
                config_of(
                    DeviceConfig(stragglers=0.5, straggler_work=work),
                    epochs_per_round=4,
                ),
                data,
            ).session(i, 1, 0.0)
            for i in range(300)
        ]
        for work in ("all", "less", "late")
    }
    slow = [each.steps > 0 for each in sessions["less"]]
    assert abs(np.mean(slow) - 0.5) < 4 * np.sqrt(0.25 / 300)
    epochs = []
    for i, is_slow in enumerate(slow):
        examples = data.size(f"client_{i}")
        everything = 4 * examples / 50
        expected = 4 * everything if is_slow else everything
        assert sessions["all"][i] == (Outcome.COMPLETED, expected, 0)
        assert sessions["late"][i].outcome is (
            Outcome.LATE if is_slow else Outcome.COMPLETED
        )
        if is_slow:
            _, seconds, steps = sessions["less"][i]
            # Batches of 10, the last one smaller.
            epochs.append(steps / np.ceil(examples / 10))
            assert seconds == pytest.approx(epochs[-1] * examples / 50)
    counts = collections.Counter(epochs)
    assert sorted(counts) == [1, 2, 3, 4]
    spread = 4 * np.sqrt(len(epochs) * 0.25 * 0.75)
    assert all(abs(n - len(epochs) / 4) < spread for n in counts.values())


def test_of_one_epoch_stragglers_take_fewer_steps():
    devices = DeviceConfig(stragglers=1.0, straggler_work="less")
    data = InMemoryData(
        Examples(np.zeros([95]), np.zeros([95])), {"a": np.arange(95)}
    )
    one = Devices(config_of(devices, 1), data)
    steps = {one.session(0, number, 0.0).steps for number in range(1, 200)}
    assert steps == set(range(1, 11))
    of_steps = Devices(config_of(devices, 1, steps_per_round=3), data)
    steps = {of_steps.session(0, number, 0.0).steps for number in range(1, 50)}
    assert steps == {1, 2, 3}


def test_a_trace_gives_the_seconds_and_says_who_is_there(tmp_path):
    speeds, sessions = tmp_path / "speeds.csv", tmp_path / "sessions.csv"
    speeds.write_text(
        "client_id,samples_per_second,kbps_down,kbps_up\n"
        "a,10,8000,800\nb,10,8000,800\nc,10,8000,800\n"
    )
    # a stays; b leaves before it has finished; c never comes.
    sessions.write_text("client_id,start_s,end_s\na,0,1000\nb,0,20\n")
    data = InMemoryData(
        Examples(np.zeros([50]), np.zeros([50])),
        {name: np.arange(50) for name in "abc"},
    )
    config = config_of(
        DeviceConfig(speeds=str(speeds), sessions=str(sessions)),
        size=3,
        epochs_per_round=2,
    )
    simulation, devices = rounds_of(config, data)
    # A megabyte is 8,000 kilobits: 1 s down, 10 s up; 100 examples.
    assert devices.seconds(0, 1) == 1 + 10 + 10
    happened = simulation.round(1)
    assert happened.positions == [0] and happened.end_s == 21
    assert happened.figures(10**6, 10**6) == dict(
        zip(device_rounds.COLUMNS, (21, 3, 1, 1, 0, 2 * 10**6, 10**6))
    )
    # At 987 s a has no time left to finish, and nobody comes for a minute.
    last = simulation.round(48)
    assert (last.positions, last.end_s) == ([], 987 + 60)
    assert simulation.never_seen(48, 3) == [1, 2]
    # Then the trace begins again; b had left by 47 s.
    assert simulation.round(49).positions == [0]


def test_who_stands_behind_the_clients_is_always_there():
    devices = Devices(config_of(LIVELY), population(20))
    assert devices.session(20, 1, 43_200.0) == (Outcome.COMPLETED, 0.0, 0)


def small(tmp_path=None, **devices):
    """The config of a task with 6 clients, and the task."""
    config = ExperimentConfig(
        data=DataConfig(num_clients=6),
        clients=ClientConfig(clients_per_round=3),
        devices=DeviceConfig(**devices),
    )
    return config, task_of(dense)


def test_without_devices_cohorts_and_blocks_are_what_they_always_were():
    config, task = small()
    source = CohortSource(config, task)
    assert source.columns == () and source.with_traffic(1, 1) is source
    for number in (1, 2, 3):
        cohort = source.cohort(number)
        sampler = UniformSampler(task.train.client_ids, 3, 0)
        assert cohort.client_ids == sampler.cohort(number)
        assert not cohort.figures
        for name, block in zip(cohort.client_ids, cohort.datasets):
            place = task.train.client_ids.index(name)
            expected = drawn_block(task.train.load(name), 0, number, place)
            for key, value in expected[0].items():
                np.testing.assert_array_equal(block[0][key], value)


def test_a_cohort_has_who_came_with_the_steps_they_take():
    config, task = small(
        dropout=0.5, stragglers=1.0, straggler_work="less", speeds="equal"
    )
    source = CohortSource(config, task).with_traffic(10, 20)
    sizes = set()
    for number in range(1, 21):
        cohort, again = source.cohort(number), source.cohort(number)
        assert cohort.client_ids == again.client_ids
        assert list(cohort.figures) == list(source.columns)
        came = len(cohort.client_ids)
        assert came == 3 - cohort.figures["dropped_clients"]
        assert cohort.figures["round_bytes_up"] == 20 * came
        assert all(block["steps"] >= 1 for (block,) in cohort.datasets)
        sizes.add(came)
    assert 0 in sizes and len(sizes) > 2


def test_an_algorithm_that_chooses_clients_gets_them_all():
    config, task = small(dropout=0.9)
    ids = list(task.train.client_ids[:4])
    cohort = CohortSource(config, task).cohort(1, ids)
    assert cohort.client_ids == ids and len(cohort.datasets) == 4


def test_clients_have_learning_rates_of_their_own(tmp_path):
    config, task = small(client_learning_rates="by_size")
    ids = list(task.train.client_ids)
    blocks = CohortSource(config, task).cohort(1, ids).datasets
    # Of 1, 9, 4, 30, 2 and 17 examples, 10.5 on average.
    expected = np.float32([1, 1, 1, 10.5 / 30, 1, 10.5 / 17])
    assert [block["rate"] for (block,) in blocks] == expected.tolist()
    path = tmp_path / "rates.csv"
    rows = [f"{name},{0.5 + i}\n" for i, name in enumerate(ids)]
    path.write_text("client_id,learning_rate_factor\n" + "".join(rows))
    config, _ = small(client_learning_rates=str(path))
    blocks = CohortSource(config, task).cohort(1, ids).datasets
    assert [float(b["rate"]) for (b,) in blocks] == [0.5 + i for i in range(6)]


def test_more_chosen_clients_than_there_are_are_refused():
    config = config_of(DeviceConfig(over_selection=2.5), size=3)
    with pytest.raises(errors.ConfigError) as caught:
        CohortSource(config, task_of(dense))
    assert "--over_selection=2.5 chooses 8 clients" in str(caught.value)
    assert "the 6 there are" in str(caught.value)
