"""FedBuff: staleness by its formula, and FedAvg to the bit without any."""

import numpy as np
import pytest

from tests.testing import quadratics
from tests.testing.quadratics import RATE, block_of
from tests.testing.scripts import rows_of
from tff_pipeline import errors, experiment
from tff_pipeline.algorithms import fed_buff
from tff_pipeline.algorithms.fed_buff import BufferedUpdate, Schedule
from tff_pipeline.assembly import saved_weights
from tff_pipeline.assembly.runtimes import runtime
from tff_pipeline.config import (
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.kept_states import KeptStates
from tff_pipeline.runtime.in_process import InProcessContext

CLIENTS = ((1.0, 0.0), (4.0, 1.0))


class Known(Schedule):
    def __init__(self, arrivals):
        self._arrivals = arrivals

    def update(self, number):
        here = self._arrivals[number - 1]
        later = self._arrivals[number:]
        begins = {
            str(client)
            for step in later
            for client, version in step
            if version == number
        }
        clients, versions = zip(*here)
        ids = list(map(str, clients))
        return BufferedUpdate(ids, versions, sorted(begins), 10.0 * number)


def play(made, path, steps):
    """x after each step, and the columns, with bases kept as in a run."""
    kept = KeptStates(str(path), made.initial_kept_state)
    state = made.initial_state(quadratics.first_weights(0))
    for number in range(1, steps + 1):
        ids = made.cohort(state, kept, number)
        blocks = [block_of(number, int(i), None, 0, 1) for i in ids]
        state, metrics, rows = made.run_round(state, blocks, kept.rows(ids))
        assert not made.measure(metrics)["rejected_clients"]
        kept = kept.updated(ids, rows)
        kept, columns = made.after_round(state, kept, ids, number)
        yield np.ravel(state.global_model_weights.trainable[0])[0], columns


def test_updates_are_taken_against_their_base(tmp_path):
    # In step 3 client 0 comes from version 1, and x is of version 2.
    arrivals = (((1, 0), (0, 0)), ((1, 1),), ((1, 2), (0, 1)))
    with InProcessContext(2):
        made = quadratics.algorithm(
            "fed_buff", schedule=lambda *_: Known(arrivals)
        )
        done = list(play(made, tmp_path, len(arrivals)))
    versions = [0.0]
    for number, step in enumerate(arrivals, 1):
        deltas = []
        for client, version in step:
            a, b = CLIENTS[client]
            base = versions[version]
            end = b + (base - b) * (1 - RATE * a) ** 2
            deltas.append((number - version) ** -0.5 * (end - base))
        versions.append(versions[-1] + np.mean(deltas))
    assert [x for x, _ in done] == pytest.approx(versions[1:], rel=1e-5)
    assert [c["staleness"] for _, c in done] == [0, 0, 0.5]
    assert [c["asynchronous_seconds"] for _, c in done] == [10, 20, 30]


def test_staleness(tmp_path):
    # Client 1 begins with version 0 and arrives in step 3: tau is 2.
    arrivals = (((0, 0),), ((0, 1),), ((1, 0),), ((0, 2),))
    with InProcessContext(2):
        made = quadratics.algorithm(
            "fed_buff", schedule=lambda *_: Known(arrivals)
        )
        done = list(play(made, tmp_path, 4))
    # Client 0 moves from 0 to 0, for that is its optimum.
    base, scale = 0.0, 3**-0.5
    x = scale * (1 + (base - 1) * (1 - RATE * 4) ** 2)
    # Then client 0 comes from version 2, where x was still 0: nothing.
    assert [each for each, _ in done] == pytest.approx([0, 0, x, x], rel=1e-5)
    assert [c["staleness"] for _, c in done] == [0, 0, 2, 1]


def test_without_staleness_it_is_fed_avg_to_the_bit(tmp_path):
    fresh = [tuple((c, v) for c in (0, 1)) for v in range(4)]
    with InProcessContext(2):
        made = quadratics.algorithm(
            "fed_buff", schedule=lambda *_: Known([*fresh, *fresh[:1]])
        )
        xs = [x for x, _ in play(made, tmp_path, 4)]
        fed_avg = quadratics.algorithm("fed_avg")
        history = quadratics.play(fed_avg, [[0, 1]] * 4)
    assert xs == [np.float32(row["x"]) for row in history]


def test_after_a_step_that_is_refused_clients_begin_with_the_model_as_it_is(
    tmp_path,
):
    config = ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=4),
        algorithm=AlgorithmConfig("fed_buff", buffer_size=1),
        clients=ClientConfig(
            clients_per_round=2,
            # All examples at once; the change is above 1.
            batch_size=1000,
            optimizer=OptimizerConfig("client", "sgd", 1000.0),
        ),
        # float32 ends before the step.
        server=ServerConfig(OptimizerConfig("server", "sgd", 3e38)),
        run=RunConfig(
            output_dir=str(tmp_path),
            total_rounds=3,
            max_consecutive_failures=4,
            sinks="csv",
            finishers="none",
        ),
    )
    experiment.run(config)
    rows = rows_of(tmp_path)
    assert [row["rejected_update"] for row in rows] == ["1"] * 3
    task = experiment.load_task(config)
    with runtime(config):
        saved = saved_weights.restored(
            config, task, RunDirectory(str(tmp_path)), 3
        )
        weights = saved.weights.trainable
        begins = {
            client: number
            for number in (1, 2, 3)
            for client in saved.algorithm._schedule.update(number).begins
        }
    assert len(begins) > 1
    for client, number in begins.items():
        (row,) = saved.kept.rows([client])
        assert row["fed_buff"]["version"] == number
        for ours, theirs in zip(row["fed_buff"]["base"], weights):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "devices, options, message",
    [
        ({"round_deadline_s": 5.0}, {}, "--round_deadline_s=5.0 is of rounds"),
        ({"over_selection": 1.3}, {}, "--over_selection=1.3 is of rounds"),
        ({"availability": "diurnal"}, {}, "--device_availability=diurnal is"),
        ({}, {"buffer_size": 11}, "--buffer_size=11 is more than the 10"),
    ],
)
def test_what_rounds_have_is_refused(devices, options, message):
    with pytest.raises(errors.ConfigError, match=message):
        fed_buff.FedBuff.check(
            ExperimentConfig(
                algorithm=AlgorithmConfig("fed_buff", **options),
                clients=ClientConfig(clients_per_round=10),
                devices=DeviceConfig(**devices),
            )
        )
