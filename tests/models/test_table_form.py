"""What the card of a table's model says of its inputs."""

import json

import numpy as np
import pandas as pd
import tensorflow as tf

from tff_pipeline import registry
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers.column_range import Range
from tff_pipeline.datasets.readers.table_features import (
    Category,
    Number,
    Text,
    within,
)
from tff_pipeline.models import table, table_form, table_serving
from tff_pipeline.serving import form_card
from tff_pipeline.serving.tensor_spec import Kind, TensorSpec

FEATURES = [
    Category("town", ("Oslo", "Rome")),
    Number("x.y", 1.0, 2.0, 3.0, Range(0.5, 7.0, False)),
    Number("x_y", 0.0, 0.0, 1.0),
    within("age (years)", 0, 110),
    Category("smokes", ("false", "true"), absent=("", "none")),
    Category("code", tuple(np.float32([0.1, 2]).tolist()), of_numbers=True),
    Text("note"),
    Category("rare", ()),
]


def spec_of(tensor):
    if tensor.dtype == tf.string:
        return TensorSpec(tensor.name, "string", (None,), Kind.STRING)
    return TensorSpec(tensor.name, "float32", (None,), Kind.FLOAT, np.float32)


def serving_model():
    model = table.two_hidden_layers(FEATURES, 2)
    return table_serving.serving_model(FEATURES, model)


def test_a_form_is_that_of_the_models_inputs():
    said = json.loads(json.dumps({"form": table_form.form(FEATURES)}))
    model = serving_model()
    fields = form_card.read(said, {i.name: spec_of(i) for i in model.inputs})
    assert [field.title for field in fields] == [f.name for f in FEATURES]
    assert [field.kind for field in fields] == [
        *("category", "number", "number", "number", "boolean", "category"),
        *("text", "category"),
    ]
    known = {field.name: field for field in fields}
    assert known["code"].categories == (0.1, 2)
    assert (known["age__years_"].low, known["age__years_"].high) == (0, 110)
    assert "none" in known["smokes"].missing
    assert "NA" in known["town"].missing
    assert "NA" not in known["smokes"].missing
    # A row of examples is one that the model takes, and nothing in it unusual.
    row = {}
    for place, field in enumerate(fields):
        cell = field.example(place)
        if field.is_text:
            row[field.name] = np.array([(cell or "").encode()], object)
        else:
            cell = np.nan if cell is None else cell
            row[field.name] = np.array([cell], np.float32)
        assert field.unusual(row[field.name]) == {}
    output = model({name: tf.constant(value) for name, value in row.items()})
    assert np.isfinite(output).all()


def test_the_model_takes_for_unknown_what_is_warned_of():
    said = {"form": table_form.form(FEATURES)}
    model = serving_model()
    fields = form_card.read(said, {i.name: spec_of(i) for i in model.inputs})
    cells = {
        "town": ["Oslo", " Oslo ", "oslo", "", "NA", "Riga", "other"],
        "smokes": ["TRUE", "0", "yes", "", "NA", "none", "False"],
        "code": [0.1, 2, 0.2, np.nan, -1, 3, 0.1],
    }
    rows = len(cells["town"])
    fixed = {"note": [""] * rows, "rare": ["x"] * rows}
    for field in fields:
        if field.name not in cells:
            continue
        values = np.array(cells[field.name], None)
        if field.is_text:
            values = np.array([v.encode() for v in values], object)
        else:
            values = values.astype(np.float32)
        # Rows that differ in this column alone: the unknown give one output.
        inputs = {
            each.name: tf.constant(
                fixed.get(each.name, [""] * rows)
                if each.is_text
                else [1.0] * rows
            )
            for each in fields
        }
        inputs[field.name] = tf.constant(values)
        output = model(inputs).numpy()
        unusual = set(field.unusual(values))
        assert unusual
        first = output[min(unusual)]
        alike = {
            row
            for row in range(rows)
            if np.allclose(output[row], first, atol=1e-7)
        }
        assert alike == unusual


def test_a_table_says_what_is_predicted_and_from_what(tmp_path):
    draw = np.random.default_rng(0)
    rows = 400
    frame = pd.DataFrame(
        {
            "ward": np.arange(rows) % 4,
            "u": draw.normal(size=rows),
            "v": draw.normal(size=rows),
            "age": draw.integers(20, 80, rows),
            "smokes": draw.choice([True, False], rows),
            "icd": draw.choice([250.1, 44054006], rows),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = registry.load("csv", registry.TASKS)(
        DataConfig(
            task="csv",
            task_type="regression",
            data_dir=str(tmp_path / "t.csv"),
            client_column="ward",
            label_column="u,v",
            categorical_columns="icd",
        ),
        seed=0,
    )
    assert task.labels == ["u", "v"]
    age, smokes, icd = task.form
    assert (age["column"], age["whole"]) == ("age", True)
    assert 19 <= age["low"] <= 25 < 75 <= age["high"] <= 80
    assert (smokes["kind"], smokes["categories"]) == (
        "boolean",
        ["false", "true"],
    )
    assert icd["categories"] == ["250.1", "44054006.0"]
