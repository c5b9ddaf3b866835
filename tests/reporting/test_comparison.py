"""`compare`: runs side by side, seeds folded, and a winner that is tested."""

import csv
import html.parser
import json
import re
import shutil
import statistics
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tests.testing.scripts import ROOT, run_script
from tff_pipeline import errors
from tff_pipeline.commands import compare
from tff_pipeline.reporting import (
    comparison,
    comparison_text,
    paired_test,
    read_run,
)
from tff_pipeline.runs.metric_names import lower_is_better

RATES, SEEDS, ROUNDS = ("0.1", "0.02"), (0, 1, 2), 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Runs of two learning rates and three seeds, each in `RATE-SEED`."""
    path = tmp_path_factory.mktemp("compared")
    for rate in RATES:
        for seed in SEEDS:
            done = run_script(
                "train.py",
                *("--task=digits_2nn", "--num_clients=6", "--sinks=csv"),
                *("--clients_per_round=2", f"--total_rounds={ROUNDS}"),
                *("--finishers=none", "--client_batch_size=32"),
                *(f"--client_learning_rate={rate}", f"--seed={seed}"),
                f"--output_dir={path / f'{rate}-{seed}'}",
                cwd=ROOT,
            )
            assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def copy(folder, tmp_path):
    """Copies of the runs, to be damaged."""
    shutil.copytree(folder, tmp_path / "runs")
    return tmp_path / "runs"


def last(path, column):
    """The last value of a column, read by another reader than ours."""
    with open(path / "metrics.csv", newline="") as file:
        return float(list(csv.DictReader(file))[-1][column])


def change(path, **values):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


def compared(*paths, metric=None):
    return compare.compare(list(map(str, paths)), metric)


def refused(*paths, metric=None):
    with pytest.raises(errors.ConfigError) as raised:
        compared(*paths, metric=metric)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_seeds_are_folded_into_mean_and_deviation(folder):
    result = compared(folder)
    assert result.flags == ["client_learning_rate"]
    assert result.column == "eval_accuracy"
    assert [setting.name for setting in result.settings] == ["A", "B"]
    rates = {}
    for setting in result.settings:
        rate = str(setting.runs[0].config.clients.optimizer.learning_rate)
        rates[rate] = setting
        values = [
            last(folder / f"{rate}-{seed}", "eval_accuracy") for seed in SEEDS
        ]
        spread = setting.over(lambda run: run.final("eval_accuracy"))
        assert spread.count == len(SEEDS)
        assert spread.mean == pytest.approx(statistics.mean(values))
        assert spread.deviation == pytest.approx(statistics.stdev(values))
    assert set(rates) == set(RATES)


def test_the_winner_is_tested_over_the_seeds_in_common(folder):
    fast, slow = (
        [last(folder / f"{rate}-{seed}", "eval_loss") for seed in SEEDS]
        for rate in RATES
    )
    p = scipy.stats.ttest_rel(fast, slow).pvalue
    assert p < paired_test.LEVEL  # Else the next lines would say nothing.
    lines = compared(folder, metric="loss").verdict
    name = {True: "A", False: "B"}
    first = compared(folder).settings[0]
    best = name[first.runs[0].config.clients.optimizer.learning_rate == 0.1]
    assert lines[0].startswith(f"{best} has the lowest mean of eval_loss")
    assert lines[1] == f"{best} is the winner."
    assert f"p={p:.2g}" in lines[2]
    assert "3 seeds in common; paired t-test" in lines[2]


def test_with_too_few_seeds_nothing_is_said(folder):
    paths = [folder / f"{r}-{s}" for r in RATES for s in SEEDS[:2]]
    lines = compared(*paths).verdict
    assert "is the winner" not in " ".join(lines)
    assert "fewer than 3 seeds in common" in lines[-1]
    assert "nothing can be said" in lines[-1]


def test_a_setting_alone_is_held_against_nothing(folder):
    paths = [folder / f"0.1-{seed}" for seed in SEEDS]
    (line,) = compared(*paths).verdict
    assert line.startswith("Only A has runs that ended")


@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=9),
    st.floats(-1, 1),
)
def test_p_is_that_of_scipy(values, shift):
    differences = np.array(values) + shift
    if np.std(differences) < 1e-6:
        return
    p = scipy.stats.ttest_rel(differences, np.zeros(len(values))).pvalue
    assert paired_test.p_value(list(differences)) == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -0.7])
def test_p_of_differences_that_are_all_the_same(value):
    assert paired_test.p_value([value] * 3) == (0.0 if value else 1.0)


def test_several_others_cost_significance():
    """p of .03 is no winner where two tests are made."""
    results = {
        "A": {1: 0.90, 2: 0.92, 3: 0.94},
        "B": {1: 0.80, 2: 0.80, 3: 0.86},
    }
    p = paired_test.p_value([0.10, 0.12, 0.08])
    assert 0.01 < p < 0.025
    assert paired_test.verdict(results, "eval_accuracy", False)[1] == (
        "A is the winner."
    )
    many = {**results, **{name: results["B"] for name in "CDEF"}}
    assert "is the winner" not in " ".join(
        paired_test.verdict(many, "eval_accuracy", False)
    )


def test_perplexity_and_bits_are_better_when_small():
    assert lower_is_better("eval_perplexity")
    assert lower_is_better("validation_bits_per_character")


def test_a_run_that_is_not_finished_is_shown_and_counts_nowhere(copy):
    path = copy / "0.1-2" / "config.json"
    config = json.loads(path.read_text())
    change(path, run={**config["run"], "total_rounds": 9})
    # The others are as long as that one was to be, which would differ.
    result = compared(copy)
    (note,) = [line for line in result.notes if "not finished" in line]
    assert f"{copy / '0.1-2'} is not finished: 2 of 9 rounds" in note
    assert [len(each.finished) for each in result.settings] == [3, 2, 0]
    assert "2/9 rounds" in comparison_text.on_screen(result)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", "{", "config.json cannot be read"),
        ("config.json", "[]", "config.json cannot be read"),
        ("metrics.csv", "", "holds no row"),
        ("metrics.csv", "\0" * 50, "holds no row"),
        ("metrics.csv", None, "holds no metrics.csv"),
    ],
)
def test_a_damaged_folder_is_left_out_with_a_sentence(
    copy, name, content, words
):
    path = copy / "0.02-1" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    result = compared(copy)
    (note,) = [line for line in result.notes if "left out" in line]
    assert note.startswith(f"{copy / '0.02-1'} is left out: ")
    assert words in note
    assert len(result.runs) == len(RATES) * len(SEEDS) - 1


def test_damaged_papers_of_a_run_count_as_unknown(copy):
    (copy / "0.1-0" / "environment.json").write_text("{{")
    (copy / "0.1-0" / "privacy.json").write_text("[")
    notes = compared(copy).notes
    assert any("environment.json" in note for note in notes)


def test_runs_of_other_data_or_tasks_are_refused(copy):
    change(copy / "0.1-0" / "environment.json", data={"train.csv": "0" * 64})
    said = refused(copy)
    assert "was trained on other data than" in said
    assert "leave the others out" in said
    path = copy / "0.1-1" / "config.json"
    data = json.loads(path.read_text())["data"]
    change(path, data={**data, "task": "digits_cnn"})
    said = refused(copy / "0.1-1", copy / "0.1-2")
    assert "--task=digits_2nn" in said and "--task=digits_cnn" in said


def test_a_run_that_repeats_another_is_left_out(copy):
    shutil.copytree(copy / "0.1-0", copy / "again")
    (copy / "again" / "metrics.csv").write_text(
        re.sub(r"[\d.]+\n", "9.0\n", (copy / "0.1-0/metrics.csv").read_text())
    )
    result = compared(copy)
    (note,) = [line for line in result.notes if "repeats" in line]
    assert str(copy / "again") in note
    assert all(len(each.runs) == 3 for each in result.settings)
    # The same run by two names is one, without a word.
    result = compared(copy / "0.1-0", copy / "0.02-0", f"{copy}/./0.1-0")
    assert len(result.runs) == 2


@pytest.mark.parametrize(
    ("metric", "column"),
    [
        ("loss", "eval_loss"),
        ("eval_loss", "eval_loss"),
        ("train_accuracy", "train_accuracy"),
    ],
)
def test_the_metric_may_be_named(folder, metric, column):
    assert compared(folder, metric=metric).column == column


def test_a_metric_that_is_not_there_is_refused_with_those_that_are(folder):
    said = refused(folder, metric="auc")
    assert "--metric=auc" in said
    assert "eval_loss, eval_accuracy" in said


def test_folders_without_runs_are_refused(tmp_path, folder):
    assert "is no folder" in refused(tmp_path / "nowhere")
    assert "holds no run" in refused(tmp_path)
    assert "a comparison needs two" in refused(folder / "0.1-0")


def test_every_way_to_end_is_told(folder, copy):
    def ended(**run):
        path = copy / "0.1-0" / "config.json"
        config = json.loads(path.read_text())
        change(path, run={**config["run"], **run})
        return read_run.read(str(copy / "0.1-0")).ended

    assert ended() == "all rounds"
    longer = {"total_rounds": 9, "target_metric": "eval_loss"}
    assert ended(**longer) == ""
    assert ended(**longer, target_value=100.0) == "target reached"
    assert ended(**longer, target_value=None, patience=1) == ""
    worse = (copy / "0.1-0/metrics.csv").read_text().splitlines()
    header = worse[0].split(",")
    cells = worse[-1].split(",")
    cells[header.index("round")] = "3"
    cells[header.index("eval_loss")] = "99.0"
    (copy / "0.1-0/metrics.csv").write_text(
        "\n".join([*worse, ",".join(cells), ""])
    )
    assert ended() == "out of patience"


class Page(html.parser.HTMLParser):
    """Collects what a page holds: tags, ids, addresses and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name.endswith("href") or name == "src":
                self.addresses.append(value)

    def handle_data(self, data):
        self.words.append(data.strip())


def test_the_page_is_one_file_and_escapes_what_users_name(copy, tmp_path):
    (copy / "0.1-0").rename(copy / "<script>alert(1)<")
    result = compared(copy)
    paths = compare.write(result, str(tmp_path / "out"), "Runs of <b>")
    page = Page((tmp_path / "out" / "comparison.html").read_text())
    assert "script" not in page.tags and "b" not in page.tags
    assert "Runs of <b>" in page.words
    assert f"{copy}/<script>alert(1)<" in page.words
    assert page.tags.count("svg") == 2  # Loss and accuracy.
    assert len(page.ids) == len(set(page.ids)) > 2
    # References within a picture, and nothing elsewhere.
    assert page.addresses
    assert all(each[:1] == "#" for each in page.addresses)
    assert {each[1:] for each in page.addresses} <= set(page.ids)
    for line in result.verdict:
        assert line in page.words
    assert [path.rpartition("/")[2] for path in paths] == [
        *("comparison.html", "settings.csv", "runs.csv")
    ]


def test_csv_files_hold_every_digit(folder, tmp_path):
    compare.write(compared(folder), str(tmp_path), "Runs")
    with open(tmp_path / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(RATES) * len(SEEDS)
    for row in rows:
        path = folder / f"{row['client_learning_rate']}-{row['seed']}"
        assert row["run"] == str(path)
        assert row["ended"] == "all rounds"
        for column in ("eval_accuracy", "eval_loss"):
            assert float(row[column]) == last(path, column)
    with open(tmp_path / "settings.csv", newline="") as file:
        (one, _) = csv.DictReader(file)
    mine = [float(row["eval_loss"]) for row in rows if row["setting"] == "A"]
    assert float(one["eval_loss"]) == pytest.approx(statistics.mean(mine))


def test_best_first_puts_the_best_first(folder):
    runs, _ = compare.readable(read_run.find([str(folder)]))
    for metric in ("loss", "accuracy"):
        result = comparison.compare(runs, metric, best_first=True)
        assert result.verdict[0].startswith("A has the")


_PROGRAM = """
import sys
from tff_pipeline.commands import main
try:
    main.main()
finally:
    print("tensorflow" in sys.modules)
"""


def test_the_command_takes_folders_and_flags_without_tensorflow(
    folder, tmp_path
):
    done = subprocess.run(
        [
            *(sys.executable, "-c", _PROGRAM, "compare", "--metric", "loss"),
            *(str(folder / "0.1-0"), f"--output={tmp_path}"),
            str(folder / "0.02-0"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[-1] == "False"
    assert any(line.startswith("--client_learning_rate") for line in lines)
    assert (tmp_path / "comparison.html").exists()


def test_no_run_is_a_sentence():
    done = run_script("compare.py", "--metric=loss", cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: No run is named")
    assert len(done.stderr.splitlines()) == 1
