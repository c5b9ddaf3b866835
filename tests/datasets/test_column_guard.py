"""Tests what a table's columns become, and what never leaves a table."""

import numpy as np
import pandas as pd
import pytest

from tff_pipeline import errors, registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import column_guard
from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.table import Table

ROWS = 400


def used(tmp_path, cells, name="c", named=False, codes=False):
    """Judges a column of a CSV file, which it writes."""
    path = tmp_path / "table.csv"
    pd.DataFrame({name: cells, "d": 0}).to_csv(path, index=False)
    table = Table(str(path))
    rows = table.load([name])
    column = table.codes(name) if codes else table.take(name)
    return column_guard.judge(column, np.arange(rows), named)


def numbered(form, count=ROWS):
    return [form.format(i=i, j=i % 28 + 1, k=i % 7) for i in range(count)]


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("c", numbered("{k}"), "number"),
        ("c", numbered("{i}.5"), "number"),
        ("salary", [str(i * i) for i in range(ROWS)], "number"),
        ("c", numbered("kind {k}"), "category"),
        # Few rows prove nothing.
        ("c", numbered("kind {i}", 8), "category"),
        ("c", numbered("{i}"), "identifier"),
        ("patientId", [str(7 * i) for i in range(ROWS)], "identifier"),
        ("visit_id", numbered("{j}"), "identifier"),
        ("c", numbered("P{i:05d}"), "identifier"),
        ("c", numbered("{i}@example.org"), "identifier"),
        ("idle time", [str(7 * i) for i in range(ROWS)], "number"),
        ("admitted", numbered("2020-03-{j:02d}"), "date"),
        ("c", numbered("2020-03-{j:02d}T08:1{k}:00+01:00"), "date"),
        ("c", numbered("{j}.3.2020"), "date"),
        ("c", numbered("{j}/3/20"), "date"),
        ("c", numbered("{j} March 2020"), "date"),
        ("c", numbered("March {j}, 2020"), "date"),
        ("c", numbered("{k}:{j:02d}"), "date"),
        ("c", numbered("202003{j:02d}"), "date"),
        ("c", numbered("severe pain for {i} days, no fever"), "free text"),
        ("c", ["x"] * ROWS, "constant"),
        ("c", ["5"] * ROWS, "constant"),
        ("c", ["", "NA"] * ROWS, "empty"),
    ],
)
def test_columns_are_told_by_their_cells(tmp_path, name, cells, kind):
    use = used(tmp_path, cells, name)
    assert use.kind == kind
    assert use.is_input == (kind in ("number", "category"))
    assert use.distinct == len({*cells} - {"", "NA"})
    if use.is_input:
        return
    assert "left out" in use.why
    # A flag has the last word, unless there is nothing to learn from.
    use = used(tmp_path, cells, name, named=True)
    assert use.is_input == (kind not in ("constant", "empty"))


@pytest.mark.parametrize(
    ("cells", "known"),
    [
        (["250.1", "250.10"], 2),
        (["001", "1"], 2),
        (["44054006", "44054007", "44054006.0"], 2),
        (["1", "1.0", "2."], 2),
        (["250.0", "250", "250.5"], 3),
    ],
)
def test_codes_are_what_is_written(tmp_path, cells, known):
    assert used(tmp_path, cells * 20, codes=True).distinct == known


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["250.1", "250.10", "401.9"], True),
        (["007", "8"], True),
        (["01234", "", "99999"], True),
        (["0.5", "0", "0.25"], False),
        (["1", "1.0", "2"], False),
        (["-1,5", "2,25"], False),
        (["10", "100"], False),
    ],
)
def test_numbers_that_are_written_like_codes_are_said(tmp_path, cells, told):
    use = used(tmp_path, cells * 20)
    assert use.kind == "number"
    assert ("name it in --categorical_columns" in use.why) == told


def test_any_of_several_labels_may_be_given_away():
    draw = np.random.default_rng(0)
    y = np.stack([draw.normal(size=40), np.arange(40) % 4 / 2], axis=1)
    quarter = Column("quarter", np.arange(40) % 4 + 1.0)
    half = Column("half", np.arange(40) % 2 + 1.0)
    assert column_guard.gives_away(quarter, y)
    assert not column_guard.gives_away(half, y)
    assert not column_guard.gives_away(quarter, y[:, :1])
    assert not column_guard.gives_away(quarter, np.zeros([40, 2]))


def test_a_column_that_stands_for_the_label_is_said(tmp_path):
    y = np.arange(ROWS) % 2
    frame = frame_of(y=np.where(y, "ill", "well"), paid=1 - y)
    columns = task_of(frame, tmp_path).columns
    flagged = {use.name for use in columns if "AWAY" in use.why}
    assert flagged == {"paid"}
    assert all(use.is_input for use in columns if use.name == "paid")


# Whole tables.


def frame_of(**columns):
    draw = np.random.default_rng(0)
    age = draw.normal(50, 10, ROWS)
    return pd.DataFrame(
        {
            "hospital": np.char.add("ward ", (np.arange(ROWS) % 4).astype(str)),
            "age": age.round(1),
            "city": draw.choice(["Oslo", "Rome", "Riga"], ROWS),
            "y": np.where(age > 50, "ill", "well"),
            **columns,
        }
    )


def with_secrets():
    """A table with text of its own in every row of five columns."""
    secret = np.array([f"S3CR{i:04d}T" for i in range(ROWS)])
    job = np.where(np.arange(ROWS) % 5 == 0, secret, "nurse")
    return frame_of(
        patient_id=secret,
        note=[f"{each} had no fever and slept well" for each in secret],
        admitted="2020-01-01 " + pd.Series(secret),
        job=job,
        city=np.where(np.arange(ROWS) % 3, "Oslo", np.char.add("x", secret)),
    )


def options_of(frame, tmp_path, **options):
    path = tmp_path / "table.csv"
    frame.to_csv(path, index=False)
    return DataConfig(
        "csv",
        data_dir=str(path),
        client_column="hospital",
        label_column="y",
        **options,
    )


def task_of(frame, tmp_path, **options):
    load = registry.load("csv", registry.TASKS)
    return load(options_of(frame, tmp_path, **options), 0)


def test_columns_that_training_clients_do_not_fill_have_no_effect(tmp_path):
    test = np.arange(ROWS) % 4 == 0
    parts = {"part": np.where(test, "test", "train")}
    frame = frame_of(
        lactate=np.where(test, 2000.0, np.nan),
        dose=np.where(test, 2000.0, 5.0),
        **parts,
    )
    task = task_of(frame, tmp_path, split_column="part")
    uses = {use.name: use for use in task.columns}
    assert (uses["lactate"].kind, uses["dose"].kind) == ("empty", "constant")
    plain = task_of(frame_of(**parts), tmp_path, split_column="part")
    np.testing.assert_array_equal(task.test.x, plain.test.x)


def test_rare_categories_are_others(tmp_path):
    city = np.where(np.arange(ROWS) < 12, "Riga", "Oslo")
    city[:5] = "Rome"
    task = task_of(frame_of(city=city), tmp_path, test_fraction=0.01)
    (known,) = (f for f in task.model_fn.args[0] if f.name == "city")
    assert known.known == ("Oslo",)
    task = task_of(
        frame_of(city=city), tmp_path, test_fraction=0.01, min_category_count=2
    )
    (known,) = (f for f in task.model_fn.args[0] if f.name == "city")
    assert known.known == ("Oslo", "Riga", "Rome")


def test_free_text_that_is_named_is_hashed(tmp_path):
    frame = with_secrets()
    task = task_of(frame, tmp_path, feature_columns="note,age,city")
    (use,) = (use for use in task.columns if use.name == "note")
    assert "named by you: words' hashes in 256 numbers" in use.why
    assert task.test.x.shape[1] == 258
    # Each note has seven words, one of which no other has.
    counts = np.square(task.test.x[:, :256]).sum(axis=1)
    np.testing.assert_allclose(counts, 1, rtol=1e-5)
    model = task.build_model()
    served = task.serving_fn(model)
    table = Table(str(tmp_path / "table.csv"))
    table.load(["note", "age", "city"])
    inputs = {
        "note": table.take("note").strings().astype(object),
        "age": table.take("age").values.astype(np.float32),
        "city": table.take("city").strings().astype(object),
    }
    shown = served(inputs).numpy()
    for logits in model(task.test.x).numpy()[:5]:
        assert np.isclose(shown, logits, atol=1e-5).all(axis=1).any()
    # Case and marks do not count, and no word is kept.
    again = served(
        {
            **inputs,
            "note": np.char.upper(frame["note"].to_list()).astype(object),
        }
    )
    np.testing.assert_allclose(again, shown, atol=1e-6)
    # What is named as a category is one.
    task = task_of(
        frame, tmp_path, feature_columns="note,age", categorical_columns="note"
    )
    assert task.test.x.shape[1] == 2


def test_where_nothing_is_left_the_reasons_are_said(tmp_path):
    frame = with_secrets()[["hospital", "patient_id", "note", "y"]]
    with pytest.raises(errors.DataError) as refused:
        task_of(frame, tmp_path)
    said = str(refused.value)
    for words in ("'patient_id': text that differs", "--feature_columns"):
        assert words in said
    assert "S3CR" not in said


def test_prepared_clients_leave_out_the_same_columns(tmp_path):
    path = tmp_path / "table.csv"
    with_secrets().to_csv(path, index=False)
    output = tmp_path / "clients.sqlite"
    options = {"client_column": "hospital", "label_column": "y"}
    assert prepare_data.write(str(path), str(output), options) == (ROWS, 4)
    assert b"S3CR" not in output.read_bytes()
