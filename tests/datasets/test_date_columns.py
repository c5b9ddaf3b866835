"""Columns of dates that become numbers where they are named."""

import datetime

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from tff_pipeline import errors, registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.readers import date_columns
from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.sqlite import Database, SqliteData


def column(*cells):
    distinct = sorted({*cells} - {""})
    places = [distinct.index(cell) if cell else -1 for cell in cells]
    return Column("d", np.array(places), tuple(distinct))


def numbers(*cells):
    """year, month, weekday, hour and days of each cell."""
    parts, problem = date_columns.split(column(*cells))
    assert not problem
    assert [part.name for part in parts] == [
        *("d_year", "d_month", "d_weekday", "d_hour", "d_days")
    ]
    return np.stack([part.values for part in parts], axis=1).tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        # Years divisible by 100 are leap years if 400 divides them too.
        (["2000-02-29"], [2000, 2, 2, 0, 11016]),
        (["1900-03-01"], [1900, 3, 4, 0, -25508]),
        (["1900-02-28"], [1900, 2, 3, 0, -25509]),
        (["1969-12-31"], [1969, 12, 3, 0, -1]),
        (["1969-12-31 18:00"], [1969, 12, 3, 18, -1]),
        (["1970-01-01T00:00:00Z"], [1970, 1, 4, 0, 0]),
        (["2020-12-31T23:30:00-01:00"], [2021, 1, 5, 0.5, 18628]),
        (["2020-01-01 00:30:00+01:00"], [2019, 12, 2, 23.5, 18261]),
        (["2020-06-01 12:00:00.123456"], [2020, 6, 1, 12, 18414]),
        (["31/12/1999", "01/02/1999"], [1999, 12, 5, 0, 10956]),
        (["31.12.1999 6:45", "1.2.1999 0:00"], [1999, 12, 5, 6.75, 10956]),
        (["12/31/1999 11:15 PM"], [1999, 12, 5, 23.25, 10956]),
        (["29FEB2000:18:30:00"], [2000, 2, 2, 18.5, 11016]),
        (["29-Feb-2000", "1-MAR-2000"], [2000, 2, 2, 0, 11016]),
        (["29 February 2000 6:00 PM"], [2000, 2, 2, 18, 11016]),
        (["Feb. 29, 2000"], [2000, 2, 2, 0, 11016]),
        # Either way round it is the same day.
        (["03/03/2020"], [2020, 3, 2, 0, 18324]),
    ],
)
def test_dates_become_the_numbers_of_the_calendar(cells, expected):
    assert numbers(*cells)[0] == expected


@hypothesis.given(
    st.lists(
        st.dates(datetime.date(1700, 1, 1), datetime.date(2250, 1, 1)),
        min_size=1,
        max_size=5,
    )
)
def test_days_are_those_of_python(days):
    found = numbers(*map(str, days))
    epoch = datetime.date(1970, 1, 1).toordinal()
    for day, row in zip(days, found):
        assert row == [
            *(day.year, day.month, day.isoweekday(), 0),
            day.toordinal() - epoch,
        ]


def test_a_missing_date_is_missing_in_all_numbers():
    found = np.array(numbers("", "2020-01-01", ""))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1].tolist() == [2020, 1, 3, 0, 18262]


def test_numbers_that_are_days_are_dates():
    days = Column("d", np.array([20000229, np.nan, 19000301]))
    parts, _ = date_columns.split(days)
    np.testing.assert_array_equal(parts[-1].values, [11016, np.nan, -25508])


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (["03/04/2020", "12/11/2020"], "day and month may be either way"),
        (["31/12/45"], "not all are written"),
        (["2020-02-30"], "not all are written"),
        (["9999-12-31", "2020-01-01"], "not all are written"),
        (["2020-01-01", "31/12/2020"], "not all are written"),
        (["31/12/2020", "12/31/2020"], "not all are written"),
        (["3 Mai 2020"], "not all are written"),
        (["3 Ju 2020"], "not all are written"),
        (["31 June 2020"], "not all are written"),
        (["3 March 20"], "not all are written"),
        (["08:15"], "not all are written"),
    ],
)
def test_what_is_not_understood_in_one_way_is_not_guessed(cells, problem):
    parts, said = date_columns.split(column(*cells))
    assert (parts, problem in said) == ([], True)
    assert not any(cell in said for cell in cells)


# Whole tables.

ROWS = 120


@pytest.fixture
def table(tmp_path):
    def write(**columns):
        row = np.arange(ROWS)
        path = tmp_path / "table.csv"
        frame = {"who": row % 3, "age": 20.5 + row % 50, "y": row % 2}
        pd.DataFrame({**frame, **columns}).to_csv(path, index=False)
        return str(path)

    return write


ADMITTED = pd.date_range("2019-12-01", periods=ROWS).strftime("%d/%m/%Y")


def task_of(path, **options):
    config = DataConfig(
        "csv", data_dir=path, client_column="who", label_column="y", **options
    )
    return registry.load("csv", registry.TASKS)(config, 0)


def test_named_dates_are_numbers_of_the_served_model_too(table):
    path = table(admitted=ADMITTED, born=ADMITTED)
    task = task_of(path, feature_columns="admitted,age", test_fraction=0.5)
    said = {use.name: (use.is_input, use.why) for use in task.columns}
    assert said == {
        "admitted": (False, "dates or times; becomes 5 numbers"),
        "admitted_year": (True, "a number, the year"),
        "admitted_month": (True, "a number, the month, 1 to 12"),
        "admitted_weekday": (
            True,
            "a number, the day of the week, Monday 1 to Sunday 7",
        ),
        # All dates are without a time.
        "admitted_hour": (
            False,
            "training clients have one value in it; left out",
        ),
        "admitted_days": (True, "a number, whole days since 1970-01-01"),
        "age": (True, "a number"),
    }
    model = task.serving_fn(task.build_model())
    assert list(model.input) == [
        *("admitted_year", "admitted_month", "admitted_weekday"),
        *("admitted_days", "age"),
    ]
    days = task.test.x[:, 3]
    assert days.min() >= 18231
    assert days.max() <= 18231 + ROWS
    np.testing.assert_array_equal(task.test.x[:, 2], (days + 3) % 7 + 1)


def test_dates_are_left_out_unless_named(table):
    task = task_of(table(admitted=ADMITTED))
    uses = {use.name: use.why for use in task.columns}
    assert uses == {"age": "a number", "admitted": "dates or times; left out"}


def test_named_dates_that_have_two_readings_are_left_out_and_said(table):
    either = [f"{i % 12 + 1:02d}/{i % 11 + 1:02d}/2020" for i in range(ROWS)]
    path = table(seen=either)
    task = task_of(path, feature_columns="seen,age")
    (use,) = (use for use in task.columns if use.name == "seen")
    assert not use.is_input
    assert use.why == (
        "dates or times, but day and month may be either way round; left out"
    )
    # As written, who wants that.
    task = task_of(path, categorical_columns="seen", min_category_count=1)
    assert {use.name for use in task.columns if use.is_input} == {"age", "seen"}


def test_a_column_of_the_same_name_is_not_confused_with_a_part(table):
    path = table(admitted=ADMITTED, admitted_year=np.arange(ROWS) / 7)
    with pytest.raises(errors.DataError, match="'admitted_year', which is a"):
        task_of(path, feature_columns="admitted,admitted_year")


def test_prepared_clients_have_the_numbers(table, tmp_path):
    output = str(tmp_path / "o.sqlite")
    options = {
        "client_column": "who",
        "label_column": "y",
        "feature_columns": "admitted",
    }
    prepare_data.write(table(admitted=ADMITTED), output, options)
    data = SqliteData(
        Database(output),
        ["0"],
        ["train"],
        chosen=lambda _, count: np.arange(count),
        labels=lambda y: y,
    )
    assert data.load("0").x[0].tolist() == [2019, 12, 7, 18231]


def test_dates_of_parquet_are_dates(tmp_path):
    times = pd.date_range(
        "2019-12-01", periods=ROWS, freq="13h", tz="Asia/Tokyo"
    )
    path = tmp_path / "t.parquet"
    row = np.arange(ROWS)
    pd.DataFrame(
        {
            "who": row % 3,
            "y": row % 2,
            "seen": times,
            "day": times.tz_localize(None).date,
            "part": np.where(row < ROWS - 6, "train", "test"),
        }
    ).to_parquet(path)
    task = task_of(str(path), feature_columns="seen,day", split_column="part")
    names = [use.name for use in task.columns if use.is_input]
    assert [*map(len, (names, [n for n in names if "hour" in n]))] == [9, 1]
    x = task.train.load("0").x
    # Midnight in Tokyo is 15:00 of the day before in UTC.
    assert x[0, names.index("seen_hour")] == 15
    assert x[0, names.index("seen_days")] == 18230
    assert x[0, names.index("day_days")] == 18231
