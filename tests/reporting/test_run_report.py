"""report.html: what stands in it, what must not, and that it can be read."""

import importlib.resources
import json
import re
import shutil

import numpy as np
import pytest

from tests.testing.chromium import Browser
from tests.testing.page import Page
from tests.testing.scripts import rows_of, run_script
from tff_pipeline import config, errors
from tff_pipeline.objectives.class_curves import Reliability, Roc
from tff_pipeline.reporting.run_report import (
    final_model,
    plots,
    record,
    report,
    verdict,
)
from tff_pipeline.reporting.run_report.final_model import (
    ClientGroup,
    FinalModel,
)
from tff_pipeline.runs.directory import RunDirectory

HOSTILE = "<script>alert('$x_^')</script>"
CONFIG = config.ExperimentConfig()
PRIVATE = config.ExperimentConfig(
    aggregation=config.AggregationConfig("dp_gaussian"),
    privacy=config.PrivacyConfig(dp_noise_multiplier=1.0, dp_clip=1.0),
)


def made_up(path, columns, rows, settings=CONFIG, **files):
    """A run's folder of files that no run wrote."""
    path.mkdir()
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    (path / "metrics.csv").write_text("".join(f"{line}\n" for line in lines))
    (path / "config.json").write_text(settings.to_json())
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return RunDirectory(str(path))


def written(directory, settings=CONFIG, model=None):
    report.write(directory, settings, model or FinalModel())
    with open(directory.report, encoding="utf-8") as file:
        return file.read()


def check_page(text):
    page = Page(text)
    assert not page.outside
    assert not page.all("script")
    assert "://" not in text and "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    assert page.refers <= set(page.ids)
    for attributes in page.all("th"):
        assert attributes["scope"] in ("row", "col")
    for attributes in page.all("figure"):
        assert attributes["role"] == "img"
        assert attributes["aria-labelledby"]
    return page


def test_a_run_writes_a_page_of_what_it_did(small_run):
    text = (small_run / "report.html").read_text()
    page = check_page(text)
    assert page.sections == [
        *("result", "learning", "classes", "data", "aggregation"),
        *("time", "settings"),
    ]
    last = float(rows_of(small_run)[-1]["eval_accuracy"])
    assert f"Accuracy {last:.3f} on the test set" in page.text
    assert "always answering the most frequent class reaches" in page.text
    assert "--client_epochs_per_round 2 1" in page.text
    assert "--clients_per_round 4 10" in page.text
    assert f"test examples {360}" in page.text
    assert "What leaves a client" in page.text
    # A row of digits' confusion, and its heading: a name and 10 numbers.
    assert page.rows.count(["th"] + 10 * ["td"]) >= 10
    commit = json.loads((small_run / "environment.json").read_text())["commit"]
    assert commit is None or commit in page.text


def test_a_run_of_which_only_the_files_are_left_is_reported(
    small_run, tmp_path
):
    path = shutil.copytree(
        small_run,
        tmp_path / "run",
        ignore=shutil.ignore_patterns("checkpoints", "report.html"),
    )
    done = run_script("report.py", f"--run_dir={path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Report  {path / 'report.html'}\n"
    page = check_page((path / "report.html").read_text())
    assert "classes" not in page.sections
    assert "was not evaluated for this report: " in page.text


def test_clients_have_names_once_evaluate_wrote_them(small_run, tmp_path):
    path = shutil.copytree(small_run, tmp_path / "run")
    assert run_script("evaluate.py", f"--run_dir={path}").returncode == 0
    written_names = json.loads(
        (path / "evaluations" / "round_000010.json").read_text()
    )["clients"][0]["each"]
    done = run_script("report.py", f"--run_dir={path}")
    assert done.returncode == 0, done.stderr
    page = check_page((path / "report.html").read_text())
    assert page.sections[2:4] == ["clients", "classes"]
    for each in written_names:
        assert f"{each['client']} ({each['examples']})" in page.text


def test_a_run_that_is_not_there_is_named(tmp_path):
    done = run_script("report.py", f"--run_dir={tmp_path}")
    assert done.returncode == 1
    assert f"{tmp_path}/config.json does not exist" in done.stderr
    directory = made_up(tmp_path / "run", ["round"], [])
    with pytest.raises(errors.RunDirectoryError, match="has no row"):
        written(directory)


@pytest.mark.parametrize("exact", [False, True])
def test_nothing_is_computed_of_a_private_run(exact):
    # Neither a task nor weights are looked at.
    assert final_model.look(PRIVATE, None, None, exact) == FinalModel()


def test_a_private_run_shows_its_statement_and_no_counts(tmp_path):
    directory = made_up(
        tmp_path / "run",
        ["round", "eval_loss", "eval_accuracy", "epsilon", "seconds"],
        [[1, 2.0, 0.25, 0.5, 0.1], [2, 1.0, 0.75, 0.875, 0.1]],
        PRIVATE,
        privacy={
            "private": True,
            "verdict": "WEAK: clients are protected.",
            "epsilon": 0.875,
            "delta": 1e-5,
        },
        environment={"constant_answer": {"accuracy": 0.125, "loss": 2.0}},
    )
    assert not record.tells_exactly([{"round": 1, "eval_loss": 2.0}])
    page = check_page(written(directory, PRIVATE))
    assert page.sections == [
        *("result", "learning", "data", "privacy", "time", "settings")
    ]
    assert "WEAK: clients are protected." in page.text
    assert {"class": "warning"} in page.all("p")
    assert "epsilon 0.8750" in page.text
    assert "delta 1e-05" in page.text
    assert "Epsilon over rounds: 0.5 to 0.875." in page.text
    for word in ("confusion", "clients have from", "megabytes"):
        assert word not in page.text.lower()


def test_names_are_text_whatever_stands_in_them(tmp_path):
    test = {
        "rows": 4,
        "central": {"accuracy": 0.5},
        "classes": {
            "names": [HOSTILE, "_b"],
            "positive": "_b",
            "threshold": 0.5,
            "not_finite": 1,
            "count": [2, 2],
            "predicted": [2, 2],
            "precision": [0.5, None],
            "recall": [0.5, 0.5],
            "f1": [0.5, 0.5],
            "confusion": [[1, 1], [1, 1]],
        },
    }
    model = FinalModel(
        test=test,
        rocs=[Roc(1, 0.5, np.array([0.0, 1.0]), np.array([0.0, 1.0]))],
        reliability=Reliability(*3 * [np.array([0.5, 1.0])]),
        classes=[HOSTILE, "_b"],
    )
    directory = made_up(
        tmp_path / "<b>&",
        ["round", "eval_accuracy"],
        [[1, 0.5]],
    )
    each = [
        {"client": name, "examples": 3, "metrics": {"accuracy": 0.5}}
        for name in (HOSTILE, "$\\frac{", "\x1b[31m")
    ]
    evaluations = tmp_path / "<b>&" / "evaluations"
    evaluations.mkdir()
    (evaluations / "round_000001.json").write_text(
        json.dumps({**test, "clients": [{"which": HOSTILE, "each": each}]})
    )
    text = written(directory, model=model)
    page = check_page(text)
    assert HOSTILE[:12] in page.text
    assert "\\u001b[31m (3)" in page.text
    assert "<script" not in text
    assert "<b>" not in text
    assert page.sections.count("clients") == 1


def test_clients_are_numbered_where_nothing_names_them(tmp_path):
    sizes, scores = np.array([5, 7]), np.array([0.25, np.nan])
    group = ClientGroup("training clients", sizes, {"accuracy": scores})
    directory = made_up(
        tmp_path / "run", ["round", "eval_accuracy"], [[1, 0.5]]
    )
    page = check_page(written(directory, model=FinalModel(clients=[group])))
    assert "client 1 (5)" in page.text
    assert "client 2 7 -" in page.text
    assert "Clients are numbered in the data's order" in page.text


def test_a_run_of_2000_rounds_is_a_small_page(tmp_path):
    names = ["round", "train_loss", "eval_loss", "eval_accuracy", "seconds"]
    names += ["clients", "bytes_up", "bytes_down", "simulated_seconds"]
    names += [f"seen_accuracy_{each}" for each in ("mean", "p10", "p90")]
    names += ["epsilon", "clip", "norm", "zeroed", "error", "sparsity"]
    noise = np.random.default_rng(0).uniform(size=[2000, len(names)])
    noise[:, 0] = np.arange(1, 2001)
    noise[:, 8] = np.cumsum(noise[:, 8])
    rows = [[int(row[0]), *map(float, row[1:])] for row in noise]
    text = written(made_up(tmp_path / "run", names, rows))
    check_page(text)
    # 3 MB are allowed, with pictures of classes and clients as well.
    assert 100_000 < len(text) < 1_000_000


@pytest.mark.parametrize("count", [1, 500, 501, 2000, 4321])
def test_no_peak_is_lost_in_a_long_line(count):
    values = np.random.default_rng(count).normal(size=count)
    kept = plots.thinned(values)
    assert len(kept) <= 502
    assert np.all(np.diff(kept) > 0)
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()


def of_rows(rows, constant=None, **changes):
    """A record with nothing but rows and a constant answer."""
    values = {
        "card": {},
        "privacy": {},
        "evaluation": {},
        **dict.fromkeys(("travels", "failures", "restarts"), ()),
        "name": "run",
        "adapter_card": "",
        "privacy_text": "",
        "profile": "",
        "audit": "",
        "config": CONFIG,
        "rows": rows,
        "environment": {"constant_answer": constant or {}},
        "model": FinalModel(),
    }
    return record.Record(**{**values, **changes})


@pytest.mark.parametrize(
    ("rows", "constant", "test_rows", "kind", "words"),
    [
        ([{"round": 1, "eval_accuracy": 0.9}], {"accuracy": 0.5}, 100, "good",
         "Accuracy 0.900 on the test set; always answering the most frequent "
         "class reaches 0.500."),
        ([{"round": 1, "eval_accuracy": 0.6}], {"accuracy": 0.5}, 20,
         "warning", "chance may explain"),
        ([{"round": 1, "eval_accuracy": 0.6}], {"accuracy": 0.5}, 2000,
         "good", "reaches 0.500."),
        ([{"round": 1, "eval_accuracy": 0.5, "eval_loss": 0.4}],
         {"accuracy": 0.5, "loss": 0.69}, 100, "warning",
         "is not better than a constant answer: always answering the most "
         "frequent class reaches 0.500. Its probabilities say more"),
        ([{"round": 1, "eval_root_mean_squared_error": 2.0}],
         {"root_mean_squared_error": 1.5}, None, "warning", "not better"),
        ([{"round": 0, "eval_loss": 3.0}, {"round": 1, "eval_loss": 2.0}],
         {}, None, "good", "Loss 2.000 on the test set, 3.000 before"),
        ([{"round": 1, "eval_loss": float("nan")}], {}, None, "warning",
         "the model failed"),
        ([{"round": 7}], {}, None, "warning", "none was evaluated"),
    ],
)  # fmt: skip
def test_the_verdict_is_against_the_trivial_answer(
    rows, constant, test_rows, kind, words
):
    card = {"data": {"test_examples": test_rows}} if test_rows else {}
    found = verdict.verdict(of_rows(rows, constant, card=card))
    assert found.kind == kind
    assert words in found.text


def learning(evaluated, trained):
    return of_rows(
        [
            {"round": n, "eval_loss": a, "train_loss": b}
            for n, (a, b) in enumerate(zip(evaluated, trained), 1)
        ]
    )


def test_overfitting_is_said_when_it_is_seen_and_only_then():
    steps = np.arange(40)
    falling = 1 / (1 + steps)
    rising = falling + np.maximum(0, steps - 15) * 0.02
    found = verdict.overfitting(learning(rising, falling))
    assert "its test loss was lowest about round 15" in found.text
    # Training stalls or rises too; the loss falls; it rises by a little only.
    assert verdict.overfitting(learning(rising, rising)) is None
    assert verdict.overfitting(learning(falling, falling)) is None
    level = np.where(steps < 20, falling, falling[19] * 1.04)
    assert verdict.overfitting(learning(level, falling)) is None
    # A last evaluation that jumps is no trend, and 5 say too little.
    jumped = falling.copy()
    jumped[-1] = 5.0
    assert verdict.overfitting(learning(jumped, falling)) is None
    assert verdict.overfitting(learning(rising[-5:], falling[-5:])) is None


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG 2's contrast ratio of two colours, 1 to 21."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_the_paper_in_light_and_in_dark():
    page = importlib.resources.files(report.__package__) / "page"
    style = (page / "report.css").read_text()
    found = re.findall(r"--([\w-]+): (#\w{6});", style)
    half = len(found) // 2
    light, dark = dict(found[:half]), dict(found[half:])
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for paper in ("paper", "good", "warning"):
            assert contrast(colours["ink"], colours[paper]) >= 7
        for name in ("quiet", "link"):
            assert contrast(colours[name], colours["paper"]) >= 4.5
        for number in range(1, 7):
            line = colours[f"line-{number}"]
            assert contrast(line, colours["paper"]) >= 4.5
        # The darkest cell of a confusion matrix.
        cell = "#" + "".join(
            f"{round(0.45 * int(a, 16) + 0.55 * int(b, 16)):02x}"
            for a, b in zip(
                re.findall("..", colours["line-1"][1:]),
                re.findall("..", colours["paper"][1:]),
            )
        )
        assert contrast(colours["ink"], cell) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_overflow_or_a_word_of_complaint(
    small_run, tmp_path, scheme
):
    browser = Browser(tmp_path)
    try:
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=360,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        browser.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        address = (small_run / "report.html").as_uri()
        browser.call("Page.navigate", url=address)
        browser.wait_for(
            "document.readyState === 'complete' && document.querySelector('h2')"
            " !== null"
        )
        browser.run(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        assert browser.run("document.documentElement.scrollWidth") == 360
        dark = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (
            dark
            == {
                "light": "rgb(255, 255, 255)",
                "dark": "rgb(20, 23, 28)",
            }[scheme]
        )
        assert browser.said == []
        assert [each for each in browser.asked if each != address] == []
    finally:
        browser.close()
