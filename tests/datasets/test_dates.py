"""Dates in the forms in which people and programs write them."""

import pandas as pd
import pytest

from tff_pipeline.datasets.readers import dates


def read(*texts):
    return [
        None if pd.isna(time) else str(time)
        for time in dates.read(pd.Series(texts))
    ]


NOON = "2016-02-03 12:00:00"


@pytest.mark.parametrize(
    "text",
    [
        *("2016-02-03 12:00", "2016-2-3 12:00:00", "2016/02/03T12:00:00.000"),
        *("2016-02-03T12:00:00Z", "2016-02-03 12:00 UTC", "1454500800"),
        *("1454500800000", "2016-02-03 10:30:00-0130", "2016-02-03, 12:00 PM"),
        *("2016.02.03 13:00+01:00", " 2016-02-03 12:00 "),
    ],
)
def test_a_year_first_is_no_riddle(text):
    assert read(text) == [NOON]


def test_the_order_is_that_in_which_all_are_dates():
    assert read("03/02/2016", "13/02/2016")[0] == "2016-02-03 00:00:00"
    assert read("02/03/2016", "02/13/2016")[0] == "2016-02-03 00:00:00"
    # Neither: the one that understands more.
    assert read("31/01/2016", "30/01/2016", "01/31/2016")[2] is None


def test_the_order_is_else_that_of_even_steps():
    days = [f"{day:02d}/07/2016" for day in range(1, 8)]
    assert read(*days)[-1] == "2016-07-07 00:00:00"
    months = [f"07/{day:02d}/2016" for day in range(1, 8)]
    assert read(*months)[-1] == "2016-07-07 00:00:00"


def test_twelve_hours_and_two_digits():
    found = read("31/12/15 12:30 AM", "31/12/15 12:30 p.m.", "31/12/15 1:30pm")
    assert found == [
        "2015-12-31 00:30:00",
        "2015-12-31 12:30:00",
        "2015-12-31 13:30:00",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "2016-02-30", "2016-02-03 24:00", "2016-02-03 12:60"),
        *("2016-02/03", "99/99/9999", "12345", "nan", "2016-02-03 12"),
    ],
)
def test_what_is_no_date_is_none(text):
    assert read(text) == [None]
