"""Data of a user's own: tables, arrays and clients in SQLite files."""

import gzip
import json
import keyword
import os
import pathlib
import sqlite3
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.testing.scripts import ROOT, run_script
from tff_pipeline import errors, experiment, registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import hold_out
from tff_pipeline.datasets.readers import sqlite_writer, table_features
from tff_pipeline.datasets.readers.column import MISSING
from tff_pipeline.datasets.readers.sqlite_writer import Row
from tff_pipeline.datasets.readers.table import Table
from tff_pipeline.models import arrays as array_models
from tff_pipeline.models import scaling, table_serving

# Columns as users have them: names that no signature may have, commas in
# quotes, several words for missing, whole numbers that stand for categories.
COLUMNS = ("age (years)", "Age (years)", "city", "code", "dose")


def load(task, path, **options):
    options = DataConfig(task=task, data_dir=str(path), **options)
    return registry.load(task, registry.TASKS)(options, seed=0)


def load_csv(path, **options):
    options = {"client_column": "who", "label_column": "y", **options}
    return load("csv", path, **options)


def patients(rows=600):
    """A table that can be learnt, with a client of one row."""
    draw = np.random.default_rng(0)
    age = draw.normal(50.0, 10.0, rows)
    code = draw.integers(1, 4, rows)
    city = np.array(["Oslo", "Paris, France", 'The "Hague"'])[
        draw.integers(0, 3, rows)
    ]
    dose = draw.lognormal(5.0, 1.0, rows)
    score = (age - 50) / 10 + (code == 2) * 2.0 - (city == "Oslo") * 2.0
    frame = pd.DataFrame(
        {
            "who": np.char.add("ward ", draw.integers(0, 9, rows).astype(str)),
            "age (years)": np.round(age, 3),
            "Age (years)": draw.integers(0, 9, rows),
            "city": city,
            "code": code,
            "dose": dose,
            "y": np.where(score > 0, "ill", "well"),
            "amount": 1000.0 + 300.0 * score,
            "part": np.where(np.arange(rows) % 5, "train", "Test"),
        }
    )
    frame.loc[::7, "age (years)"] = np.nan
    frame.loc[::11, "city"] = np.nan
    frame.loc[0, "who"] = "ward of one"
    frame.loc[0, "part"] = "train"
    return frame


@pytest.fixture(scope="module")
def patients_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("patients") / "patients.csv"
    patients().to_csv(path, index=False, na_rep="?")
    return path


def options_of_patients():
    return {
        "feature_columns": ", ".join(COLUMNS),
        "categorical_columns": "code",
        "split_column": "part",
    }


# What columns hold.


def column(tmp_path, cells, **arguments):
    path = tmp_path / "table.csv"
    pd.DataFrame({"c": cells, "d": 0}).to_csv(path, index=False)
    table = Table(str(path))
    table.load(["c"])
    return table.take("c", **arguments)


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "3"],
        [" 1.5 ", "-2e3", "+7", ".5"],
        ["1", *MISSING, "0"],
        ["0", "1"] * 50,
    ],
)
def test_cells_that_are_all_numbers_make_a_column_of_numbers(tmp_path, cells):
    read = column(tmp_path, cells)
    assert read.categories is None
    present = [cell for cell in cells if cell not in MISSING]
    np.testing.assert_array_equal(
        read.values[~read.missing], [float(cell) for cell in present]
    )
    assert read.missing.sum() == len(cells) - len(present)


def test_cells_that_are_text_make_categories_in_order(tmp_path):
    read = column(tmp_path, ["b", " a", "NA", "Ä", "a ", "1"])
    assert read.categories == ("1", "a", "b", "Ä")
    assert read.values.tolist() == [2, 1, -1, 3, 1, 0]
    assert read.strings().tolist() == ["b", "a", "", "Ä", "a", "1"]


def test_a_few_words_among_numbers_are_a_mistake_many_are_categories(tmp_path):
    numbers = [str(number) for number in range(50)]
    with pytest.raises(errors.DataError) as error:
        column(tmp_path, [*numbers, "12 mg"])
    assert "row 51 below the header has '12 mg'" in str(error.value)
    assert "column 'c'" in str(error.value)
    assert "--categorical_columns" in str(error.value)
    forced = column(tmp_path, [*numbers, "12 mg"], strict=False)
    assert len(forced.categories) == 51
    dependents = ["0", "1", "2", "3+"] * 20
    assert column(tmp_path, dependents).categories == ("0", "1", "2", "3+")


@settings(deadline=None, max_examples=30)
@given(
    cells=st.lists(
        st.one_of(st.none(), st.integers(0, 3), st.sampled_from("abc ä")),
        min_size=1,
        max_size=40,
    )
)
def test_text_comes_back_whatever_it_is(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("text") / "table.tsv.gz"
    frame = pd.DataFrame({"c": cells, "d": 0}, dtype=object)
    frame.to_csv(path, sep="\t", index=False)
    table = Table(str(path))
    table.load(["c"])
    wanted = ["" if cell is None else str(cell).strip() for cell in cells]
    assert table.text("c").strings().tolist() == wanted


def test_csv_tsv_gz_parquet_and_parts_of_a_table_are_one_table(tmp_path):
    frame = patients(60)
    half = len(frame) // 2
    for ending in (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet"):
        folder = tmp_path / ending
        folder.mkdir()
        (folder / "README.txt").write_text("not a part")
        for number, part in enumerate((frame[:half], frame[half:])):
            path = folder / f"{number}{ending}"
            if ending == ".parquet":
                part.to_parquet(path)
            else:
                separator = "\t" if ".tsv" in ending else ","
                part.to_csv(path, sep=separator, index=False)
    tasks = [
        load_csv(folder, **options_of_patients())
        for folder in sorted(tmp_path.iterdir())
    ]
    for task in tasks[1:]:
        assert task.train.client_ids == tasks[0].train.client_ids
        np.testing.assert_array_equal(task.test.x, tasks[0].test.x)
        np.testing.assert_array_equal(task.test.y, tasks[0].test.y)


# Who is held out, and what is learnt before training.


def test_a_share_of_every_client_is_held_out_but_its_last_row():
    owners = np.repeat(["a", "b", "c"], [1, 2, 100])
    drawn = hold_out.mask(len(owners), owners, 0.3, seed=0)
    assert [drawn[owners == name].sum() for name in "abc"] == [0, 1, 30]
    assert not (drawn == hold_out.mask(103, owners, 0.3, seed=1)).all()
    assert hold_out.mask(103, None, 0.3, seed=0).sum() == 31


def test_a_client_of_one_row_trains_and_is_not_tested(patients_csv):
    task = load_csv(patients_csv, feature_columns="dose")
    assert task.train.size("ward of one") == 1
    assert "ward of one" not in task.test_clients.client_ids
    total = sum(task.train.size(name) for name in task.train.client_ids)
    assert total + len(task.test) == 600
    assert len(task.test) == pytest.approx(120, abs=5)


def test_statistics_are_of_the_clients_that_train_alone(tmp_path):
    options = {**options_of_patients(), "unseen_clients": 3}
    frame = patients()
    frame.to_csv(tmp_path / "a.csv", index=False)
    task = load_csv(tmp_path / "a.csv", **options)
    known = task.model_fn.args[0]
    trains = frame.who.isin(task.train.client_ids) & (frame.part == "train")
    assert trains.sum() < 500
    ages = frame["age (years)"][trains].dropna()
    assert known[0].median == pytest.approx(ages.median())
    assert known[0].mean == pytest.approx(ages.mean())
    assert known[0].deviation == pytest.approx(ages.std(ddof=0))
    # What others have is seen nowhere in the model.
    changed = frame.copy()
    changed.loc[~trains, "dose"] = 1e6
    changed.loc[~trains, "age (years)"] = np.nan
    changed.loc[~trains, "city"] = "Atlantis"
    changed.loc[~trains, "code"] = 77
    changed.to_csv(tmp_path / "b.csv", index=False)
    other = load_csv(tmp_path / "b.csv", **options)
    assert other.train.client_ids == task.train.client_ids
    assert other.model_fn.args[0] == known
    codes = other.test.x[:, [2, 3]]
    assert (codes == table_features.UNKNOWN).all()


def test_rows_that_no_client_owns_are_spread_as_the_partition_says(tmp_path):
    patients().drop(columns="who").to_csv(tmp_path / "t.csv", index=False)
    task = load_csv(
        tmp_path / "t.csv", client_column=None, partition="iid", num_clients=6
    )
    assert len(task.train) == 6
    assert len(task.test) == 120


def test_class_names_are_sorted_numbers_by_value(tmp_path):
    frame = patients(60)
    frame["y"] = [9, 10, 11] * 20
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = load_csv(tmp_path / "t.csv", feature_columns="dose")
    given = task.outputs_fn(tf.constant([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]]))
    assert given["class_name"].numpy().tolist() == [b"10", b"9"]


# The exported model.


def test_input_names_are_legal_and_unique():
    names = ["a b", "a-b", "A_B", "9 lives", "ü", "_x", "class", "a.b/c"]
    assert table_serving.input_names(names) == [
        *("a_b", "a_b_2", "A_B_3", "column_9_lives", "column__"),
        *("column__x", "column_class", "a_b_c"),
    ]


@settings(deadline=None)
@given(
    names=st.lists(
        st.one_of(
            st.text(max_size=5),
            st.sampled_from(
                [*keyword.kwlist, "self", "column_class", "A", "a"]
            ),
        ),
        unique=True,
    )
)
def test_input_names_can_be_arguments_whatever_columns_are_called(names):
    found = table_serving.input_names(names)
    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert name.isascii() and name.isidentifier()
        assert not keyword.iskeyword(name) and name != "self"
        assert name[0] != "_"


SERVE = """
import json, sys
import numpy as np
import pandas as pd
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rows = pd.read_csv(sys.argv[2], na_values="?")
rows = rows[rows.part == "Test"]
names = dict(age__years_="age (years)", Age__years__2="Age (years)")
inputs = {}
for name, spec in model.structured_input_signature[1].items():
    cells = rows[names.get(name, name)]
    text = spec.dtype == tf.string
    cells = cells.fillna("?") if text else cells.astype("float32")
    inputs[name] = tf.constant(cells.to_numpy(str if text else np.float32))
given = model(**inputs)
name = given["class_name"].numpy().astype(str)
print(json.dumps(float(np.mean(name == rows.y.to_numpy()))))
"""


def config(task, path, run_dir, rounds, **options):
    return ExperimentConfig(
        data=DataConfig(task=task, data_dir=str(path), **options),
        clients=ClientConfig(
            clients_per_round=5,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
        ),
        run=RunConfig(
            output_dir=str(run_dir), total_rounds=rounds, rounds_per_eval=rounds
        ),
    )


@pytest.mark.soak
def test_a_table_is_learnt_and_its_model_takes_raw_columns(
    patients_csv, tmp_path
):
    options = options_of_patients()
    result = experiment.run(
        config(
            *("csv", patients_csv, tmp_path / "run", 12),
            client_column="who",
            label_column="y",
            **options,
        )
    )
    # The larger class is 57 %.
    assert result.evaluation["accuracy"] > 0.8
    done = subprocess.run(
        [
            *(sys.executable, "-c", SERVE),
            *(result.directory.saved_model, str(patients_csv)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # TensorFlow alone, in a process of its own: the same to the last digit of
    # the float32 that metrics are computed in.
    served = np.float32(json.loads(done.stdout))
    assert served == np.float32(result.evaluation["accuracy"])


def test_missing_unknown_and_known_cells_are_served_as_trained(patients_csv):
    task = load_csv(patients_csv, **options_of_patients())
    model = task.build_model()
    known = task.model_fn.args[0]
    serving = task.serving_fn(model)
    cells = {
        "age__years_": [50.0, np.nan, 1.0, 1.0],
        "Age__years__2": [1.0, 2.0, np.nan, 4.0],
        "city": [" Oslo ", "NA", "", "Atlantis"],
        "code": ["2", "NA", "5", " 3"],
        "dose": [1.0, 1.0, 1.0, 1.0],
    }
    given = serving({name: tf.constant(v) for name, v in cells.items()})
    oslo = 2 + known[2].known.index("Oslo")
    nan = np.nan
    row = np.array(
        [
            [50, 1, oslo, 2 + known[3].known.index("2"), 1],
            [nan, 2, table_features.ABSENT, table_features.ABSENT, 1],
            [1, nan, table_features.ABSENT, table_features.UNKNOWN, 1],
            [1, 4, table_features.UNKNOWN, 2 + known[3].known.index("3"), 1],
        ],
        np.float32,
    )
    np.testing.assert_array_equal(given, model(row))


def test_an_unknown_category_changes_nothing(patients_csv):
    task = load_csv(patients_csv, feature_columns="city")
    model = task.build_model()
    outputs = model(tf.constant([[0.0], [1.0], [2.0]])).numpy()
    hidden = tf.zeros([1, 64])
    for layer in model.layers[-2:]:
        hidden = layer(hidden)
    np.testing.assert_allclose(outputs[0], hidden[0], atol=1e-7)
    assert (outputs[1] != outputs[0]).any()


def test_numbers_are_predicted_in_their_unit(patients_csv):
    task = load_csv(
        patients_csv,
        label_column="amount",
        feature_columns="age (years),city",
        task_type="regression",
    )
    y = np.concatenate(
        [task.train.load(name).y for name in task.train.client_ids]
    )
    assert y.shape[1:] == (1,)
    # To always predict the mean has a loss of 1, whatever the unit is.
    mean = tf.fill([len(y), 1], y.mean())
    assert float(task.loss_fn()(y, mean)) == pytest.approx(1.0, abs=1e-4)
    errors_ = task.set_metrics["root_mean_squared_error"](y, mean.numpy())
    assert errors_ == pytest.approx(y.std(), rel=1e-4)
    model = task.build_model()
    # Untrained, its numbers are about the mean and not about 0.
    assert abs(model(task.test.x) - y.mean()).numpy().max() < 4 * y.std()
    given = task.outputs_fn(model(task.test.x))["value"]
    assert given.shape == (len(task.test),)


# Tables that are wrong.


def refused(tmp_path, content, name="t.csv", kind=errors.DataError, **options):
    """The sentence with which a table of these bytes is refused."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(kind) as error:
        load_csv(path, **options)
    assert str(error.value).endswith(".")
    return str(error.value)


GOOD = b"who,a,b,y\n" + b"k,1,x,0\nl,2,y,1\n" * 10


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"who,a,b,y\n", "no rows"),
        (b"who,a,b\nk,1,x\n", "'y', which"),
        (b"who,a,b\nk,1,x\n", "it has: who, a, b"),
        (b"who,a,a,y\nk,1,2,0\n", "2 columns named 'a'"),
        (b",who,a,y\n0,k,1,0\n1,k,2,1\n", "Column 1"),
        (GOOD.replace(b",1\n", b",0\n"), "one class only, '0'"),
        (GOOD + b"k,1,x,\n", "row 21 below the header has no value in"),
        (GOOD + b"k,1,x,nan\n", "the label"),
        (GOOD + b",1,x,0\n", "the client"),
        (GOOD + b"k,inf,x,0\n", "row 21 below the header has inf"),
        (GOOD + b"k,1e39,x,0\n", "'a'"),
        (GOOD + b"k,1,x\n", "row 21 below the header has 3 cells"),
        (GOOD + "k,1,ä,0\n".encode() + b"k,1,\xe4,0\n", "line 23 has the byte"),
        (GOOD + b"k,1,\xe4,0\n", "0xe4 (byte 174 of the file)"),
        (b"who,\xe4,y\nk,1,0\n", "line 1 has the byte 0xe4"),
        (b"who,y\nk,0\nl,1\n", "no columns to predict from"),
        (GOOD + b'k,1,"x,0\nl,2,y,1\n', "line 22 opens a quote that nothing"),
        (b'who,"a,b,y\nk,1,x,0\n', "line 1 opens a quote"),
        (GOOD + b'k,1,"x\nl,2,"y,1\n', "line 22 opens a quote that is closed"),
        (GOOD.replace(b",", b";") + b"k;1;x;0;\n", "have semicolons between"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path, content, words):
    sentence = refused(tmp_path, content)
    assert words in sentence
    assert "t.csv" in sentence


def test_a_byte_order_mark_and_quoted_commas_are_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace(b"x", b'"x, y\nz"'))
    assert len(load_csv(path).train) == 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", [".csv", ".tsv", ".csv.gz"])
def test_the_line_of_names_says_what_parts_cells(tmp_path, separator, end):
    other = ";" if separator == "," else ","
    lines = GOOD.replace(b",", separator.encode())
    content = lines.replace(b"b", b'"b' + 9 * other.encode() + b'"', 1)
    path = tmp_path / f"t{end}"
    path.write_bytes(gzip.compress(content) if end[-1] == "z" else content)
    assert Table(str(path)).names == ["who", "a", f"b{other * 9}", "y"]
    assert len(load_csv(path).train) == 2


@pytest.mark.parametrize(
    "row",
    [
        b'k,1,"say ""x"", or y",0\n',
        b'k,1,5" wide,0\n',
        b'k,1,"two\r\nlines, ""quoted""\n",0\n',
        b'k,1,"" ,0\n',
        b'k,1,"x" y,0\n',
    ],
)
def test_quotes_that_are_closed_or_mean_nothing_are_read(tmp_path, row):
    path = tmp_path / "t.csv"
    path.write_bytes(GOOD + row)
    assert Table(str(path)).load(["b"]) == 21


def test_parquet_files_of_broken_text_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"who": ["k", "l"], "zqz": ["x", "y"], "y": [0, 1]})
    frame.to_parquet(path)
    # The column's name, wherever it is.
    path.write_bytes(path.read_bytes().replace(b"zqz", b"z\xffz"))
    with pytest.raises(errors.DataError, match=r"t\.parquet cannot be read"):
        load_csv(path)


def test_packed_files_that_are_damaged_are_refused(tmp_path):
    packed = gzip.compress(GOOD * 1000)
    assert "t.csv.gz cannot be read" in refused(
        tmp_path, packed[: len(packed) // 2], "t.csv.gz"
    )
    assert "cannot be read" in refused(tmp_path, GOOD, "u.csv.gz")
    assert "cannot be read" in refused(tmp_path, GOOD, "t.parquet")


def test_archives_are_not_opened(tmp_path):
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.csv", GOOD)
    for place in (path, tmp_path):
        with pytest.raises(errors.DataError, match=r"t\.zip is an archive"):
            load_csv(place)
    assert os.listdir(tmp_path.parent).count("outside.csv") == 0


def test_a_folder_without_tables_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(errors.DataError, match=r"is no table file and holds"):
        load_csv(tmp_path)
    with pytest.raises(errors.DataError, match="does not exist"):
        load_csv(tmp_path / "absent.csv")
    with pytest.raises(errors.ConfigError, match="--task=csv needs --data_dir"):
        registry.load("csv", registry.TASKS)(
            DataConfig(task="csv", label_column="y", client_column="who"), 0
        )


def test_parts_of_a_table_with_other_columns_are_refused(tmp_path):
    (tmp_path / "1.csv").write_bytes(GOOD)
    (tmp_path / "2.csv").write_bytes(GOOD.replace(b"b,y", b"c,y"))
    with pytest.raises(errors.DataError, match=r"2\.csv .* the column 'b'"):
        load_csv(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feature_columns": "a,y"}, "'y', which is --label_column"),
        ({"feature_columns": "who"}, "'who', which is --client_column"),
        ({"feature_columns": "a,a"}, "'a' twice"),
        ({"client_column": "y"}, "--label_column=y is named by another"),
        (
            {"feature_columns": "a", "categorical_columns": "b"},
            "'b', which is neither",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tmp_path, options, words):
    kind = errors.ConfigError
    assert words in refused(tmp_path, GOOD, kind=kind, **options)


def test_options_that_do_not_fit_the_cells_are_refused(tmp_path):
    for options, words in (
        ({"feature_columns": "a,z"}, "'z', which"),
        ({"split_column": "b"}, "row 1 below the header has 'x'"),
        ({"label_column": "b", "task_type": "regression"}, "not numbers"),
        ({"test_fraction": 0.0}, "--test_fraction=0.0"),
    ):
        assert words in refused(tmp_path, GOOD, **options)
    amounts = b"who,a,y\n" + b"".join(b"k,1,%d.5\n" % i for i in range(30))
    assert "--task_type=regression" in refused(tmp_path, amounts)


# Arrays.


def write_npz(path, **changed):
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, 90)
    given = {
        "x": draw.normal(size=(90, 5)) + y[:, np.newaxis],
        "y": np.array(["low", "mid", "top"])[y],
        "client_id": draw.integers(0, 4, 90),
        **changed,
    }
    given = {name: value for name, value in given.items() if value is not None}
    np.savez_compressed(path, **given)
    return path


@pytest.mark.parametrize(
    ("shape", "dtype", "taken"),
    [
        ((), "float64", "float32"),
        ((5,), "int64", "int32"),
        ((6, 7), "uint8", "uint8"),
        ((1, 1, 3), "float32", "float32"),
        ((2, 3, 4, 5), "bool", "uint8"),
    ],
)
def test_arrays_of_any_shape_and_type_have_a_model(
    tmp_path, shape, dtype, taken
):
    x = np.random.default_rng(0).integers(0, 2, (90, *shape)).astype(dtype)
    task = load("npz", write_npz(tmp_path / "a.npz", x=x))
    assert task.test.x.dtype == taken
    assert task.build_model()(task.test.x).shape == (len(task.test), 3)
    assert len(task.train) == 4


def test_scaling_is_that_of_all_parts_and_missing_numbers_count_nothing():
    draw = np.random.default_rng(0)
    x = draw.normal(1e6, 3.0, (50, 4))
    x[::5, 1] = np.nan
    x[:, 2] = 7.0
    scale = scaling.input_scaling([x[:20], x[20:]], [4])
    np.testing.assert_allclose(scale.mean, np.nanmean(x, axis=0))
    deviation = np.nanstd(x, axis=0)
    deviation[2] = 1.0
    np.testing.assert_allclose(scale.deviation, deviation)
    scale = array_models.network_for_shape([4], "float32", scale, 2)
    assert np.isfinite(scale(x.astype(np.float32))).all()


def test_is_test_says_what_is_held_out(tmp_path):
    is_test = np.arange(90) % 3 == 0
    path = write_npz(tmp_path / "a.npz", is_test=is_test)
    with np.load(path) as file:
        wanted = file["x"][is_test].astype(np.float32)
    np.testing.assert_array_equal(load("npz", path).test.x, wanted)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": np.array([{}] * 90, object)}, "x holds pickled Python objects"),
        ({"y": None}, "no array y; it has: x, client_id"),
        ({"client_id": None}, "no array client_id"),
        ({"y": np.zeros(90)}, "one class only, '0'"),
        ({"y": np.zeros(89)}, "y of shape (89,)"),
        ({"y": np.full(90, np.nan)}, "y[0] is not a finite number"),
        ({"x": np.full((90, 2), np.inf)}, "x[0, 0] is infinite"),
        ({"x": np.full((90, 2), "a")}, "x is of type <U1"),
        ({"client_id": np.zeros((90, 2))}, "client_id of type float64"),
        ({"is_test": np.ones(90)}, "is_test True for every"),
        ({"is_test": np.zeros(90, "m8[Y]")}, "is_test of type timedelta64"),
        ({"y": np.zeros((90, 0))}, "y of shape (90, 0), which holds nothing"),
        ({"y": np.arange(90) + 0.5}, "--task_type=regression"),
        ({"x": np.zeros((0, 2))}, "shape"),
    ],
)
def test_arrays_that_are_wrong_are_refused(tmp_path, changed, words):
    path = write_npz(tmp_path / "a.npz", **changed)
    with pytest.raises(errors.DataError) as error:
        load("npz", path)
    assert words in str(error.value)
    assert "a.npz" in str(error.value)


def test_npz_files_that_are_damaged_are_refused(tmp_path):
    path = write_npz(tmp_path / "a.npz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(errors.DataError, match="not an NPZ file"):
        load("npz", path)
    broken = bytearray(content)
    broken[200:400] = bytes(200)
    path.write_bytes(broken)
    with pytest.raises(errors.DataError, match="cannot be read"):
        load("npz", path)


def npy(header):
    """An NPY array of 64 bytes, whatever its header says."""
    size = struct.pack("<H", len(header))
    return b"\x93NUMPY\x01\x00" + size + header.encode() + bytes(64)


@pytest.mark.parametrize(
    ("descr", "shape", "words"),
    [
        ("'<f8'", "(2147483648,)", "17179869184 bytes by its header"),
        ("'<f8'", "(-8,)", "-64 bytes by its header"),
        ("'<U0'", "(8,)", "0 bytes by its header"),
        ("(", "(8,)", "cannot be read as an NPY array"),
        ("'|O'", "(8,)", "pickled"),
    ],
)
def test_headers_of_arrays_are_not_believed(tmp_path, descr, shape, words):
    path = tmp_path / "a.npz"
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(header))
    with pytest.raises(errors.DataError, match=words) as error:
        load("npz", path)
    assert "a.npz: x" in str(error.value)


def test_numbers_that_are_no_characters_are_refused(tmp_path):
    for number in (0x110000, 0xD800):
        text = np.full(90, number, np.uint32).view("<U1")
        path = write_npz(tmp_path / "a.npz", client_id=text)
        with pytest.raises(errors.DataError, match="no characters of Unicode"):
            load("npz", path)


# SQLite.


def test_tff_reads_the_clients_that_are_written(tmp_path):
    path = write_npz(tmp_path / "a.npz")
    output = tmp_path / "a.sqlite"
    assert prepare_data.write(str(path), str(output), {}) == (90, 4)
    spec = {
        "x": tf.TensorSpec([5], tf.float32),
        "y": tf.TensorSpec([], tf.int64),
    }
    theirs = tff.simulation.datasets.load_and_parse_sql_client_data(
        str(output), spec, "train"
    )
    task = load("sqlite", output, test_fraction=0.0, unseen_clients=1)
    assert sorted([*task.train.client_ids, *task.unseen.client_ids]) == sorted(
        theirs.client_ids
    )
    for client_id in task.train.client_ids:
        ours = task.train.load(client_id)
        dataset = theirs.create_tf_dataset_for_client(client_id)
        read = [(each["x"], each["y"]) for each in dataset.as_numpy_iterator()]
        np.testing.assert_array_equal(ours.x, [x for x, _ in read])
        np.testing.assert_array_equal(ours.y, [y for _, y in read])
    # The same examples as in the arrays, with the classes' names.
    with np.load(path) as arrays:
        mine = arrays["client_id"].astype(str) == client_id
        np.testing.assert_array_equal(
            ours.x, arrays["x"][mine].astype(np.float32)
        )
    given = task.outputs_fn(tf.constant([[0.0, 0.0, 1.0]]))
    assert given["class_name"].numpy().tolist() == [b"top"]


def test_clients_without_our_tables_are_read_as_tff_wrote_them(tmp_path):
    path = tmp_path / "a.sqlite"
    sqlite_writer.write(str(path), rows_of_clients(), ["no", "yes"])
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE features; DROP TABLE class_names;")
    connection.close()
    task = load("sqlite", path)
    assert task.train.client_ids == ("a", "o'b")
    assert task.test.x.shape == (4, 3)
    assert task.unseen.client_ids == ("z",)
    assert task.unseen.size("z") == 1
    assert task.build_model().outputs[0].shape[-1] == 2


def rows_of_clients():
    for client, split, count in (
        ("a", "train", 5),
        ("o'b", "train", 1),
        ("a", "test", 4),
        ("z", "test", 1),
    ):
        for number in range(count):
            x = np.arange(3, dtype=np.float32) + number
            yield Row(client, split, x, np.int32(number % 2))


def test_sqlite_files_that_are_wrong_are_refused(tmp_path):
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(errors.DataError, match="cannot be read as SQLite"):
        load("sqlite", path)
    path.unlink()
    sqlite_writer.write(str(path), rows_of_clients(), ["no", "yes"])
    with pytest.raises(errors.ConfigError, match="--partition=iid"):
        load("sqlite", path, partition="iid")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM examples WHERE split_name = 'test'")
    connection.commit()
    with pytest.raises(errors.DataError, match="0 examples of the client 'a'"):
        load("sqlite", path)
    connection.execute("DROP TABLE examples")
    connection.commit()
    connection.close()
    with pytest.raises(errors.DataError, match="no table examples"):
        load("sqlite", path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE features SET dtype = 'float'", "the type 'float'"),
        ("UPDATE features SET shape = '['", "shape '['"),
        ("UPDATE features SET shape = '[-1]'", "shape '[-1]'"),
        ("UPDATE features SET shape = '[0]'", "holds nothing"),
        ("UPDATE features SET shape = '[2147483648]'", "4294967296 numbers"),
        ("DELETE FROM features WHERE name = 'x'", "features without x or y"),
        ("UPDATE client_metadata SET num_examples = 1 << 40", "fit into the"),
        (
            "UPDATE client_metadata SET num_examples = 'x'",
            "whole numbers above",
        ),
        ("UPDATE client_metadata SET client_id = x'ff'", "must be text"),
        ("UPDATE examples SET serialized_example_proto = 'x'", "does not hold"),
        (
            "ALTER TABLE examples RENAME TO a; CREATE VIEW examples AS WITH "
            "RECURSIVE b AS (SELECT * FROM a UNION ALL SELECT * FROM b) "
            "SELECT * FROM b",
            "has no table examples",
        ),
    ],
)
def test_cells_of_sqlite_are_not_believed(tmp_path, change, words):
    path = tmp_path / "a.sqlite"
    sqlite_writer.write(str(path), rows_of_clients(), ["no", "yes"])
    connection = sqlite3.connect(path)
    connection.executescript(change)
    connection.close()
    with pytest.raises(errors.DataError, match=r"a\.sqlite has") as error:
        load("sqlite", path)
    assert words in str(error.value)


def test_labels_that_are_no_classes_are_refused_before_they_are_named(tmp_path):
    path = tmp_path / "a.sqlite"
    for label, words in ((2**31 - 1, "class 2147483647"), (2**40, "beyond")):
        rows = [
            Row("a", part, np.zeros(3, np.float32), np.int64(label))
            for part in ("train", "test")
        ]
        sqlite_writer.write(str(path), rows, None)
        connection = sqlite3.connect(path)
        connection.executescript(
            "UPDATE features SET dtype = 'int32' WHERE name = 'y'"
        )
        connection.close()
        with pytest.raises(errors.DataError, match=words):
            load("sqlite", path)


def test_rows_that_differ_leave_the_old_file(tmp_path):
    path = tmp_path / "a.sqlite"
    sqlite_writer.write(str(path), rows_of_clients(), None)
    before = path.read_bytes()
    rows = [*rows_of_clients(), Row("b", "train", np.zeros(4), np.int32(0))]
    with pytest.raises(errors.DataError, match="Example 12, of client 'b'"):
        sqlite_writer.write(str(path), rows, None)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.sqlite"]


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Three clients, two classes; crosses of noise on white or black."""
    folder = tmp_path_factory.mktemp("images") / "photos"
    draw = np.random.default_rng(0)
    for number in range(120):
        label = ("dark", "light")[number % 2]
        place = folder / f"camera {number % 5}" / label
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 128, (8, 6), np.uint8)
        pixels += np.uint8(127 * (number % 2))
        ending = "png" if number % 3 else "jpg"
        Image.fromarray(pixels).save(place / f"{number}.{ending}")
    return folder


@pytest.mark.soak
def test_images_become_clients_that_are_learnt(image_folder, tmp_path):
    output = tmp_path / "photos.sqlite"
    done = run_script(
        "prepare_data.py", f"--input={image_folder}", f"--output={output}"
    )
    assert done.returncode == 0, done.stderr
    assert "120 examples of 5 clients" in done.stdout
    result = experiment.run(config("sqlite", output, tmp_path / "run", 6))
    assert result.evaluation["accuracy"] > 0.9
    model = tf.saved_model.load(result.directory.saved_model)
    served = model.signatures["serving_default"](
        x=tf.fill([2, 8, 6, 1], tf.constant(250, tf.uint8))
    )
    assert served["class_name"].numpy().tolist() == [b"light"] * 2


def test_images_that_differ_or_are_damaged_are_refused(tmp_path):
    source, output = tmp_path / "in", tmp_path / "out.sqlite"
    for client, label, size in (("a", "x", 4), ("a", "y", 5), ("b", "x", 4)):
        place = source / client / label
        place.mkdir(parents=True)
        Image.new("RGB", (size, 4)).save(place / "1.png")
    with pytest.raises(errors.DataError, match="is of 4x5 pixels"):
        prepare_data.write(str(source), str(output), {})
    assert not output.exists()
    assert prepare_data.write(str(source), str(output), {}, [4, 4]) == (3, 2)
    (source / "b" / "x" / "1.png").write_bytes(b"not an image")
    with pytest.raises(errors.DataError, match=r"1\.png cannot be read as an"):
        prepare_data.write(str(source), str(output), {}, [4, 4])
    # What was there before still is.
    assert len(load("sqlite", output, test_fraction=0.5).train) == 2
    # Pillow calls this a SyntaxError.
    place = source / "a" / "x" / "1.png"
    place.write_bytes(place.read_bytes().replace(b"IDAT", b"\xa5DAT"))
    with pytest.raises(errors.DataError, match=r"1\.png cannot be read as an"):
        prepare_data.write(str(source), str(output), {}, [4, 4])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"client_id": "\\ud800", "x": 1, "y": 0}', "half a character"),
        (
            '{"client_id": 1, "x": 1, "y": 1' + "0" * 400 + "}",
            "must be numbers",
        ),
    ],
)
def test_json_that_nothing_can_hold_is_refused(tmp_path, line, words):
    source = tmp_path / "a.jsonl"
    source.write_text(line + "\n")
    with pytest.raises(errors.DataError, match=words):
        prepare_data.write(str(source), str(tmp_path / "a.sqlite"), {})


def test_json_lines_and_tables_become_clients(tmp_path, patients_csv):
    source = tmp_path / "a.jsonl.gz"
    lines = [
        {"client_id": n % 3, "x": [[n, 1.5]], "y": ["no", "yes"][n % 2]}
        for n in range(30)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    source.write_bytes(gzip.compress(text.encode()))
    output = str(tmp_path / "a.sqlite")
    assert prepare_data.write(str(source), output, {}) == (30, 3)
    assert load("sqlite", output).test.x.shape == (6, 1, 2)
    options = {
        "client_column": "who",
        "label_column": "amount",
        "feature_columns": "age (years),city",
        "task_type": "regression",
        "split_column": "part",
    }
    counts = prepare_data.write(str(patients_csv), output, options)
    assert counts == (600, 10)
    task = load("sqlite", output, task_type="regression")
    # A number, three cities and that there is none.
    assert task.test.x.shape == (119, 5)
    assert np.isnan(task.test.x).any()
    assert np.isfinite(task.build_model()(task.test.x)).all()
    with pytest.raises(errors.ConfigError, match="--client_column is not set"):
        prepare_data.write(
            str(patients_csv), output, {"label_column": "y", "partition": "iid"}
        )
    source.write_bytes(gzip.compress(b'{"client_id": 1, "x": "a", "y": 1}'))
    with pytest.raises(errors.DataError, match="line 1 has an x that is text"):
        prepare_data.write(str(source), output, {})


# A large table: minutes.


def write_large(path, rows=100_000):
    """50 columns: 38 of numbers, 10 of categories, a client and a label."""
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(rows, 30))
    score = numbers[:, :5].sum(axis=1)
    clinics = np.char.add("clinic ", draw.integers(0, 50, rows).astype(str))
    columns = {"hospital": clinics}
    for place in range(30):
        cells = numbers[:, place] * 10 ** (place % 5) + place
        cells[draw.random(rows) < 0.05] = np.nan
        columns[f"number {place}"] = np.round(cells, 4)
    for place in range(8):
        columns[f"count_{place}"] = draw.integers(0, 5 + 10 * place, rows)
    cities = np.array(["Paris, France", "Oslo", 'The "Hague"', "Zürich"])
    for place in range(10):
        kind = draw.integers(0, 4 + 20 * place, rows)
        named = np.char.add("kind ", kind.astype(str))
        cells = np.where(kind < 4, cities[kind % 4], named).astype(object)
        score = score + (kind % 4 == 0) * 0.5
        cells[draw.random(rows) < 0.05] = None
        columns[f"kind_{place}"] = cells
    noisy = score + draw.normal(size=rows)
    columns["outcome"] = np.where(noisy > 1, "ill", "well")
    pd.DataFrame(columns).to_csv(path, index=False)


@pytest.mark.soak
def test_a_large_table_is_learnt_in_less_than_a_gigabyte(tmp_path):
    write_large(tmp_path / "large.csv")
    command = [
        *(sys.executable, str(ROOT / "scripts" / "train.py"), "--task=csv"),
        *("--client_column=hospital", "--label_column=outcome"),
        *(f"--data_dir={tmp_path / 'large.csv'}", "--clients_per_round=5"),
        *("--client_batch_size=50", "--client_learning_rate=0.05"),
        *("--total_rounds=10", f"--output_dir={tmp_path / 'run'}"),
    ]
    peak = 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            # Of the process, which is a zombie without memory at its end.
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]) * 1024)
            time.sleep(0.05)
        output, complaints = process.communicate()
    assert process.returncode == 0, complaints
    print(f"\n{peak / 1e6:.0f} MB at most\n{output}")
    assert peak < 1e9
    assert (tmp_path / "run" / "saved_model" / "saved_model.pb").exists()
