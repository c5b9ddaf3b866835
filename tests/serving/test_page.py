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

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def length(self, text):
        return {"characters": tf.strings.length(text, "UTF8_CHAR")}


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
        },
    )
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra" / "model_card.json").write_text(
        json.dumps({"task": "let or sold", "classes": ["let", "<b>sold</b>"]})
    )
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
    fields = {
        each["name"]: each["id"]
        for each in browser.run(
            "[...document.querySelectorAll('#inputs label')].map(l => "
            "({name: l.firstChild.textContent, id: '#' + l.htmlFor}))"
        )
    }
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


def test_text_is_typed(browser, table, tmp_path):
    browser.asked.clear()
    browser.open(table.url)
    browser.run(
        "(s => { s.value = 'length'; s.dispatchEvent(new Event('change')); })"
        "(document.querySelector('#signature'))"
    )
    browser.type("#inputs textarea", "zwei\nZeilen: ü")
    assert predicted(browser).startswith("Answered")
    assert (
        browser.run("document.querySelector('#others').textContent").split()[-1]
        == "characters14"
    )
    looked_at(browser, tmp_path / "text.png")
