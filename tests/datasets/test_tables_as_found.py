"""Tables as programs and people write them: what is read, what is refused."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import number_spelling
from tff_pipeline.datasets.readers.table import Table
from tff_pipeline.tasks import table, table_contents

NAMES = ["hospital", "age", "cost", "sick"]
ROWS = [["North", "37", "1.5", "no"], ["South", "77", "2.5", "yes"]] * 20


# Numbers.


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["7,5", "12"], [7.5, 12]),
        (["1.234,5", "1,5"], [1234.5, 1.5]),
        (["1,234.5", "12"], [1234.5, 12]),
        (["1,234,567", "1"], [1234567, 1]),
        (["$7", "$1,234.50", "-$3"], [7, 1234.5, -3]),
        (["7 €", "7,5 €"], [7, 7.5]),
        (["EUR 1.234,50"], [1234.5]),
        (["7%", "12.5%"], [7, 12.5]),
        (["7 mg", "9 mg"], [7, 9]),
        (["7 kg/m2", "9.5 kg/m2"], [7, 9.5]),
        (["7 mm Hg"], [7]),
        (["8'000", "1"], [8000, 1]),
        (["8\N{RIGHT SINGLE QUOTATION MARK}000.5"], [8000.5]),
        (["8 000", "8\N{NO-BREAK SPACE}000"], [8000, 8000]),
        (["8\N{NARROW NO-BREAK SPACE}000,5"], [8000.5]),
        (["\N{MINUS SIGN}7", "7"], [-7, 7]),
        (["(7)", "7"], [-7, 7]),
        (["7-", "7"], [-7, 7]),
        (["+7", ".5", "7."], [7, 0.5, 7]),
        (["7,5E+02"], [750]),
        (["\N{FULLWIDTH DIGIT SEVEN}"], [7]),
        (["\N{ARABIC-INDIC DIGIT SEVEN}"], [7]),
    ],
)
def test_numbers_are_read_in_every_spelling(cells, numbers):
    assert number_spelling.parse(cells) == numbers


@pytest.mark.parametrize(
    "cells",
    [
        *(["I10"], ["P00007"], ["12A"], ["<7"], ["7-11"], ["7+ years"]),
        *(["07:30"], ["2020-01-08"], ["7.3.2020"], ["0x7"], ["1_000"]),
        *(["'7'"], ["7 mg", "7 g"], ["$7", "7 €"], ["1.5", "1,5"], ["1,23,4"]),
        *([""], ["-"], ["."], ["e5"], ["True"]),
    ],
)
def test_other_text_is_no_number(cells):
    assert number_spelling.parse(cells) is None


def test_what_fits_both_decimal_marks_is_not_guessed():
    with pytest.raises(number_spelling.AmbiguousError, match="1,234"):
        number_spelling.parse(["1,234", "7"])
    assert number_spelling.parse(["1,234"], ".") == [1234]
    assert number_spelling.parse(["1,234"], ",") == [1.234]


def csv_of(tmp_path, cells, name="c"):
    path = tmp_path / "t.csv"
    pd.DataFrame({name: cells, "d": "x"}).to_csv(path, index=False)
    return str(path)


def taken(path, **options):
    found = Table(path, **options)
    found.load(["c"])
    return found.take("c")


def test_a_column_is_decided_as_a_whole(tmp_path):
    path = csv_of(tmp_path, ["7,5", "", "NA", "1.000,25"])
    np.testing.assert_array_equal(
        taken(path).values, [7.5, np.nan, np.nan, 1000.25]
    )
    path = csv_of(tmp_path, ["1,234", "12"])
    with pytest.raises(errors.DataError, match=r"'c'.*1,234.*--decimal_mark"):
        taken(path)
    assert taken(path, decimal_mark=",").values.tolist() == [1.234, 12]
    # One wrong among many spelt with a comma is a mistake as well.
    path = csv_of(tmp_path, [*[f"{i},5" for i in range(30)], "twelve"])
    with pytest.raises(errors.DataError, match=r"'twelve'.*--missing_values"):
        taken(path)
    assert np.isnan(taken(path, missing=["", "twelve"]).values[-1])
    # Numbers that mean nothing, in whatever spelling.
    path = csv_of(tmp_path, ["-9", "-9.0", "4"])
    assert np.isnan(taken(path, missing=["", "-9"]).values[:2]).all()


# Text files.


def text_of(delimiter=",", end="\n"):
    lines = [NAMES, *ROWS]
    return end.join(delimiter.join(line) for line in lines) + end


def read(path):
    found = Table(str(path))
    assert found.names == NAMES
    assert found.load(NAMES) == len(ROWS)
    assert found.take("cost").values.tolist() == [1.5, 2.5] * 20
    return found.take("sick").strings().tolist() == ["no", "yes"] * 20


@pytest.mark.parametrize(
    "content",
    [
        *(text_of(delimiter) for delimiter in ",;\t|^~ "),
        *(text_of(end=end) for end in ("\r", "\r\n", "\r\r\n")),
        "sep=;\n" + text_of(";"),
        '"sep=;"\r\n' + text_of(";", "\r\n"),
        "\n\n" + text_of(),
        "# made in 2024, by hand\n" + text_of(),
        "\N{BYTE ORDER MARK}" + text_of(),
        text_of(", "),
        text_of(" ,"),
        text_of().replace("age", "age\N{NO-BREAK SPACE}"),
        text_of().replace("\n", ",,\n"),
        text_of() + ",,,\n" * 3,
        ", ".join(f'"{name}"' for name in NAMES) + text_of()[22:],
    ],
)
def test_files_of_all_kinds_are_read(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content.encode())
    assert read(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read(tmp_path, encoding):
    mark = "" if encoding == "utf-16" else "\N{BYTE ORDER MARK}"
    path = tmp_path / "t.csv"
    path.write_bytes((mark + text_of("\t", "\r\n")).encode(encoding))
    assert read(path)


def test_what_is_packed_is_told_by_its_bytes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(text_of().encode()))
    assert read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", "ZIP archive or a spreadsheet"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PAR1", "a Parquet file"),
        (b"%PDF-1.7", "PDF"),
        (b"Loans (EUR)\n" + text_of().encode(), "line 1 is no line of names"),
        (b"\n \n", "is empty"),
        (text_of().encode() + b"Total: 40\n", "row 41 below the header has 1"),
    ],
)
def test_what_is_no_table_is_said(tmp_path, content, words):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=words) as refused:
        read(path)
    assert str(refused.value).count(". ") == 0


def test_names_are_stripped_as_cells_are(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('"hospital", "bp,  mm\n(Hg)" ,sick\nN,1.5,no\n')
    assert Table(str(path)).names == ["hospital", "bp, mm (Hg)", "sick"]
    assert table_contents.listed('age, "bp,  mm (Hg)"')[1] == "bp, mm (Hg)"


# Folders and flags.


def options_of(path, **options):
    defaults = {
        "client_column": "hospital",
        "label_column": "sick",
        "task_type": "classification",
    }
    return DataConfig("csv", data_dir=str(path), **{**defaults, **options})


def contents(path, **options):
    return table_contents.read(options_of(path, **options))


def frame():
    return pd.DataFrame(ROWS, columns=NAMES).astype({"age": int, "cost": float})


def test_a_file_a_client(tmp_path):
    for name, part in frame().groupby("hospital"):
        part.drop(columns="hospital").to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    found = contents(tmp_path, client_column="file_name")
    assert found.owners.tolist() == ["North"] * 20 + ["South"] * 20
    assert found.features == ["age", "cost"]


def test_folders_give_a_column(tmp_path):
    for name, part in frame().groupby("hospital"):
        folder = tmp_path / f"hospital={name}%20ward"
        folder.mkdir()
        part.drop(columns="hospital").to_parquet(folder / "part-0.parquet")
    found = contents(tmp_path)
    assert set(found.owners) == {"North ward", "South ward"}
    assert found.table.names == ["age", "cost", "sick", "hospital"]


def test_training_and_test_files_are_no_parts_of_one(tmp_path):
    frame().to_csv(tmp_path / "train.csv", index=False)
    frame()[:10].to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(errors.DataError, match="--split_column=file_name"):
        contents(tmp_path)
    found = contents(tmp_path, split_column="file_name")
    assert found.is_test.sum() == 10


def test_a_table_is_not_read_twice(tmp_path):
    frame().to_csv(tmp_path / "data.csv", index=False)
    frame().to_csv(tmp_path / "data.csv.gz", index=False)
    with pytest.raises(errors.DataError, match=r"data.csv.gz and .*data.csv"):
        contents(tmp_path)
    (tmp_path / "data.csv.gz").unlink()
    frame().to_csv(tmp_path / "copy.csv", index=False)
    with pytest.raises(errors.DataError, match="are the same"):
        contents(tmp_path)


def test_parts_of_parquet_may_differ_in_width(tmp_path):
    first, second = frame(), frame()
    first["note"], second["note"] = None, "fine"
    second["age"] = second["age"].astype(float)
    pa.parquet.write_table(pa.Table.from_pandas(first), tmp_path / "a.parquet")
    large = pa.Table.from_pandas(second, preserve_index=False)
    at = large.schema.get_field_index("sick")
    large = large.set_column(at, "sick", large["sick"].cast(pa.large_string()))
    pa.parquet.write_table(large, tmp_path / "b.parquet")
    found = contents(tmp_path)
    assert len(found.y) == 80
    assert found.table.take("age").values.tolist() == [37.0, 77.0] * 40
    first["age"] = "old"
    pa.parquet.write_table(pa.Table.from_pandas(first), tmp_path / "a.parquet")
    with pytest.raises(errors.DataError, match="'age'"):
        contents(tmp_path)


def test_columns_of_other_types_are_left_out_unless_named(tmp_path):
    lists = frame().assign(codes=[["a"]] * 40, raw=[b"x"] * 40)
    lists["stay"] = pd.to_timedelta(lists["age"], unit="h")
    path = tmp_path / "t.parquet"
    lists.to_parquet(path)
    options = options_of(path, min_category_count=1)
    inputs = table.encoded(table_contents.read(options), np.arange(40), options)
    kinds = {use.name: use.kind for use in inputs.uses}
    assert kinds == {
        **dict.fromkeys(["age", "cost", "stay"], "number"),
        **dict.fromkeys(["codes", "raw"], "other"),
    }
    assert inputs.x[0].tolist() == [37, 1.5, 37 * 3600]
    options = options_of(path, feature_columns="age,codes")
    with pytest.raises(errors.DataError, match=r"'codes'.*list"):
        table.encoded(table_contents.read(options), np.arange(40), options)


def test_words_that_are_values_stay_values(tmp_path):
    rows = frame().assign(hospital="NA", sick=["None", "ill"] * 20)
    rows.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(errors.DataError, match="--missing_values"):
        contents(tmp_path)
    found = contents(tmp_path, missing_values="?")
    assert found.class_names == ["None", "ill"]
    assert set(found.owners) == {"NA"}


def test_classes_that_differ_by_case_are_refused(tmp_path):
    frame().assign(sick=["yes", "Yes"] * 20).to_csv(
        tmp_path / "t.csv", index=False
    )
    with pytest.raises(errors.DataError, match="'Yes' and 'yes'"):
        contents(tmp_path)


def test_several_numbers_are_predicted(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    options = {"label_column": "age,cost", "task_type": "regression"}
    found = contents(tmp_path, **options)
    assert found.y[:2].tolist() == [[37, 1.5], [77, 2.5]]
    assert found.features == ["sick"]


def test_clients_named_by_numbers_have_no_decimals(tmp_path):
    path = tmp_path / "t.parquet"
    frame().assign(hospital=[1.0, 2.0] * 20).to_parquet(path)
    assert set(contents(path).owners) == {"1", "2"}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_booleans_are_understood_in_every_spelling(tmp_path, form):
    rows = frame().assign(smoker=[True, False] * 20)
    path = tmp_path / f"t.{form}"
    if form == "csv":
        rows.to_csv(path, index=False)
    else:
        rows.to_parquet(path)
    from tff_pipeline.models import table as models

    options = options_of(path, min_category_count=1, feature_columns="smoker")
    known = table.encoded(
        table_contents.read(options), np.arange(40), options
    ).features
    model = models.two_hidden_layers(known, 2)
    served = models.serving_model(known, model)

    def logits(word):
        return served({"smoker": np.array([word], object)}).numpy()

    for words in (("true", "True", "TRUE", "1"), ("false", "False", "0")):
        for word in words:
            np.testing.assert_array_equal(logits(word), logits(words[0]))
    assert (logits("true") != logits("false")).any()
