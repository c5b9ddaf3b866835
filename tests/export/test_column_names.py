"""Columns whose names no input of a SavedModel can have."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tff_pipeline import registry
from tff_pipeline.assembly.task import initial_weights
from tff_pipeline.config.data import DataConfig
from tff_pipeline.export import saved_model
from tff_pipeline.serving import layout, request
from tff_pipeline.serving import model as serving_model
from tff_pipeline.serving.refusal import Refusal

# What Python, TensorFlow, Keras or this package call something.
NAMES = [
    *("class", "yield", "None", "True", "lambda", "self", "inputs"),
    *("training", "name", "args", "kwargs", "mask", "signature", "examples"),
    *("features", "row", "_x", "label", "data", "logits", "probabilities"),
    *("class_id", "1st", "Naïve", "年龄", "x.y", "x y", "x_y", "A", "cls"),
    *("column_class", "own_model", "encoder", "a, b"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a model of a table with columns of all these names."""
    folder = tmp_path_factory.mktemp("names")
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=[40, len(NAMES)]), columns=NAMES)
    frame["ward"] = np.arange(40) % 4
    frame["sick"] = ["no", "yes"] * 20
    frame.to_csv(folder / "t.csv", index=False)
    task = registry.load("csv", registry.TASKS)(
        DataConfig(
            task="csv",
            data_dir=str(folder / "t.csv"),
            client_column="ward",
            label_column="sick",
        ),
        seed=0,
    )
    path = folder / "saved_model"
    saved_model.export(task, initial_weights(task, 0), str(path))
    return path


def test_every_column_is_an_input_and_the_card_has_its_own_name(exported):
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    card = json.loads(
        (exported / "assets.extra" / "model_card.json").read_text()
    )
    names = card["column_names"]
    assert sorted(names) == sorted(inputs)
    assert sorted(names.values()) == sorted(NAMES)
    assert names["column_class"] == "class"
    assert names["training"] == "training"
    given = serve(**{name: tf.constant([0.5]) for name in inputs})
    assert given["probabilities"].shape == (1, 2)
    words = (exported / "assets.extra" / "model_card.md").read_text()
    assert "`column_None` is the column 'None'" in words


@pytest.fixture(scope="module")
def served(exported):
    return serving_model.load(layout.find(str(exported), "names"))


def test_rows_by_the_columns_own_names_are_those_by_inputs(served):
    signature = served.signatures["serving_default"]
    assert sorted(signature.columns) == sorted(NAMES)
    own = {name: float(place) for place, name in enumerate(NAMES)}
    inputs = {signature.columns[name]: own[name] for name in NAMES}
    mixed = {**own}
    mixed["column_None"] = mixed.pop("None")
    answers = []
    for row in (own, inputs, mixed):
        for body in (
            {"instances": [row]},
            {"inputs": {name: [value] for name, value in row.items()}},
        ):
            asked = request.decode(json.dumps(body).encode(), served.signatures)
            answers.append(asked.signature(asked.arrays)["logits"])
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_a_column_that_is_missing_or_unknown_is_named(served):
    row = dict.fromkeys(NAMES, 0.5)
    for wrong, words in (
        ({**row, "other": 1.0}, "'other', which is no input"),
        ({name: 0.5 for name in NAMES if name != "x.y"}, "lacks x_y"),
    ):
        body = json.dumps({"instances": [wrong]}).encode()
        with pytest.raises(Refusal) as refusal:
            request.decode(body, served.signatures)
        assert words in refusal.value.sentence
