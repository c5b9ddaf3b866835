"""Tests descriptions of columns, beside which private runs find nothing."""

import json
import pathlib
import sqlite3

import numpy as np
import pandas as pd
import pytest

from tests.testing.scripts import run_script
from tff_pipeline import errors, registry
from tff_pipeline.assembly import task as assembly
from tff_pipeline.commands import prepare_data
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    PrivacyConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.privacy import PRIVACY_OPTIONS
from tff_pipeline.datasets.readers import column_guard, table_features
from tff_pipeline.datasets.readers.table_features import Category

ROWS = 60
CATEGORIES = "column,category\ncity,Oslo\ncity,Rome\nsick,no\nsick,yes\n"
BOUNDS = "column,low,high\nage,0,100\n"


@pytest.fixture
def folder(tmp_path):
    frame(ROWS).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "c.csv").write_text(CATEGORIES)
    (tmp_path / "b.csv").write_text(BOUNDS)
    return tmp_path


def frame(rows):
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "hospital": [f"h{i % 6}" for i in range(rows)],
            "age": draw.integers(20, 90, rows),
            "city": draw.choice(["Oslo", "Rome", "Bonn"], rows),
            "sick": draw.choice(["yes", "no"], rows),
        }
    )


def options_of(folder, files=("categories_file", "column_bounds_file"), **more):
    names = {"categories_file": "c.csv", "column_bounds_file": "b.csv"}
    described = {flag: str(folder / names[flag]) for flag in files}
    flags = {
        "data_dir": str(folder / "t.csv"),
        "client_column": "hospital",
        "label_column": "sick",
        **described,
        **more,
    }
    return DataConfig("csv", **flags)


def task_of(options):
    return registry.load(options.task, registry.TASKS)(options, 0)


def features(task):
    return {each.name: each for each in task.model_fn.args[0]}


def test_the_model_holds_what_is_said_and_nothing_else(folder):
    task = task_of(options_of(folder))
    assert features(task) == {
        "age": table_features.within("age", 0.0, 100.0),
        "city": Category("city", ("Oslo", "Rome")),
    }
    assert task.classes == ["no", "yes"]
    assert task.fitted_columns == {}
    # Another table, and the same model to the bit.
    frame(40).iloc[::-1].to_csv(folder / "t.csv", index=False)
    other = task_of(options_of(folder))
    assert features(other) == features(task)
    assert other.columns == task.columns
    assert [each.missing for each in task.columns] == [None, None]
    assert "-  " in column_guard.in_words(task.columns)


def test_what_is_not_said_is_found_and_accounted_for(folder):
    task = task_of(options_of(folder, files=["column_bounds_file"]))
    by_file = dict.fromkeys(["city", "sick"], "categories_file")
    assert task.fitted_columns == by_file
    assert features(task)["city"].known == ("Bonn", "Oslo", "Rome")
    task = task_of(options_of(folder, files=[]))
    assert task.fitted_columns == {**by_file, "age": "column_bounds_file"}


def test_order_of_classes_is_the_files(folder):
    (folder / "c.csv").write_text(
        "column,category\nsick,yes\nsick,unknown\nsick,no\n"
    )
    task = task_of(options_of(folder))
    assert task.classes == ["yes", "unknown", "no"]
    assert set(task.test.y) == {0, 2}


def test_numbers_to_predict_have_bounds(folder):
    (folder / "c.csv").write_text("column,category\ncity,Oslo\n")
    task = task_of(
        options_of(
            folder,
            label_column="age",
            task_type="regression",
            feature_columns="city",
        )
    )
    assert task.fitted_columns == {}
    scaling = task.model_fn.args[2]
    assert (scaling.mean, scaling.deviation) == ([50.0], [25.0])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c", "", "does not begin with the line column,category"),
        ("c", "city,Oslo\n", "does not begin with the line column,category"),
        ("c", "column,category\ncity,\n", "line 2 has no category"),
        ("c", CATEGORIES + "city,Oslo\n", "line 6 gives the column 'city' a "),
        ("c", CATEGORIES + "city\n", "line 6 has 1 cells"),
        ("c", CATEGORIES + ",x\n", "line 6 has 2 cells or no column's name"),
        ("c", 'column,category\ncity,"x', "cannot be read as CSV"),
        ("c", CATEGORIES + "town,x\n", "--categories_file names the column "),
        ("c", CATEGORIES + "city,NA\n", "'NA', which stands for a missing"),
        ("c", "column,category\nsick,yes\nsick,x\n", "has 'no', which is none"),
        ("c", "column,category\nsick,yes\n", "--label_column|two classes|only"),
        ("b", "column,low,high\nage,1\n", "line 2 has 2 cells"),
        ("b", "column,low,high\nage,,\n", "the bounds nothing and nothing"),
        ("b", "column,low,high\nage,9,1\n", "the bounds 9 and 1"),
        ("b", "column,low,high\nage,0,inf\n", "the bounds 0 and inf"),
        ("b", "column,low,high\nage,0,x\n", "the bounds 0 and x"),
        ("b", BOUNDS + "city,0,1\n", "describes the column 'city' for the "),
        ("b", BOUNDS + "age,0,1\n", "describes the column 'age' for the "),
        ("b", BOUNDS + "weight,0,1\n", "--column_bounds_file names the "),
    ],
)
def test_a_wrong_line_is_named(folder, name, text, said):
    (folder / f"{name}.csv").write_text(text)
    with pytest.raises(errors.PipelineError, match=said) as refused:
        task_of(options_of(folder))
    assert "\n" not in str(refused.value)


def test_bounds_of_text_are_refused(folder):
    (folder / "c.csv").write_text("column,category\nsick,no\nsick,yes\n")
    (folder / "b.csv").write_text(BOUNDS + "city,0,1\n")
    with pytest.raises(errors.DataError, match=r"'city'.*are not numbers"):
        task_of(options_of(folder))


def test_a_file_that_is_not_there_is_named(folder):
    (folder / "c.csv").unlink()
    with pytest.raises(errors.DataError, match="init --templates"):
        task_of(options_of(folder))


def test_what_excel_adds_do_not_count(folder):
    (folder / "b.csv").write_text("\ufeff" + BOUNDS + "\n,,\n\n")
    assert features(task_of(options_of(folder)))["age"].mean == 50


@pytest.mark.parametrize("aggregator", [*PRIVACY_OPTIONS, "examples"])
def test_private_runs_compute_nothing_of_columns(folder, aggregator):
    groups = {"clients": ClientConfig(clients_per_round=2)}
    if aggregator == "examples":
        groups["clients"] = ClientConfig(
            clients_per_round=2,
            dp_target_epsilon=4.0,
            dp_clip=1.0,
            dp_delta=1e-3,
            steps_per_round=1,
        )
    else:
        groups["aggregation"] = AggregationConfig(aggregator)
        clip = "dp_clip" in PRIVACY_OPTIONS[aggregator]
        groups["privacy"] = PrivacyConfig(
            dp_noise_multiplier=1.0, dp_clip=1.0 if clip else None
        )

    def refused(files):
        config = ExperimentConfig(data=options_of(folder, files), **groups)
        task = task_of(config.data)
        try:
            assembly.check_nothing_fitted(config, task)
        except errors.ConfigError as error:
            return str(error)
        return ""

    assert "'age' needs bounds; name them in --column_bounds_file" in (
        refused(["categories_file"])
    )
    assert "'city' needs categories" in refused(["column_bounds_file"])
    assert refused(["categories_file", "column_bounds_file"]) == ""


def test_runs_that_are_not_private_compute_what_they_need(folder):
    config = ExperimentConfig(
        data=options_of(folder, []), clients=ClientConfig(clients_per_round=2)
    )
    assembly.check_nothing_fitted(config, task_of(config.data))


def arrays(folder, **more):
    return DataConfig(
        "npz",
        data_dir=str(folder / "a.npz"),
        categories_file=str(folder / "c.csv"),
        column_bounds_file=str(folder / "b.csv"),
        **more,
    )


def test_arrays_are_described_as_x_and_y(folder):
    draw = np.random.default_rng(0)
    np.savez(
        folder / "a.npz",
        x=draw.normal(size=[ROWS, 3]).astype(np.float32),
        y=draw.integers(0, 2, ROWS),
        client_id=np.arange(ROWS) % 6,
    )
    assert task_of(
        DataConfig("npz", data_dir=str(folder / "a.npz"))
    ).fitted_columns == {"x": "column_bounds_file", "y": "categories_file"}
    (folder / "c.csv").write_text("column,category\ny,0\ny,1\ny,2\n")
    (folder / "b.csv").write_text("column,low,high\nx,-2,2\n")
    task = task_of(arrays(folder))
    assert (task.fitted_columns, task.classes) == ({}, ["0", "1", "2"])
    scaling = task.model_fn.args[2]
    assert (scaling.mean, scaling.deviation) == ([0.0] * 3, [1.0] * 3)
    (folder / "c.csv").write_text("column,category\ny,0\ny,2\n")
    with pytest.raises(errors.DataError, match="has '1', which is none"):
        task_of(arrays(folder))


def test_prepared_clients_are_described_alike(folder):
    options = {"client_column": "hospital", "label_column": "sick"}
    path = folder / "own.sqlite"
    prepare_data.write(str(folder / "t.csv"), str(path), options)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM examples").fetchone()
    (folder / "c.csv").write_text("column,category\ny,yes\ny,no\n")
    (folder / "b.csv").write_text("column,low,high\nx,0,100\n")
    told = dict(
        categories_file=str(folder / "c.csv"),
        column_bounds_file=str(folder / "b.csv"),
    )
    plain = task_of(DataConfig("sqlite", data_dir=str(path)))
    task = task_of(DataConfig("sqlite", data_dir=str(path), **told))
    assert (task.fitted_columns, task.classes) == ({}, ["yes", "no"])
    # The same examples, their classes the other way round.
    np.testing.assert_array_equal(plain.test.y, 1 - task.test.y)


def test_words_of_a_corpus_are_described(tmp_path):
    for client in "ab":
        (tmp_path / f"{client}.conll").write_text(
            "Oslo B-LOC\nis O\nfar O\n\nAda B-PER\nis O\n\n" * 4
        )
    plain = task_of(DataConfig("ner_tagger", data_dir=str(tmp_path)))
    assert set(plain.fitted_columns) == {"word", "character", "tag"}
    path = tmp_path / "c.csv"
    path.write_text(
        "column,category\nword,Is\nword,near\ncharacter,i\ncharacter,s\n"
        "tag,B-LOC\ntag,B-PER\ntag,B-ORG\n"
    )
    told = DataConfig(
        "ner_tagger", data_dir=str(tmp_path), categories_file=str(path)
    )
    task = task_of(told)
    assert task.fitted_columns == {}
    assert "B-ORG" in task.classes
    words = task.model_fn.keywords["num_words"]
    characters = task.model_fn.keywords["num_characters"]
    assert (words, characters) == (4, 4)
    path.write_text("column,category\ntag,B-LOC\n")
    with pytest.raises(errors.DataError, match=r"tag 'B-PER'.*tag,B-PER"):
        task_of(told)


@pytest.mark.soak
def test_a_template_is_filled_in_and_trains(folder, monkeypatch):
    """From `init` to a private model, as a user does it."""
    frame(400).to_csv(folder / "t.csv", index=False)
    for name in ("c.csv", "b.csv"):
        (folder / name).unlink()
    monkeypatch.chdir(folder)
    done = run_script("init.py", "t.csv", "--templates")
    assert (done.returncode, done.stderr) == (0, "")
    assert run_script("init.py", "t.csv", "--templates").returncode == 2
    blank = pathlib.Path("t.categories.csv").read_text()
    assert blank == "column,category\ncity,\nsick,\n"
    assert (
        pathlib.Path("t.bounds.csv").read_text() == "column,low,high\nage,,\n"
    )
    flags = (
        *("--flagfile=t.flags", "--output_dir=run", "--total_rounds=2"),
        *("--partition=iid", "--num_clients=200", "--clients_per_round=20"),
        *("--aggregator=dp_gaussian", "--dp_clip=1", "--dp_target_epsilon=8"),
    )
    done = run_script("train.py", *flags)
    assert done.returncode == 2
    assert "the column 'age' needs bounds" in done.stderr
    assert not pathlib.Path("run").exists()
    flags += ("--categories_file=t.categories.csv",)
    flags += ("--column_bounds_file=t.bounds.csv",)
    done = run_script("train.py", *flags)
    assert done.returncode == 1
    assert "t.categories.csv: line 2 has no category" in done.stderr
    pathlib.Path("t.categories.csv").write_text(CATEGORIES)
    pathlib.Path("t.bounds.csv").write_text(BOUNDS)
    done = run_script("train.py", *flags)
    assert done.returncode == 0, done.stderr
    (before,) = [
        line
        for line in json.loads(pathlib.Path("run/privacy.json").read_text())[
            "not_covered"
        ]
        if "before training" in line
    ]
    assert "of the columns nothing else was computed" in before
    data = json.loads(pathlib.Path("run/environment.json").read_text())["data"]
    assert {"--categories_file", "--column_bounds_file"} < {*data}
    # Another file is another experiment.
    pathlib.Path("t.bounds.csv").write_text("column,low,high\nage,0,90\n")
    done = run_script("train.py", *flags, "--total_rounds=3")
    assert done.returncode == 1
    assert "--column_bounds_file" in done.stderr
