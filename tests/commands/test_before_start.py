"""Mistakes that are found before TensorFlow is loaded."""

import os
import subprocess
import sys

import pytest

from tests.testing.scripts import SCRIPTS
from tff_pipeline import errors
from tff_pipeline.commands import before_start
from tff_pipeline.config import ClientConfig, DataConfig, ExperimentConfig

MODULE = """
import functools
from os import path as imported

def build_model():
    return None

def sized(width, depth=2):
    return None

def keyword(*, width):
    return None

def with_defaults(width=3, *more, depth=2, **rest):
    return None

@functools.cache
def decorated(width):
    return None

partial = functools.partial(sized, 3)
if path_like := imported:
    def conditional():
        return None
class Model: ...
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What Python found in another test's folder is not here.
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    (tmp_path / "mine.py").write_text(MODULE)


@pytest.mark.parametrize(
    "name",
    [
        *("build_model", "with_defaults", "decorated", "partial"),
        *("conditional", "Model", "imported"),
    ],
)
def test_a_function_that_is_there_is_taken_without_an_import(name):
    before_start.check_model_fn(f"mine:{name}")
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("mine:bild_model", "mine.py has no function bild_model; it has build"),
        ("mine:sized", "mine:sized needs arguments"),
        ("mine:keyword", "mine:keyword needs arguments"),
        ("yours:build_model", "module yours, which Python does not find"),
        ("mine.below:build", "module mine.below, which Python does not find"),
        ("broken:build", r"broken.py:2 is not Python"),
    ],
)
def test_a_function_that_cannot_be_used_is_a_sentence(
    tmp_path, reference, words
):
    (tmp_path / "broken.py").write_text("def build():\n  return (\n")
    with pytest.raises(errors.ConfigError) as caught:
        before_start.check_model_fn(reference)
    assert words in str(caught.value) or "broken.py:" in str(caught.value)
    assert str(caught.value).startswith(f"--model_fn={reference}")


def test_a_module_that_makes_its_names_is_left_to_the_run(tmp_path):
    (tmp_path / "star.py").write_text("from os.path import *\n")
    before_start.check_model_fn("star:join")
    (tmp_path / "lazy.py").write_text("def __getattr__(name): ...\n")
    before_start.check_model_fn("lazy:anything")


@pytest.fixture
def table(tmp_path):
    rows = [f"{place},{age},{age % 2}" for place in "abc" for age in range(9)]
    (tmp_path / "d.csv").write_text("\n".join(["place,age,sick", *rows, ""]))
    return "d.csv"


def config_of(table, clients=2, **options):
    options = {"client_column": "place", "label_column": "sick", **options}
    return ExperimentConfig(
        data=DataConfig("csv", table, **options),
        clients=ClientConfig(clients_per_round=clients),
    )


def test_a_table_that_is_right_passes(table):
    before_start.check(config_of(table, 3, feature_columns='"age"'))
    before_start.check(config_of(table, 1, unseen_clients=2))
    before_start.check(config_of(table, 9, partition="iid"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_column": "ill"}, "--label_column names the column 'ill'"),
        ({"client_column": "ward"}, "--client_column names the column 'ward'"),
        (
            {"feature_columns": "age,bmi"},
            "--feature_columns names the column 'b",
        ),
        ({"split_column": "part"}, "--split_column names the column 'part'"),
        ({"clients": 4}, "--clients_per_round=4 is more than the 3 clients"),
        ({"clients": 3, "unseen_clients": 1}, "more than the 2 clients"),
        (
            {"clients": 3, "validation_fraction": 0.4}
            | {"validation_by": "clients"},
            "more than the 2 clients that the column 'place' names and "
            "--validation_fraction=0.4 leaves",
        ),
    ],
)
def test_a_table_that_is_not_what_flags_say_is_a_sentence(
    table, options, words
):
    with pytest.raises(errors.PipelineError) as caught:
        before_start.check(config_of(table, **options))
    assert words in str(caught.value)


def test_train_says_so_before_it_starts_tensorflow(table):
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPTS / "train.py"),
            *("--task=csv", f"--data_dir={table}", "--client_column=place"),
            *("--label_column=sick", "--output_dir=run"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --clients_per_round=10 is more than")
    assert not os.path.exists("run")
