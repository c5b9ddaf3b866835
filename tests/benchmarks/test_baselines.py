"""docs/baselines.md says what was measured, misses too."""

import argparse
import dataclasses
import math
import os

import numpy as np
import pytest

from benchmarks.baselines import __main__ as command
from benchmarks.baselines import (
    bucketing,
    bucketing_data,
    byzfl_beside,
    clusters,
    group,
    hostile,
    long_tail,
    page,
    training,
)
from benchmarks.baselines.groups import GROUPS
from benchmarks.baselines.heart import PUBLISHED
from benchmarks.baselines.results import Results
from tests.testing.scripts import ROOT
from tff_pipeline import errors
from tff_pipeline.config import DataConfig
from tff_pipeline.runs.directory import RunDirectory


def measured(path, values):
    """Results of the group heart: run -> its accuracies, seed by seed."""
    results = Results(str(path))
    for run, accuracies in values.items():
        for seed, value in enumerate(accuracies):
            results.measured(
                *("heart", run, seed),
                lambda value=value: {"seen_accuracy_mean": value},
                "2026-11-30, somewhere",
            )
    results.complete("heart")
    return results


def heart_section(results):
    text = page.document(results, GROUPS)
    return text.split("## FLamby")[1].split("\n## ")[0]


def test_a_figure_within_two_deviations_holds_and_another_is_missed(tmp_path):
    values = {name: [mean] * 5 for name, (mean, _) in PUBLISHED.items()}
    values["scaffold"] = [0.50, 0.54, 0.52, 0.51, 0.53]
    text = heart_section(measured(tmp_path / "figures.json", values))
    rows = {
        line.split("`")[1]: line
        for line in text.splitlines()
        if line.startswith("| `")
    }
    assert len(rows) == len(PUBLISHED)
    for name, line in rows.items():
        assert ("**missed**" in line) == (name == "heart_scaffold.flags")
        assert ("| holds" in line) == (name != "heart_scaffold.flags")
    assert "0.520 +- 0.016" in rows["heart_scaffold.flags"]
    assert "2026-11-30, somewhere" in text


def test_groups_without_figures_are_on_the_page(tmp_path):
    text = page.document(Results(str(tmp_path / "none.json")), GROUPS)
    assert text.count("Not measured yet") == len(GROUPS)
    for each in GROUPS.values():
        assert f"## {each.title}\n" in text


def test_a_group_that_was_stopped_is_not_on_the_page(tmp_path):
    path = str(tmp_path / "figures.json")
    results = measured(path, {name: [0.7] * 5 for name in PUBLISHED})
    assert "0.700 +- 0.000" in heart_section(Results(path))
    results.measured(
        "heart", "another", 0, lambda: {"seen_accuracy_mean": 0.5}, "today"
    )
    assert "Not measured yet" in heart_section(Results(path))


def hostile_results(path):
    """Results of the group hostile: 90% but for two cells."""
    results = Results(str(path))
    others = {("scale", "mean"): 0.25, ("none", "median"): 0.88}
    for attack in hostile.ATTACKS:
        for rule in hostile.RULES:
            figures = {
                "eval_accuracy": others.get((attack, rule), 0.9),
                "eval_attack_success": 0.5,
                "seconds": 12.0,
            }
            results.measured(
                *("hostile", f"{attack}, {rule}", 0),
                lambda figures=figures: figures,
                "today",
            )
    results.complete("hostile")
    return results


def test_a_section_stands_between_the_marks_of_its_own_page(tmp_path):
    results = hostile_results(tmp_path / "figures.json")
    begin, end = "<!-- hostile -->", "<!-- end of hostile -->"
    before = f"Before.\n\n{begin}\nstale\n{end}\n\nAfter.\n"
    text = page.filled(before, results, "hostile", GROUPS["hostile"])
    assert text.startswith(f"Before.\n\n{begin}\n\n")
    assert text.endswith(f"\n\n{end}\n\nAfter.\n") and "stale" not in text
    rows = [line.split("|") for line in text.splitlines() if "|" in line]
    cells = {
        row[1].strip(): [each.strip() for each in row[2:-1]] for row in rows
    }
    assert cells["`scale`"][:3] == ["25.0", "90.0", "90.0"]
    # Clean accuracy, beside the mean's, the least, the backdoor, the seconds.
    assert cells["`mean`"] == ["90.0", "+0.0", "25.0 (`scale`)", "50", "12"]
    assert cells["`median`"][:2] == ["88.0", "-2.0"]
    # Written again, it is the same.
    assert page.filled(text, results, "hostile", GROUPS["hostile"]) == text
    whole = page.document(results, GROUPS)
    assert "[robustness.md](robustness.md)" in whole and "`scale`" not in whole


def test_figures_are_remembered_and_measured_once(tmp_path):
    path = str(tmp_path / "figures.json")
    calls = []

    def measure():
        calls.append(1)
        return {"rounds": math.inf, "seconds": 2.5}

    first = Results(path).measured("g", "run", 0, measure, "today")
    again = Results(path).measured("g", "run", 0, measure, "tomorrow")
    assert (first[1], again[1], len(calls)) == (True, False, 1)
    # JSON has no infinity, but a target that is not reached has.
    assert again[0] == first[0] == {"rounds": math.inf, "seconds": 2.5}
    results = Results(path)
    assert results.figures("g", "run", "rounds") == [math.inf]
    assert results.figures("g", "another", "rounds") == []
    assert results.made("g") == "today"
    results.forget("g")
    results.measured("g", "run", 0, measure, "tomorrow")
    assert len(calls) == 2


def test_the_page_that_is_committed_is_that_of_the_figures():
    results = Results(str(ROOT / "benchmarks" / "results" / "baselines.json"))
    text = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    assert text == page.document(results, GROUPS)
    for name, each in GROUPS.items():
        if each.page is not None:
            text = (ROOT / "docs" / each.page).read_text(encoding="utf-8")
            assert f"<!-- {name} -->" in text
            assert f"<!-- end of {name} -->" in text
            assert text == page.filled(text, results, name, each)


def test_a_target_is_reached_between_two_evaluations():
    rows = [
        {"round": 1, "accuracy": 0.5},
        {"round": 2},
        {"round": 3, "accuracy": 0.4},
        {"round": 5, "accuracy": 0.9, "clock": 7.0},
    ]
    # The running maximum is 0.5 at rounds 1 and 3.
    assert training.reached(rows, "accuracy", 0.7) == pytest.approx(4.0)
    assert training.reached(rows, "accuracy", 0.5) == 1
    assert training.reached(rows, "accuracy", 0.95) == math.inf
    assert training.reached(rows, "accuracy", 0.9, "clock") == 7.0


def test_clusters_may_stand_for_kinds_in_any_order():
    perfect = 5 * np.eye(4)[[2, 0, 3, 1]]
    assert clusters.right_share(perfect) == 1
    perfect[2, 3] -= 1
    perfect[2, 0] += 1
    assert clusters.right_share(perfect) == 0.95


def test_a_figure_that_was_not_reached_is_no_number():
    assert group.spread([3.0, math.inf, 4.0], 1) == "not reached by 1 of 3"
    assert group.spread([3.0], 1) == "3.0 (one seed)"
    assert group.spread([], 1) == "not measured"


def test_an_unknown_group_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="choose of: heart"):
        command._names("heart,hearts")
    with pytest.raises(argparse.ArgumentTypeError, match="give 1 or more"):
        command._count("0")


@pytest.mark.parametrize("name", GROUPS)
def test_every_run_has_a_config(name, tmp_path):
    """All flags of all runs are allowed; none of them is trained."""
    configs = []

    def measure(run, seed):
        config = training.config_of(
            run, seed, os.fspath(tmp_path), str(tmp_path / "run")
        )
        configs.append(config)
        return {f"rounds to {target}": 1.0 for target in (0.5, 0.65)}

    GROUPS[name].train(measure, 2)
    seeds = {0} if name in ("byzfl", "long_tail") else {0, 1}
    assert {config.run.seed for config in configs} >= seeds
    assert all(config.run.finishers == "none" for config in configs)


def test_bucketings_section_has_the_runs_of_its_cells(tmp_path):
    results = Results(str(tmp_path / "figures.json"))
    names = []

    def measure(run, seed):
        names.append(run.name)
        value = 0.962 if run.name == "RFA, LF, s=0" else 0.5
        return results.measured(
            *("bucketing", run.name, seed),
            lambda: {"eval_accuracy": value},
            "today",
        )[0]

    GROUPS["bucketing"].train(measure, 1)
    results.complete("bucketing")
    text = "\n".join(page.section(results, "bucketing", GROUPS["bucketing"]))
    assert text.count("(one seed)") == len(names) == 12
    assert text.count("| holds") == 1 and text.count("**missed**") == 7


def test_byzfls_cell_stands_beside_ours_of_another_group(tmp_path):
    results = Results(str(tmp_path / "figures.json"))
    cell = bucketing.name_of("RFA", "BF", 2)
    for name, run, value in (
        ("bucketing", cell, 0.97),
        ("byzfl", f"{cell}, byzfl", 0.965),
    ):
        results.measured(
            *(name, run, 0),
            lambda value=value: {"eval_accuracy": value, "seconds": 700.0},
            "today",
        )
    results.complete("byzfl")
    text = "\n".join(page.section(results, "byzfl", GROUPS["byzfl"]))
    for words in ("97.0 (3 seeds)", "97.0 (one seed)", "96.5 (one seed)"):
        assert words in text
    assert "700 s" in text


def test_byzfl_that_is_not_installed_is_named(tmp_path, monkeypatch):
    missing = dataclasses.replace(byzfl_beside.BYZFL, environment="nowhere")
    monkeypatch.setattr(byzfl_beside, "BYZFL", missing)
    runs = []
    GROUPS["byzfl"].train(lambda run, seed: runs.append(run), 3)
    (run,) = runs
    with pytest.raises(errors.ConfigError, match="make benchmark-peers"):
        run.elsewhere(None)


def test_the_long_tail_is_that_of_the_papers_runs(mnist_dir):
    options = DataConfig(data_dir=str(mnist_dir))
    task = bucketing_data.long_tail_mnist(options, 0)
    # An evaluation of the runs is of 1,920 images, 980 of which are zeros.
    counts = np.bincount(task.test.y)
    assert counts.tolist() == [980, 567, 258, 115]
    sizes = {task.train.size(each) for each in task.train.client_ids}
    assert len(task.train) == 24 and len(sizes) == 1
    # 15 whole batches of 32, which is an epoch of the runs.
    assert sizes.pop() // 32 == 15
    first = task.train.load("client_00")
    assert set(first.y) == {0}
    # The last is filled up with the first examples.
    last = task.train.load("client_23")
    assert np.bincount(last.y)[9] == 11


def test_the_last_evaluations_are_averaged(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = ["round,eval_accuracy", "1,0.1", "2,", "3,0.2", "4,0.3"]
    rows += ["5,0.4", "6,0.5", "7,0.6"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    figures = long_tail.last_ones(None, RunDirectory(str(tmp_path)))
    assert figures["eval_accuracy"] == pytest.approx(0.4)
