"""Runs with devices: rounds of nobody, resumes, and who counts in a metric."""

import csv
import dataclasses

import pytest

from tests.testing.scripts import rows_of
from tests.testing.soaked import soaked
from tff_pipeline import errors, experiment
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    DataConfig,
    DeviceConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.runs import round_log

CLIENTS = 6
# Nobody is there in the rounds that begin within these seconds.
NOBODY = (20.0, 110.0)


def config_of(tmp_path, name="run", rounds=8, **groups):
    sessions = tmp_path / "sessions.csv"
    ids = experiment.load_task(
        ExperimentConfig(data=_data(), clients=ClientConfig(3))
    ).train.client_ids
    # The last one never comes.
    sessions.write_text(
        "client_id,start_s,end_s\n"
        + "".join(f"{i},0,{NOBODY[0]}\n{i},{NOBODY[1]},900\n" for i in ids[:-1])
    )
    return ExperimentConfig(
        **{
            "data": _data(),
            "clients": ClientConfig(
                clients_per_round=3,
                batch_size=50,
                optimizer=OptimizerConfig("client", "sgd", 0.1),
            ),
            # Which forgets nothing of a round before.
            "server": ServerConfig(OptimizerConfig("server", "sgd", 1.0)),
            "devices": DeviceConfig(
                dropout=0.3, sessions=str(sessions), round_deadline_s=30.0
            ),
            "run": RunConfig(
                output_dir=str(tmp_path / name),
                total_rounds=rounds,
                rounds_per_checkpoint=2,
                rounds_per_eval=4,
                sinks="csv",
                finishers="none",
            ),
            **groups,
        }
    )


def _data():
    return DataConfig("digits_2nn", partition="iid", num_clients=CLIENTS)


def numbers_of(path):
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def states_of(path):
    return [
        record.content["state"]
        for record in round_log.read(str(path / "rounds.jsonl"))
        if record.content["kind"] == "round"
    ]


def test_a_run_with_rounds_of_nobody_ends_well_and_goes_on_to_the_bit(tmp_path):
    said = []
    config = config_of(tmp_path)
    experiment.run(config, announce=said.append)
    # The one without a session and, by chance, another.
    assert said[-1].startswith(f"2 of {CLIENTS} clients counted in none of 8")
    assert said[-1].endswith(f"'client_{CLIENTS - 1}'.")
    rows, states = numbers_of(tmp_path / "run"), states_of(tmp_path / "run")
    begins = [0.0, *(float(row["simulated_seconds"]) for row in rows)]
    empty = [i for i in range(8) if NOBODY[0] <= begins[i] < NOBODY[1]]
    assert 0 < len(empty) < 8
    for i in empty:
        # Nothing moved: a legal no-op.
        assert rows[i]["clients"] == rows[i]["examples"] == "0"
        assert rows[i]["rejected_update"] == rows[i]["round_bytes_up"] == "0"
        assert rows[i]["train_loss"] == ""
        assert rows[i]["unavailable_clients"] == "3"
        assert i == 0 or states[i] == states[i - 1]
        assert begins[i + 1] == begins[i] + 30
    sizes = 1437 // CLIENTS, 1437 // CLIENTS + 1
    for row in rows:
        lost = int(row["unavailable_clients"]) + int(row["dropped_clients"])
        assert int(row["clients"]) + lost + int(row["late_clients"]) == 3
        # Of those that count alone.
        least, most = (int(row["clients"]) * size for size in sizes)
        assert least <= int(row["examples"]) <= most
    experiment.run(config_of(tmp_path, "parts", rounds=4))
    experiment.run(config_of(tmp_path, "parts"))
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "run")
    assert states_of(tmp_path / "parts") == states


def test_a_trace_that_changed_does_not_go_on(tmp_path):
    config = config_of(tmp_path, rounds=1)
    experiment.run(config)
    path = config.devices.sessions
    with open(path, "a") as file:
        file.write("carl,0,1\n")
    with pytest.raises(errors.RunDirectoryError, match="--device_sessions"):
        experiment.run(dataclasses.replace(config, run=_longer(config.run)))


def _longer(run):
    return dataclasses.replace(run, total_rounds=2)


@pytest.mark.parametrize(
    "name", soaked("scaffold", "fed_dyn", "fed_nova", "mime", "mime_lite")
)
def test_every_algorithm_lives_through_rounds_of_nobody(tmp_path, name):
    config = config_of(tmp_path, algorithm=AlgorithmConfig(name))
    done = experiment.run(config)
    assert done.evaluation["accuracy"] > 0.2
    rows = numbers_of(tmp_path / "run")
    assert {row["rejected_update"] for row in rows} == {"0"}
    assert "0" in {row["clients"] for row in rows}


SAMPLING = {
    "dp_gaussian": "poisson",
    "dp_gaussian_adaptive": "uniform",
    "dp_tree": "shuffled",
    "dp_local": "uniform",
}


@pytest.mark.parametrize(
    "name", ["dp_gaussian", *soaked(*sorted({*SAMPLING} - {"dp_gaussian"}))]
)
def test_a_private_run_tells_nobody_who_came(tmp_path, name):
    options = {"dp_clip": 0.5}
    if name == "dp_gaussian_adaptive":
        options = {"dp_initial_clip": 0.5, "dp_count_stddev": 1.0}
    config = config_of(
        tmp_path,
        clients=ClientConfig(clients_per_round=3, sampling=SAMPLING[name]),
        aggregation=AggregationConfig(name),
        privacy=PrivacyConfig(
            dp_noise_multiplier=1.0,
            dp_delta=1e-3,
            dp_noise_seed=1,
            dp_accountant="rdp",
            **options,
        ),
    )
    said = []
    done = experiment.run(config, announce=said.append)
    assert not any("counted in none" in line for line in said)
    columns = set(numbers_of(tmp_path / "run")[0])
    assert not columns & {"clients", "simulated_seconds", "dropped_clients"}
    assert {r["rejected_update"] for r in numbers_of(tmp_path / "run")} == {"0"}
    # Epsilon is that of a run in which nobody is lost.
    plain = dataclasses.replace(
        config,
        devices=DeviceConfig(),
        run=dataclasses.replace(config.run, output_dir=str(tmp_path / "2")),
    )
    assert experiment.run(plain, until=1).epsilon < done.epsilon
    epsilons = [row["epsilon"] for row in numbers_of(tmp_path / "2")]
    assert numbers_of(tmp_path / "run")[0]["epsilon"] == epsilons[0]
