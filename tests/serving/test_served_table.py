"""A table's own words, from its rows to a server's answers: none gets there."""

import io
import json
import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.testing.served import Server
from tests.testing.soaked import soaked
from tff_pipeline import experiment
from tff_pipeline.commands import saved_runs
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig

ROWS = 400
# Of every cell, client and number that is planted.
CELL, CLIENT, NUMBER = b"S3CR", b"CL1ENT", b"98765"


def planted_rows():
    """A table with text of its own in every column but client and label."""
    draw = np.random.default_rng(0)
    row = np.arange(ROWS)
    secret = np.array([f"S3CR{i:04d}T" for i in row])
    age = draw.normal(50, 10, ROWS).round(1)
    label = np.where(age > 50, "ill", "well")
    age[5] = 98765.4
    return pd.DataFrame(
        {
            "hospital": np.char.add("CL1ENT ", (row % 4).astype(str)),
            "city": np.where(row % 3, "Oslo", np.char.add("x", secret)),
            "age (years)": age,
            "patient_id": secret,
            "note": [f"{each} had no fever and slept well" for each in secret],
            "admitted": "2020-01-01 " + pd.Series(secret),
            # Nine patients' word is rare too.
            "drug": np.where(row < 9, "S3CRNINE", np.tile(["a", "b"], 200)),
            "job": np.where(row % 5, "nurse", secret),
            "smokes": np.where(row == 7, "S3CRSMOKE", "no"),
            "y": label,
        }
    )


class Planted:
    """A run on those rows, what it said, and a server of its model."""

    def __init__(self, folder, private):
        self.said, self.private = [], private
        path = folder / "table.csv"
        planted_rows().to_csv(path, index=False)
        groups = {}
        # Even where all are named.
        chosen = {
            "feature_columns": "city,age (years),patient_id,note,drug,job,"
            "smokes"
        }
        if private:
            categories = folder / "categories.csv"
            categories.write_text(
                "column,category\ny,ill\ny,well\ncity,Oslo\njob,nurse\n"
                "drug,a\ndrug,b\n"
            )
            bounds = folder / "bounds.csv"
            bounds.write_text("column,low,high\nage (years),0,110\n")
            chosen = {
                "feature_columns": "city,age (years),drug,job",
                "categories_file": str(categories),
                "column_bounds_file": str(bounds),
            }
            groups = {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(
                    dp_clip=1.0, dp_delta=1e-3, dp_noise_multiplier=1.0
                ),
            }
        result = experiment.run(
            ExperimentConfig(
                data=DataConfig(
                    "csv",
                    data_dir=str(path),
                    client_column="hospital",
                    label_column="y",
                    **chosen,
                ),
                clients=ClientConfig(clients_per_round=4, batch_size=16),
                run=RunConfig(
                    output_dir=str(folder / "run"),
                    total_rounds=2,
                    eval_clients="seen",
                ),
                **groups,
            ),
            announce=self.said.append,
        )
        self.run = pathlib.Path(result.directory.path)
        self.model = pathlib.Path(result.directory.saved_model)
        saved_runs.evaluate(str(self.run))
        if not private:
            # Its card is of an evaluation client by client.
            self.model = folder / "exported"
            saved_runs.export(str(self.run), str(self.model))
        self.server = Server(self.model, "--name=wards")

    def rows(self, **changed):
        """A row that has nothing unusual, changed."""
        form = self.served("page/model.json")["signatures"]["serving_default"]
        row = {
            each["field"]["title"]: each["field"]["example"]
            for each in form["inputs"]
        }
        return {**row, **changed}

    def served(self, path):
        status, content = self.server.get(f"/{path}")
        assert status == 200
        return content


@pytest.fixture(
    scope="module", params=[*soaked(False), True], ids=["open", "private"]
)
def planted(request, tmp_path_factory):
    made = Planted(tmp_path_factory.mktemp("planted"), request.param)
    yield made
    assert made.server.stop() == ""


def files(folder):
    """(path, bytes) of every file; those in archives unpacked."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_dir():
            continue
        content = path.read_bytes()
        yield path, content
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield path / name, archive.read(name)


def holding(folder, *words):
    """The files that have one of the words."""
    return [
        str(path.relative_to(folder))
        for path, content in files(folder)
        if any(word in content for word in words)
    ]


def test_no_cell_reaches_a_run_or_its_words(planted):
    assert holding(planted.run, CELL, NUMBER) == []
    assert holding(planted.model, CELL, NUMBER, CLIENT) == []
    said = "".join(planted.said).encode()
    assert CELL not in said
    assert NUMBER not in said
    if not planted.private:
        assert b"categories, 1 known and 80 rare ones as others" in said


def test_a_client_stands_in_evaluations_alone(planted):
    found = holding(planted.run, CLIENT)
    assert [path.split("/")[0] for path in found] == ["evaluations"]
    assert CLIENT not in "".join(planted.said).encode()


def test_the_card_knows_its_columns(planted):
    card = planted.model / "assets.extra"
    stated = json.loads((card / "model_card.json").read_text())
    used = {use["name"] for use in stated["columns"] if use["is_input"]}
    assert used >= {"age (years)", "city", "drug", "job"}
    words = (card / "model_card.md").read_text()
    if planted.private:
        # How many cells are missing, or differ, is not said either.
        assert "| job | category |  |  | 1 categories that you name |" in words
        assert "--categories_file" in words
    else:
        assert "| job | category | 0.0% | 81 |" in words
    assert stated["labels"] == ["y"]
    form = {each["column"]: each for each in stated["form"]}
    assert form["drug"]["categories"] == ["a", "b"]
    assert form["city"]["categories"] == ["Oslo"]
    age = form["age (years)"]
    assert (age["input"], age["whole"]) == ("age__years_", False)
    if planted.private:
        assert (age["low"], age["high"]) == (0, 110)
    else:
        assert 20 <= age["low"] < 40 < 60 < age["high"] <= 80


def answers(planted):
    """All that a server says: (what was asked, the answer's bytes)."""
    server, row = planted.server, planted.rows()
    model = f"/v1/models/{server.name}"
    page = [f"/page/{each}" for each in ("model.json", "page.js", "absent")]
    for path in ("/", *page, model, f"{model}/metadata", "/healthz", "/no"):
        yield path, server.ask("GET", path)[2]
    unusual = {**row, "city": "Rome", "age (years)": 900, "job": ""}
    text, age = {**row, "city": 3}, {**row, "age (years)": "old"}
    short = {name: row[name] for name in list(row)[1:]}
    for body in (
        *({"instances": [each]} for each in (row, unusual, text, age, short)),
        {"inputs": {name: [value] for name, value in unusual.items()}},
        {"signature_name": "encoded", "instances": [[0.5]]},
        {"signature_name": "features", "instances": [[0.5] * len(row)]},
        {"signature_name": "predict_examples", "instances": ["no example"]},
        {"signature_name": "none", "instances": [row]},
    ):
        yield body, server.ask("POST", f"{model}:predict", json.dumps(body))[2]
    yield "/metrics", server.ask("GET", "/metrics")[2]


def test_no_cell_or_client_reaches_an_answer(planted):
    asked = list(answers(planted))
    # That there were answers to be searched.
    assert any(b'"warnings"' in answer for _, answer in asked)
    assert sum(b'"error"' in answer for _, answer in asked) >= 6
    for what, answer in asked:
        for word in (CELL, CLIENT, NUMBER):
            assert word not in answer, what


def test_the_page_has_the_tables_order_and_a_row_of_the_card(planted):
    described = planted.served("page/model.json")
    assert described["card"]["labels"] == ["y"]
    inputs = described["signatures"]["serving_default"]["inputs"]
    fields = {each["field"]["title"]: each["field"] for each in inputs}
    order = [name for name in planted_rows().columns if name in fields]
    assert list(fields) == order
    assert fields["age (years)"]["unit"] == "years"
    assert "field" not in described["signatures"]["encoded"]["inputs"][0]
    row = planted.rows()
    age = fields["age (years)"]
    assert abs(row["age (years)"] - (age["low"] + age["high"]) / 2) <= 0.5
    assert planted.server.predict({"instances": [row]})[1].keys() == {
        "predictions"
    }


def test_unusual_values_are_warned_of_and_predicted_as_ever(planted):
    usual = planted.rows()
    rows = [
        usual,
        planted.rows(city="Rome", **{"age (years)": 900}),
        planted.rows(job=None, **{"age (years)": None}),
    ]
    status, answer = planted.server.predict({"instances": rows})
    assert status == 200
    warned = {
        (each["row"], each["input"]): each["warning"]
        for each in answer["warnings"]
    }
    unlike = [(1, "age__years_"), (1, "city")]
    # Of a private run's data it is not told whether any cell was missing.
    missing = [] if planted.private else [(2, "age__years_"), (2, "job")]
    assert sorted(warned) == unlike + missing
    assert warned[1, "age__years_"].startswith(
        "age (years) is 900, outside the usual range, "
    )
    if not planted.private:
        assert warned[2, "job"] == (
            "job is missing, which it never was in the data."
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    _, by_column = planted.server.predict({"inputs": columns})
    assert by_column["warnings"] == answer["warnings"]
    serve = tf.saved_model.load(str(planted.model)).signatures[
        "serving_default"
    ]
    frame = pd.DataFrame(rows)
    names = planted.model / "assets.extra" / "model_card.json"
    own = json.loads(names.read_text())["column_names"]
    expected = serve(
        **{
            name: tf.constant(
                frame[title].to_numpy(np.float32)
                if title == "age (years)"
                else frame[title].fillna("").tolist()
            )
            for name, title in own.items()
        }
    )
    np.testing.assert_allclose(
        [each["probabilities"] for each in answer["predictions"]],
        expected["probabilities"],
        rtol=1e-5,
    )


def test_an_error_names_its_input(planted):
    row = planted.rows(**{"age (years)": "old"})
    status, answer = planted.server.predict({"instances": [row]})
    assert (status, answer["input"]) == (400, "age__years_")
    assert "(the column 'age (years)') takes numbers" in answer["error"]
    del row["city"]
    status, answer = planted.server.predict({"instances": [row]})
    assert (status, answer.keys()) == (400, {"error"})
