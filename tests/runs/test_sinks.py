"""Rows are kept whole and in full, and every sink holds the same ones."""

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.testing.resources import no_file_above
from tests.testing.scripts import ROOT
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.errors import RunDirectoryError
from tff_pipeline.runs import metrics_file, sinks, tensorboard_sink
from tff_pipeline.runs.metrics_file import CsvSink
from tff_pipeline.runs.sinks import Sinks
from tff_pipeline.runs.tensorboard_sink import TensorBoardSink

TAGS = {
    "train_loss": "1_loss/train",
    "eval_mean_error": "3_metrics/eval_mean_error",
    "clients": "4_round/clients",
    "bytes_down": "5_cost/bytes_down",
    "seconds": "5_cost/seconds",
}
COLUMNS = ["round", *TAGS]


def row_of(round_number):
    """A row with numbers that need all their digits; no two are the same.

    Every other one lacks the evaluation, as in a run.
    """
    row = {
        "round": round_number,
        "train_loss": 1 / 3 + round_number,
        "eval_mean_error": math.pi / round_number,
        "clients": round_number % 7,
        "bytes_down": 3_000_000_000 + round_number,
        "seconds": 0.1234 + round_number,
    }
    if round_number % 2:
        del row["eval_mean_error"]
    return row


def rows_to(last):
    return [row_of(number) for number in range(1, last + 1)]


def sinks_at(csv_path, tensorboard):
    return Sinks(
        str(csv_path),
        [CsvSink(str(csv_path), COLUMNS), TensorBoardSink(str(tensorboard))],
    )


@pytest.fixture
def csv_path(tmp_path):
    return tmp_path / "metrics.csv"


@pytest.fixture
def tensorboard(tmp_path):
    return tmp_path / "tensorboard"


@pytest.fixture
def open_log(csv_path, tensorboard):
    """Opens the log anew, as the process does that goes on with a run."""
    return lambda: sinks_at(csv_path, tensorboard)


def write_log(open_log, rows):
    log = open_log()
    log.rewind(0)
    for row in rows:
        log.append(row)
    log.close()
    return log


def scalars(tensorboard):
    """(step, tag) -> value of every scalar; none may be there twice."""
    values = {}
    for path in sorted(tensorboard.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                key = (event.step, value.tag)
                assert key not in values
                values[key] = tf.make_ndarray(value.tensor)[()]
    return values


def scalars_of(rows):
    """What TensorBoard, whose scalars are float32, should hold of `rows`."""
    return {
        (row["round"], TAGS[name]): np.float32(value)
        for row in rows
        for name, value in row.items()
        if name != "round"
    }


def test_rows_come_back_as_they_were(open_log, csv_path):
    write_log(open_log, rows_to(5))
    assert metrics_file.read(str(csv_path)) == rows_to(5)
    assert csv_path.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize(
    "value",
    [
        *(0.1, 1 / 3, 5e-324, 3.4028234663852886e38, 1e16 + 2, 0.0, -0.0),
        *(math.inf, -math.inf, math.nan, 0, -1, 2**31, 2**53 + 1),
    ],
)
def test_numbers_keep_their_type_and_every_digit(open_log, csv_path, value):
    write_log(open_log, [{"round": 1, "train_loss": value}])
    (row,) = metrics_file.read(str(csv_path))
    assert row.keys() == {"round", "train_loss"}
    assert type(row["train_loss"]) is type(value)
    assert repr(row["train_loss"]) == repr(value)


def test_a_row_is_in_the_file_when_append_returns(open_log, csv_path):
    log = open_log()
    log.rewind(0)
    for last in (1, 2, 3):
        log.append(row_of(last))
        assert metrics_file.read(str(csv_path)) == rows_to(last)
    log.close()


def test_a_new_log_is_empty_and_can_be_read(open_log, csv_path, tensorboard):
    log = open_log()
    assert log.rewind(0) == []
    log.close()
    assert metrics_file.read(str(csv_path)) == []
    assert scalars(tensorboard) == {}


@pytest.mark.parametrize("kept", [0, 1, 4, 6, 99])
def test_rewind_drops_and_returns(open_log, csv_path, tensorboard, kept):
    write_log(open_log, rows_to(6))
    log = open_log()
    wanted = rows_to(min(kept, 6))
    assert log.rewind(kept) == wanted
    assert metrics_file.read(str(csv_path)) == wanted
    log.close()
    assert scalars(tensorboard) == scalars_of(wanted)


def test_tensorboard_holds_exactly_the_rows(open_log, tensorboard):
    write_log(open_log, rows_to(30))
    assert scalars(tensorboard) == scalars_of(rows_to(30))


def test_tensorboard_holds_exactly_the_rows_after_a_rewind(
    open_log, csv_path, tensorboard
):
    lost = [{**row, "train_loss": -1.0} for row in rows_to(9)[6:]]
    killed = open_log()
    killed.rewind(0)
    for row in rows_to(6) + lost:
        killed.append(row)
    # Not closed: it was killed.
    log = open_log()
    log.rewind(6)
    for row in rows_to(12)[6:]:
        log.append(row)
    log.close()
    assert metrics_file.read(str(csv_path)) == rows_to(12)
    assert scalars(tensorboard) == scalars_of(rows_to(12))


def test_a_line_torn_anywhere_is_left_out(open_log, csv_path):
    write_log(open_log, rows_to(3))
    whole = csv_path.read_bytes()
    second = len(b"".join(whole.splitlines(keepends=True)[:3]))
    # With all but its line break the third row may count as there.
    for length in range(second, len(whole) - 1):
        csv_path.write_bytes(whole[:length])
        left = whole[second:length].decode()
        assert metrics_file.read(str(csv_path)) == rows_to(2), f"with {left!r}"


def test_a_torn_line_and_later_rows_do_not_come_back(
    open_log, csv_path, tensorboard
):
    write_log(open_log, rows_to(6))
    with csv_path.open("a") as file:
        file.write("7,7.33")
    log = open_log()
    assert log.rewind(5) == rows_to(5)
    for row in rows_to(7)[5:]:
        log.append(row)
    log.close()
    assert metrics_file.read(str(csv_path)) == rows_to(7)
    assert csv_path.read_text().count("\n") == 8
    assert scalars(tensorboard) == scalars_of(rows_to(7))


def test_zeros_that_a_power_cut_left_are_no_rows(open_log, csv_path):
    write_log(open_log, rows_to(3))
    with csv_path.open("ab") as file:
        file.write(bytes(100))
    assert metrics_file.read(str(csv_path)) == rows_to(3)
    log = open_log()
    assert log.rewind(3) == rows_to(3)
    log.close()
    assert b"\0" not in csv_path.read_bytes()


def test_a_csv_that_cannot_be_written_is_named(tmp_path, tensorboard):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "metrics.csv")
    log = sinks_at(path, tensorboard)
    with pytest.raises(RunDirectoryError) as raised:
        log.rewind(0)
    assert path in str(raised.value)


def test_a_tensorboard_folder_that_cannot_be_made_is_named(tmp_path, csv_path):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "tensorboard")
    log = sinks_at(csv_path, path)
    with pytest.raises(RunDirectoryError) as raised:
        log.rewind(0)
    assert path in str(raised.value)


def test_a_folder_that_vanished_is_named(open_log, tmp_path, csv_path):
    log = open_log()
    log.rewind(0)
    shutil.rmtree(tmp_path)
    with pytest.raises(RunDirectoryError) as raised:
        log.append(row_of(1))
    assert str(csv_path) in str(raised.value)


def test_a_row_that_does_not_fit_is_an_error_and_the_others_stand(
    open_log, csv_path, tensorboard
):
    log = open_log()
    log.rewind(0)
    for row in rows_to(3):
        log.append(row)
    for more in (0, 10):
        size = os.path.getsize(csv_path) + more
        with pytest.raises(RunDirectoryError) as raised, no_file_above(size):
            log.append(row_of(4))
        assert str(csv_path) in str(raised.value)
    again = open_log()
    assert again.rewind(3) == rows_to(3)
    again.close()
    assert scalars(tensorboard) == scalars_of(rows_to(3))


def test_tensorboard_on_a_full_disk_is_an_error_that_names_it(
    open_log, tensorboard
):
    log = open_log()
    log.rewind(0)
    # An event takes more room than a row: TensorBoard's file is full first.
    with pytest.raises(RunDirectoryError) as raised, no_file_above(5000):
        for row in rows_to(100):
            log.append(row)
    assert str(tensorboard) in str(raised.value)


def test_rewind_on_a_full_disk_leaves_the_old_rows(open_log, csv_path):
    write_log(open_log, rows_to(20))
    with pytest.raises(RunDirectoryError) as raised, no_file_above(100):
        open_log().rewind(10)
    assert str(csv_path) in str(raised.value)
    assert metrics_file.read(str(csv_path)) == rows_to(20)


def config_of(path, **run):
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="iid", num_clients=6),
        clients=ClientConfig(clients_per_round=2, batch_size=16),
        run=RunConfig(output_dir=str(path), rounds_per_checkpoint=2, **run),
    )


def test_loss_and_accuracy_stand_first_where_tensorboard_sorts_by_name():
    columns = ["round", "seconds", "bytes_up", "epsilon", "clients"]
    columns += ["eval_auc", "train_accuracy", "eval_accuracy", "eval_loss"]
    tags = sorted(map(tensorboard_sink.tag, columns[1:]))
    assert tags == [
        "1_loss/eval",
        "2_accuracy/eval",
        "2_accuracy/train",
        "3_metrics/eval_auc",
        "4_round/clients",
        "5_cost/bytes_up",
        "5_cost/epsilon",
        "5_cost/seconds",
    ]


def test_hparams_are_the_flags_that_were_set_and_survive_a_rewind(tmp_path):
    config = config_of(tmp_path / "run", total_rounds=7, seed=5)
    values = sinks.hyperparameters(config)
    assert values == {
        "task": "digits_2nn",
        "num_clients": 6,
        "clients_per_round": 2,
        "client_batch_size": 16,
        "seed": 5,
        "total_rounds": 7,
    }
    for _ in range(2):
        sink = TensorBoardSink(str(tmp_path / "board"), values)
        sink.rewind(1, rows_to(1))
        sink.close()
    found = [
        plugin_data_pb2.HParamsPluginData.FromString(
            value.metadata.plugin_data.content
        )
        for path in (tmp_path / "board").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]
    # TensorBoard looks for the last flags of a run; they are written once.
    (shown,) = [
        dict(each.session_start_info.hparams)
        for each in found
        if each.HasField("session_start_info")
    ]
    assert {
        name: getattr(value, value.WhichOneof("kind"))
        for name, value in shown.items()
    } == values


@pytest.mark.soak
def test_a_sink_of_ones_own_takes_one_line_and_resumes(tmp_path, monkeypatch):
    target = "tests.testing.own_sink:JsonLines"
    monkeypatch.setitem(registry.SINKS, "json_lines", target)
    path, options = tmp_path / "run", {"sinks": "csv,json_lines"}
    experiment.run(config_of(path, total_rounds=3, **options))
    # A row of a future that was lost, had the run been killed in round 4.
    with open(path / "rows.jsonl", "a") as file:
        file.write(json.dumps({"round": 4, "train_loss": -1.0}) + "\n")
    experiment.run(config_of(path, total_rounds=5, **options))
    lines = (path / "rows.jsonl").read_text().splitlines()
    rows = metrics_file.read(str(path / "metrics.csv"))
    assert [row["round"] for row in rows] == [1, 2, 3, 4, 5]
    assert [json.loads(line) for line in lines] == rows
    assert not (path / "tensorboard").exists()


@pytest.mark.parametrize(
    "value", ["tensorboard", "csv,wandb", "csv,csv", "csv,", "", "none", " csv"]
)
def test_sinks_that_are_not_there_are_refused_in_a_sentence(value):
    with pytest.raises(errors.ConfigError) as raised:
        RunConfig(sinks=value)
    assert str(raised.value) == (
        f"--sinks={value}: must be names with commas between them, from: csv, "
        "tensorboard; csv must be one of them."
    )


@pytest.mark.parametrize("last", [False, True])
def test_all_sinks_are_closed_though_one_of_them_fails(csv_path, last):
    closed = []

    class Failing(CsvSink):
        def close(self):
            raise RunDirectoryError("this one")

    class Closed(CsvSink):
        def close(self):
            closed.append(self)

    kinds = [Closed, Closed, Failing] if last else [Failing, Closed, Closed]
    log = Sinks(str(csv_path), [kind(str(csv_path), COLUMNS) for kind in kinds])
    with pytest.raises(RunDirectoryError, match="this one"):
        log.close()
    assert len(closed) == 2


READ = """
import json, sys
from tff_pipeline.runs import directory, metrics_file, round_log
path = directory.RunDirectory(sys.argv[1])
rows = metrics_file.read(path.metrics)
records = list(round_log.read(path.rounds))
config = path.read_config()
heavy = {
    "tensorflow", "tensorflow_federated", "keras", "pandas", "matplotlib"
} & set(sys.modules)
print(json.dumps([len(rows), len(records), config.data.task, sorted(heavy)]))
"""


def test_a_run_is_read_without_tensorflow(small_run):
    done = subprocess.run(
        [sys.executable, "-c", READ, str(small_run)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows, records, task, heavy = json.loads(done.stdout)
    assert (rows, task) == (10, "digits_2nn")
    assert records >= 11
    assert heavy == []
