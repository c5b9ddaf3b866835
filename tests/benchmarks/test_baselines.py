"""docs/baselines.md says what was measured, misses too."""

import argparse
import math
import os

import numpy as np
import pytest

from benchmarks.baselines import __main__ as command
from benchmarks.baselines import clusters, group, page, training
from benchmarks.baselines.groups import GROUPS
from benchmarks.baselines.heart import PUBLISHED
from benchmarks.baselines.results import Results
from tests.testing.scripts import ROOT


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
    assert {config.run.seed for config in configs} >= {0, 1}
    assert all(config.run.finishers == "none" for config in configs)
