"""The page of scripts/serve.py, in a browser: draw, type, look."""

import json

import pytest
import tensorflow as tf

from tests.testing.chromium import Browser
from tests.testing.page_digits import DIGITS
from tests.testing.served import Server

SAID = "document.querySelector('#message').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


class Table(tf.Module):
    """Columns of a table, and a text; the answer repeats what was given."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "age"),
            tf.TensorSpec([None], tf.string, "city"),
            tf.TensorSpec([None], tf.int64, "rooms"),
            tf.TensorSpec([None], tf.bool, "garden"),
            tf.TensorSpec([None, 2], tf.float32, "place"),
        ]
    )
    def columns(self, age, city, rooms, garden, place):
        known = tf.cast(~tf.math.is_nan(age), tf.float32)
        return {
            "probabilities": tf.stack([1 - 0.75 * known, 0.75 * known], 1),
            "rooms_twice": 2 * rooms,
            "where": city,
            "flag": garden,
            "sum": tf.reduce_sum(place, 1),
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, "city"),
            tf.TensorSpec([None], tf.float32, "area__m__"),
            tf.TensorSpec([None], tf.float32, "energy"),
            tf.TensorSpec([None], tf.string, "lift"),
            tf.TensorSpec([None], tf.string, "street"),
        ]
    )
    def prices(self, city, area, energy, lift, street):
        there = tf.cast(tf.strings.lower(lift) == "true", tf.float32)
        words = tf.cast(tf.strings.length(city + street), tf.float32)
        value = tf.stack([area + there, energy + words], 1)
        return {"value": value, "inner": 2 * value}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def length(self, text):
        return {"characters": tf.strings.length(text, "UTF8_CHAR")}


CARD = {
    "task": "let or sold",
    "classes": ["let", "<b>sold</b>"],
    "labels": ["price", "rent"],
    "columns": [{"name": "city", "missing": 0.0}],
    # In the table's order, which is not the alphabet's.
    "form": [
        {
            "input": "street",
            "column": "street",
            "kind": "category",
            "categories": [f"Street {i}" for i in range(200)],
            "missing": [""],
        },
        {
            "input": "area__m__",
            "column": "area (m²)",
            "kind": "number",
            "low": 20.0,
            "high": 180.0,
            "whole": True,
        },
        {
            "input": "city",
            "column": "city",
            "kind": "category",
            "categories": ["Köln", 'O"slo', "<i>Rom</i>"],
            "missing": ["", "NA"],
        },
        {
            "input": "lift",
            "column": "lift",
            "kind": "boolean",
            "categories": ["false", "true"],
            "missing": [""],
        },
        {
            "input": "energy",
            "column": "energy",
            "kind": "category",
            "categories": [1, 2.5],
        },
    ],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "flats"
    module = Table()
    tf.saved_model.save(
        module,
        str(folder),
        signatures={
            "serving_default": module.columns,
            "length": module.length,
            "prices": module.prices,
        },
    )
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "model_card.json").write_text(json.dumps(CARD))
    started = Server(folder)
    yield started
    assert started.stop() == ""


def predicted(browser):
    """Presses the button; returns what the page says then."""
    browser.run("document.querySelector('#message').textContent = ''")
    browser.click("#predict")
    return browser.wait_for(SAID)


def looked_at(browser, path):
    """No complaint, nothing from elsewhere; a screenshot to look at."""
    browser.screenshot(path)
    print(f"screenshot: {path}")
    origin = browser.run("location.origin")
    assert all(url.startswith((origin, "data:")) for url in browser.asked)
    assert browser.said == []


def labels_of(browser):
    """Whether each field has a name that a screen reader can say."""
    return browser.run(
        "[...document.querySelectorAll('input, textarea, select')]"
        ".every(f => f.labels.length > 0 && f.labels[0].textContent.trim())"
    )


def test_digits_are_drawn_and_known(browser, small_run, tmp_path):
    browser.asked.clear()
    server = Server(small_run / "saved_model", "--name=digits")
    try:
        browser.open(server.url)
        assert labels_of(browser)
        for digit in (0, 2, 4):
            browser.click("#clear")
            for stroke in DIGITS[digit]:
                browser.stroke("canvas.pad", stroke)
            said = predicted(browser)
            assert said.startswith(f"{digit} with "), said
        bars = browser.run(
            "[...document.querySelectorAll('#bars .percent')]"
            ".map(e => parseFloat(e.textContent))"
        )
        assert len(bars) == 10
        assert max(bars) == bars[4]
        assert abs(sum(bars) - 100) < 1
        looked_at(browser, tmp_path / "digits.png")
    finally:
        assert server.stop() == ""
    # The page outlives its server, and says so.
    assert "still running" in predicted(browser)
    browser.said.clear()


def test_columns_are_typed(browser, table, tmp_path):
    browser.asked.clear()
    browser.open(table.url)
    assert labels_of(browser)
    assert "let or sold" in browser.run("document.body.textContent")
    fields = fields_of(browser)
    assert list(fields) == ["age", "city", "garden", "rooms", "place"]
    # A field that is left empty is a missing number.
    assert predicted(browser).startswith("let with 100.0%")
    browser.type(fields["age"], "33.5")
    browser.type(fields["city"], 'Köln "Süd"')
    browser.type(fields["rooms"], "4")
    browser.type(fields["place"], "[1.5, 2]")
    # Names are text, whatever they hold.
    assert predicted(browser).startswith("<b>sold</b> with 75.0%")
    others = browser.run(
        "Object.fromEntries([...document.querySelectorAll('#others tr')]"
        ".map(r => [r.cells[0].textContent, r.cells[1].textContent]))"
    )
    assert others == {
        "flag": "false",
        "rooms_twice": "8",
        "sum": "3.5",
        "where": 'Köln "Süd"',
    }
    looked_at(browser, tmp_path / "table.png")
    browser.type(fields["rooms"], "four")
    assert "rooms is “four”" in predicted(browser)
    browser.type(fields["rooms"], "4.5")
    assert "whole numbers" in predicted(browser)
    # The browser notes the answer's status 400.
    assert len(browser.said) == 1
    browser.said.clear()


def choose(browser, selector, value):
    """Chooses from a menu, as a hand does."""
    browser.run(
        f"(s => {{ s.value = {json.dumps(value)}; "
        "s.dispatchEvent(new Event('change', {bubbles: true})); })"
        f"(document.querySelector({json.dumps(selector)}))"
    )


def fields_of(browser):
    """The fields' selectors by the titles above them, in the page's order."""
    return {
        each["title"]: each["id"]
        for each in browser.run(
            "[...document.querySelectorAll('#inputs label')].map(l => "
            "({title: l.firstChild.textContent, id: '#' + l.htmlFor}))"
        )
    }


def noted(browser):
    """What is said at fields, by the fields' names."""
    return browser.run(
        "Object.fromEntries([...document.querySelectorAll('.note')]"
        ".filter(n => !n.hidden).map(n => "
        "[n.id.slice('note-of-'.length), n.textContent]))"
    )


def test_a_form_knows_what_its_columns_hold(browser, table, tmp_path):
    browser.asked.clear()
    browser.open(table.url)
    choose(browser, "#signature", "prices")
    assert labels_of(browser)
    assert browser.run("document.querySelector('h1').textContent") == (
        "price, rent"
    )
    fields = fields_of(browser)
    order = ["street", "area (m²)", "city", "lift", "energy"]
    assert list(fields) == order
    assert "20 to 180" in browser.run("document.body.textContent")
    menu = "[...document.querySelectorAll('{} option')].map(o => o.text)"
    assert browser.run(menu.format(fields["city"])) == [
        *("Köln", 'O"slo', "<i>Rom</i>", "(another value)", "(missing)")
    ]
    # The example stands there from the start, and has nothing unusual.
    assert predicted(browser).startswith("price = 101, rent = 19")
    assert noted(browser) == {}
    folded = browser.run("!document.querySelector('#others').open")
    assert folded
    looked_at(browser, tmp_path / "columns.png")
    choose(browser, fields["city"], '"other"')
    browser.type(fields["area (m²)"], "1000")
    browser.type(fields["street"], "Elsewhere")
    said = predicted(browser)
    assert said.startswith("price = 1001")
    assert "3 values are unusual" in said
    notes = noted(browser)
    assert notes.keys() == {"street", "area__m__", "city"}
    assert notes["area__m__"] == (
        "area (m²) is 1000, outside the usual range, 20 to 180 m²."
    )
    looked_at(browser, tmp_path / "unusual.png")
    # What is wrong is said at its field, which a screen reader is told of.
    browser.type(fields["area (m²)"], "a lot")
    said = predicted(browser)
    assert noted(browser) == {"area__m__": said}
    assert "area (m²) is “a lot”" in said
    assert browser.run("document.activeElement.id") == (
        fields["area (m²)"].lstrip("#")
    )
    # And of what is usual there.
    assert browser.run(
        "document.activeElement.getAttribute('aria-describedby').split(' ')"
        ".map(id => document.getElementById(id).textContent)"
    ) == [said, "20 to 180 m²"]
    browser.click("#example")
    assert noted(browser) == {}
    # What is left empty is missing; a city never was.
    browser.click("#clear")
    predicted(browser)
    assert noted(browser).keys() == {"city"}
    on_a_phone(browser, tmp_path / "phone.png")


@pytest.mark.parametrize(
    ("lift", "price"),
    [
        *((True, 101), (1, 101), ("True", 101), ("true", 101)),
        *((False, 100), (0, 100), ("FALSE", 100), (None, 100)),
    ],
)
def test_a_boolean_may_be_json_s(table, lift, price):
    row = {"city": "Köln", "area__m__": 100, "energy": 1, "lift": lift}
    asked = {
        "signature_name": "prices",
        "instances": [{**row, "street": "Street 0"}],
    }
    status, answer = table.predict(asked)
    assert status == 200, answer
    assert answer["predictions"][0]["value"][0] == price
    assert answer.keys() == {"predictions"}


def on_a_phone(browser, path):
    """Nothing is wider than the screen, and all fits a thumb; in the dark."""
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=360,
        height=740,
        deviceScaleFactor=2,
        mobile=True,
    )
    browser.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": "dark"}],
    )
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 360
        # Nor is anything outside of its card.
        assert browser.run(
            "[...document.querySelectorAll('section')].every(s => "
            "[...s.querySelectorAll('*')].every(e => "
            "e.getBoundingClientRect().right <= "
            "s.getBoundingClientRect().right - 16))"
        )
        looked_at(browser, path)
    finally:
        browser.call("Emulation.clearDeviceMetricsOverride")
        browser.call("Emulation.setEmulatedMedia", features=[])


def test_text_is_typed(browser, table, tmp_path):
    browser.asked.clear()
    browser.open(table.url)
    choose(browser, "#signature", "length")
    browser.type("#inputs textarea", "zwei\nZeilen: ü")
    assert predicted(browser).startswith("Answered")
    assert (
        browser.run("document.querySelector('#others').textContent").split()[-1]
        == "characters14"
    )
    looked_at(browser, tmp_path / "text.png")
