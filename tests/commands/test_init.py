"""`init data.csv`: what it guesses of a table, and the flagfile it writes."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.testing.scripts import SCRIPTS, run_script
from tff_pipeline import errors
from tff_pipeline.commands import before_start, first_look, init
from tff_pipeline.flags import experiment, parsing

ROWS = 60


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path, header, columns):
    """Writes columns of cells below a header."""
    rows = [",".join(map(str, row)) for row in zip(*columns)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([header, *rows, ""]))
    return path


def whole(most, seed=0):
    """Cells from 0 to `most`, each of which occurs."""
    cells = np.random.default_rng(seed).integers(0, most, ROWS, endpoint=True)
    cells[: most + 1] = np.arange(most + 1)
    return cells


AGES = np.random.default_rng(1).normal(50, 9, ROWS).round(2)
NAMES = [f"place {i % 4}" for i in range(ROWS)]


@pytest.mark.parametrize(
    ("header", "columns", "client", "label", "task_type"),
    [
        # A column by each name, classes in numbers.
        (
            "hospital,age,disease",
            [NAMES, AGES, whole(1)],
            *("hospital", "disease", "classification"),
        ),
        # The label first, as UCI's wine has it; nobody's rows.
        ("class,alcohol", [whole(2), AGES], None, "class", "classification"),
        # Not the last column, and words in a longer name.
        (
            "user_id,is_fraud,amount",
            [whole(9), whole(1), AGES],
            *("user_id", "is_fraud", "classification"),
        ),
        (
            "siteName,HeartDisease,age",
            [NAMES, whole(1), AGES],
            *("siteName", "HeartDisease", "classification"),
        ),
        # No name says anything: the last.
        ("a,b,c", [AGES, AGES, whole(1)], None, "c", "classification"),
        # A number, and whole numbers too many to be classes.
        ("region,rooms,price", [NAMES, whole(5), AGES], "region", "price", "r"),
        ("age,target", [AGES, whole(40)], None, "target", "regression"),
        # As many patients as rows are no clients, though named like them.
        (
            "patient,age,sick",
            [range(ROWS), AGES, whole(1)],
            *(None, "sick", "classification"),
        ),
        # A place may be written in the label's words, and the label's in none.
        (
            "clinic,target,age",
            [NAMES, ["yes", "no", "maybe"] * 20, AGES],
            *("clinic", "target", "classification"),
        ),
        # A note in the last column is no label.
        ("score,note", [whole(4), range(100, 160)], None, "score", "c"),
    ],
)
def test_client_label_and_type_are_guessed(
    header, columns, client, label, task_type
):
    found = first_look.look(write("d.csv", header, columns))
    assert (found.client, found.label) == (client, label)
    assert found.task_type.startswith(task_type)
    assert found.rows == ROWS


def test_what_is_said_is_not_guessed():
    write("d.csv", "hospital,age,sick", [NAMES, whole(40), whole(1)])
    found = first_look.look("d.csv", client="sick", label="hospital")
    assert (found.client, found.clients, found.label) == ("sick", 2, "hospital")
    found = first_look.look("d.csv", label="age", task_type="classification")
    assert (found.label, found.task_type) == ("age", "classification")
    with pytest.raises(errors.DataError, match="--label_column names"):
        first_look.look("d.csv", label="ill")


@pytest.mark.parametrize("command", ["d.csv", "--data_dir=d.csv"])
def test_the_flagfile_is_one_that_train_takes(command):
    write(
        "d.csv",
        '"Ward, site",age,kind,sick',
        [whole(3), AGES, whole(6), whole(1)],
    )
    done = run_script("init.py", command, "--client_column=Ward, site")
    assert (done.returncode, done.stderr) == (0, "")
    assert "client  Ward, site: 4 clients" in done.stdout
    assert "scripts/train.py --flagfile=d.flags" in done.stdout
    if "task" not in parsing.FLAGS:
        experiment.define_experiment_flags()
    parsing.FLAGS.unparse_flags()
    parsing.parse(["train.py", "--flagfile=d.flags"])
    config = experiment.experiment_config()
    before_start.check(config)
    assert config.data.client_column == "Ward, site"
    assert config.data.label_column == "sick"
    assert config.clients.clients_per_round == 4
    # What may be a code is a question, behind a #.
    with open("d.flags") as file:
        text = file.read()
    assert "\n# --categorical_columns=kind\n" in text


def of_parts(*names):
    """Writes a folder of files, each with a table of its own."""
    os.mkdir("d")
    for seed, name in enumerate(names):
        write(f"d/{name}.csv", "age,sick", [AGES + seed, whole(1, seed)])


@pytest.mark.parametrize(
    ("names", "client", "split"),
    [
        (["North", "South", "East"], "file_name", None),
        (["site_1", "site_2"], "file_name", None),
        (["part-0", "part-1"], None, None),
        (["data_2019", "data_2020"], None, None),
        (["2019", "2020"], None, None),
        (["train", "test"], None, "file_name"),
        (["only"], None, None),
    ],
)
def test_names_of_files_are_clients_or_splits(names, client, split):
    of_parts(*names)
    found = first_look.look("d")
    assert (found.client, found.split, found.label) == (client, split, "sick")
    assert found.clients == (len(names) if client else 0)
    text = init.flagfile(found, "runs/d", "init")
    assert ("\n--client_column=file_name\n" in text) == (client is not None)
    assert ("\n--split_column=file_name\n" in text) == (split is not None)


def test_a_client_that_is_named_may_be_the_files():
    of_parts("part-0", "part-1")
    found = first_look.look("d", client="file_name")
    assert (found.client, found.clients) == ("file_name", 2)


def test_a_column_of_train_and_test_is_the_split():
    parts = ["train", "Test"] * (ROWS // 2)
    path = write("d.csv", "age,sick,fold", [AGES, whole(1), parts])
    found = first_look.look(path)
    assert (found.split, found.label) == ("fold", "sick")
    text = init.flagfile(found, "runs/d", "init")
    assert "\n--split_column=fold\n" in text
    assert "fold " not in text
    # What is named is that, and nothing else.
    assert first_look.look(path, label="fold").split is None


def test_columns_that_no_model_takes_are_passed_over():
    table = {"age": AGES, "codes": [[1, 2]] * ROWS, "sick": whole(1)}
    pd.DataFrame(table).to_parquet("d.parquet")
    found = first_look.look("d.parquet")
    assert [each.name for each in found.columns] == ["age", "codes", "sick"]
    assert not found.named("codes").use.is_input
    with pytest.raises(errors.DataError, match="'codes'"):
        first_look.look("d.parquet", label="codes")


def test_no_cell_is_in_the_flagfile_or_on_the_screen():
    secrets = [f"secret{i}" for i in range(ROWS)]
    clients = [f"secret client {i % 3}" for i in range(ROWS)]
    labels = ["secret a", "secret b"] * (ROWS // 2)
    write("d.csv", "note,site,sick", [secrets, clients, labels])
    done = run_script("init.py", "d.csv")
    assert done.returncode == 0, done.stderr
    with open("d.flags") as file:
        assert "secret" not in file.read() + done.stdout + done.stderr


def test_a_flagfile_that_is_there_is_kept():
    write("d.csv", "age,sick", [AGES, whole(1)])
    with open("d.flags", "w") as file:
        file.write("# Mine.\n")
    done = run_script("init.py", "d.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("error: d.flags exists;")
    assert run_script("init.py", "d.csv", "--overwrite").returncode == 0
    assert run_script("init.py", "d.csv", "--output=e.flags").returncode == 0
    assert os.path.exists("e.flags")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("x.npz", 2, "--task=npz --data_dir=x.npz"),
        ("x.sqlite", 2, "--task=sqlite"),
        ("x.jsonl", 2, "prepare-data --input=x.jsonl"),
        ("photos", 2, "photos holds images;"),
        ("leaf", 2, "prepare-data --input=leaf"),
        ("sites", 1, "sites/North holds tables, but only folders named"),
        ("absent.csv", 1, "absent.csv does not exist"),
        ("empty.csv", 1, "empty.csv"),
        ("one.csv", 1, "one.csv has no column that could be a label"),
    ],
)
def test_what_is_no_table_is_a_sentence(path, status, words):
    for folder in ("photos/a/b", "leaf/train", "sites/North"):
        os.makedirs(folder)
    write("sites/North/d.csv", "a,b", [range(3), range(3)])
    open("leaf/train/a.json", "w").close()
    for name in ("x.npz", "x.sqlite", "x.jsonl", "photos/a/b/1.PNG"):
        open(name, "w").close()
    open("empty.csv", "w").close()
    write("one.csv", "name", [range(1)])
    done = run_script("init.py", path)
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr


def test_nothing_named_is_a_sentence_and_tensorflow_is_not_loaded():
    done = run_script("init.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "init data.csv" in done.stderr
    write("d.csv", "age,sick", [AGES, whole(1)])
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(SCRIPTS / "init.py"), "d.csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False"
