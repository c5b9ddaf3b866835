"""What a form says of a table's columns, and what it warns of."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline.serving import form, form_card
from tff_pipeline.serving.form import Field
from tff_pipeline.serving.tensor_spec import Kind, TensorSpec


def text(name):
    return TensorSpec(name, "string", (None,), Kind.STRING)


def number(name):
    return TensorSpec(name, "float32", (None,), Kind.FLOAT, np.float32)


CARD = {
    "form": [
        {
            "input": "chol__mg_dl_",
            "column": "chol (mg/dl)",
            "kind": "number",
            "low": 126.0,
            "high": 564.0,
            "whole": True,
        },
        {"input": "dose", "column": "dose", "kind": "number"},
        {
            "input": "city",
            "column": "city",
            "kind": "category",
            "categories": ["Köln", "Oslo"],
            "missing": ["", "NA"],
        },
        {
            "input": "smokes",
            "column": "smokes",
            "kind": "boolean",
            "categories": ["false", "true"],
        },
        {
            "input": "code",
            "column": "code",
            "kind": "category",
            "categories": [1, 2.5, 0.1],
        },
    ],
    "columns": [
        {"name": "chol (mg/dl)", "missing": 0.0},
        {"name": "city", "missing": 0.25},
        {"name": "smokes", "missing": 0.0},
        {"name": "dose", "missing": None},
    ],
}
INPUTS = {
    each.name: each
    for each in (
        *(text("city"), number("chol__mg_dl_"), number("code")),
        *(number("dose"), text("smokes")),
    )
}


def fields():
    return {field.name: field for field in form_card.read(CARD, INPUTS)}


def cells(*values):
    return np.array([each.encode() for each in values], object)


def numbers(*values):
    return np.array(values, np.float32)


def test_fields_are_in_the_tables_order():
    assert list(fields()) == [each["input"] for each in CARD["form"]]
    chol = fields()["chol__mg_dl_"]
    assert (chol.title, chol.unit) == ("chol (mg/dl)", "mg/dl")
    assert chol.always_there
    # Of what nothing is counted, nothing is known.
    assert not fields()["dose"].always_there


@pytest.mark.parametrize(
    ("title", "unit"),
    [
        ("age", None),
        ("age (years)", "years"),
        ("share [%]", "%"),
        ("temp (°C)", "°C"),
        ("speed (km/h)", "km/h"),
        ("sex (0 = female)", None),
        ("sex (f, m)", None),
        ("day (1)", None),
        ("(years)", None),
        ("a (b) c", None),
    ],
)
def test_a_unit_is_what_a_name_has_in_brackets(title, unit):
    assert Field("x", title, "number").unit == unit


def test_numbers_outside_the_usual_range_are_warned_of():
    chol = fields()["chol__mg_dl_"]
    values = numbers(126, 300, 564, 125, 700.5, np.nan, np.inf, -np.inf)
    found = chol.unusual(values)
    assert sorted(found) == [3, 4, 5, 6, 7]
    assert found[4] == ("is 700.5, outside the usual range, 126 to 564 mg/dl")
    assert found[5] == "is missing, which it never was in the data"
    assert fields()["dose"].unusual(values) == {}


def test_an_end_that_is_no_float32_is_not_outside():
    field = Field("x", "x", "number", low=0.1, high=0.3)
    assert field.unusual(numbers(0.1, 0.3)) == {}


def test_categories_that_are_not_known_are_warned_of():
    city = fields()["city"]
    found = city.unusual(cells("Oslo", " Köln ", "oslo", "", "NA", "S3CRET"))
    assert sorted(found) == [2, 5]
    assert "none of the 2 values" in found[5]
    # Nor is it said what was sent.
    assert "S3CRET" not in found[5]
    code = fields()["code"]
    assert sorted(code.unusual(numbers(1, 2.5, 0.1, 3, np.nan, 0.2))) == [3, 5]


@pytest.mark.parametrize(
    "cell", ["true", "True", " TRUE", "1", "false", "False", "0"]
)
def test_booleans_may_be_written_in_any_way(cell):
    assert fields()["smokes"].unusual(cells(cell)) == {}


@pytest.mark.parametrize("cell", ["yes", "2", "t", "wahr", "NA", ""])
def test_what_is_no_boolean_is_warned_of(cell):
    assert list(fields()["smokes"].unusual(cells(cell))) == [0]


def test_json_has_words_for_booleans_and_missing_values():
    smokes, dose, city = (fields()[n] for n in ("smokes", "dose", "city"))
    assert smokes.spelt([True, False, 1, 0, "True", None, 2, {"b64": ""}]) == [
        *("true", "false", "true", "false", "True", "", 2, {"b64": ""})
    ]
    assert np.isnan(dose.spelt([None])[0])
    assert city.spelt([None, "Oslo", True]) == ["", "Oslo", True]
    # What is no column is refused elsewhere.
    assert city.spelt({"b64": "AA=="}) == {"b64": "AA=="}


def test_an_example_is_made_of_the_card_alone():
    found = [
        field.example(place) for place, field in enumerate(fields().values())
    ]
    assert found == [345, None, "Köln", "true", 2.5]
    for field, value in zip(fields().values(), found):
        if value is None:
            continue
        of_one = cells(value) if field.is_text else numbers(value)
        assert field.unusual(of_one) == {}


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.booleans())
def test_an_example_lies_in_the_usual_range(low, width, whole):
    if whole:
        low, width = np.floor(low), max(np.ceil(width), 1.0)
    if low + width <= low:
        return
    field = Field("x", "x", "number", low=low, high=low + width, whole=whole)
    value = field.example(0)
    assert field.low - 1e-9 * abs(low) <= value
    assert value <= field.high + 1e-9 * abs(field.high)


def test_where_no_category_is_known_all_others_are_usual():
    city = dataclasses.replace(fields()["city"], categories=())
    assert city.example(3) == "other"
    assert city.unusual(cells("other", "Rome", "NA")) == {}
    there = dataclasses.replace(city, always_there=True)
    assert list(there.unusual(cells("Rome", "NA"))) == [1]


def test_free_text_may_be_anything():
    card = {"form": [{"input": "city", "column": "note", "kind": "text"}]}
    inputs = {"city": INPUTS["city"]}
    (note,) = form_card.read(card, inputs)
    assert note.unusual(cells("any words", "")) == {}
    assert note.example(0) is None
    assert form_card.read(card, {"city": number("city")}) == ()


def test_other_is_what_the_model_does_not_know():
    assert fields()["city"].other == "other"
    assert fields()["code"].other == 3.5
    for field in fields().values():
        if field.kind == "category":
            value = field.other
            of_one = cells(value) if field.is_text else numbers(value)
            assert list(field.unusual(of_one)) == [0]


def test_warnings_name_row_and_input_and_are_not_endless():
    known = list(fields().values())
    arrays = {
        "chol__mg_dl_": numbers(300, 9000),
        "dose": numbers(1, 1),
        "city": cells("Rome", "Oslo"),
        "smokes": cells("true", "true"),
        "code": numbers(1, 1),
    }
    found = form.warnings(known, arrays)
    assert [(each["row"], each["input"]) for each in found] == [
        (0, "city"),
        (1, "chol__mg_dl_"),
    ]
    assert found[1]["warning"] == (
        "chol (mg/dl) is 9000, outside the usual range, 126 to 564 mg/dl."
    )
    many = {name: np.repeat(array, 200) for name, array in arrays.items()}
    found = form.warnings(known, many)
    assert len(found) == 101
    assert found[-1] == {"warning": "300 more values are unusual."}
    assert json.loads(json.dumps(found)) == found
    assert form.warnings((), arrays) == []


def broken():
    """Cards that say what does not fit the model."""
    one = dict(CARD["form"][0])
    rest = CARD["form"][1:]
    return [
        {},
        {"form": None},
        {"form": {}},
        {"form": [1, 2]},
        {"form": [{"input": 1}]},
        {"form": rest},
        {"form": [one, one, *rest[1:]]},
        {"form": [{**one, "input": "other"}, *rest]},
        {"form": [{**one, "kind": "image"}, *rest]},
        {"form": [{**one, "kind": None}, *rest]},
        {"form": [{**one, "kind": "boolean", "categories": []}, *rest]},
        {"form": [{**one, "kind": "category", "categories": ["a"]}, *rest]},
        {"form": [{**one, "kind": "category", "categories": "ab"}, *rest]},
        {"form": [{**one, "column": 3}, *rest]},
        {"form": [one, rest[0], {**rest[1], "kind": "number"}, *rest[2:]]},
        {"form": [one, rest[0], {**rest[1], "missing": 3}, *rest[2:]]},
        {"form": [one, rest[0], {**rest[1], "categories": [1]}, *rest[2:]]},
    ]


@pytest.mark.parametrize("card", broken(), ids=range(len(broken())))
def test_a_card_that_does_not_fit_counts_for_nothing(card):
    assert form_card.read(card, INPUTS) == ()


@pytest.mark.parametrize(
    "ends", [(None, 1), (1, 1), (2, 1), ("0", 1), (True, 5), (0, float("nan"))]
)
def test_a_range_that_is_none_is_passed_over(ends):
    one = {**CARD["form"][0], "low": ends[0], "high": ends[1]}
    card = {"form": [one, *CARD["form"][1:]], "columns": "none"}
    field, *_ = form_card.read(card, INPUTS)
    assert (field.low, field.high, field.example(0)) == (None, None, None)
