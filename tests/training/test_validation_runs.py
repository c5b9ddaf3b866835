"""A run that chooses on a validation set, and stops for want of patience."""

import dataclasses
import json
import pathlib

import pytest

from tests.testing.scripts import rows_of, run_script
from tff_pipeline import errors, experiment
from tff_pipeline.assembly.privacy import protect
from tff_pipeline.commands import rerun, saved_runs, verify
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.runs import complete, round_log
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory

PATIENCE = 3
CHOSEN = "validation_accuracy"


def config_of(path, groups=None, **run):
    run = {
        "total_rounds": 80,
        "rounds_per_eval": 2,
        "rounds_per_checkpoint": 7,
        "keep_checkpoints": 1,
        "target_metric": "accuracy",
        "patience": PATIENCE,
        "finishers": "none",
        "sinks": "csv",
        **run,
    }
    return ExperimentConfig(
        data=DataConfig(
            "digits_2nn",
            partition="iid",
            num_clients=12,
            validation_fraction=0.1,
        ),
        run=RunConfig(output_dir=str(path), **run),
        **{
            "clients": ClientConfig(clients_per_round=3, batch_size=16),
            **(groups or {}),
        },
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The run's result, and what it announced."""
    said = []
    path = tmp_path_factory.mktemp("chosen") / "run"
    return experiment.run(config_of(path), announce=said.append), said


@pytest.fixture(scope="module")
def run(done):
    return done[0].directory


def evaluated(rows):
    """Round -> what is chosen by, as the test reads it."""
    return {int(r["round"]): float(r[CHOSEN]) for r in rows if r[CHOSEN]}


def rows(directory):
    return rows_of(pathlib.Path(directory.path))


def digests(directory):
    return [
        record.content["state"]
        for record in round_log.read(directory.rounds)
        if record.content["kind"] == "round"
    ]


def test_columns_are_filled_where_those_of_the_test_set_are(run):
    for row in rows(run):
        filled = int(row["round"]) % 2 == 0
        for name in ("loss", "accuracy"):
            assert bool(row[f"eval_{name}"]) == filled
            assert bool(row[f"validation_{name}"]) == filled
    # On other examples than the test set's.
    last = [row for row in rows(run) if row[CHOSEN]][-1]
    assert last["validation_loss"] != last["eval_loss"]


def test_it_stops_once_so_many_evaluations_were_no_better(done, run):
    values = evaluated(rows(run))
    best = max(values, key=lambda number: (values[number], -number))
    later = [number for number in values if number > best]
    assert len(later) == PATIENCE
    assert len(rows(run)) == later[-1] < 80
    assert done[0].out_of_patience
    assert (done[0].best.round_number, done[0].best.since) == (best, PATIENCE)
    # At no round before had it been as long.
    since, top = 0, -1.0
    for number in sorted(values):
        since, top = (
            (0, values[number]) if values[number] > top else (since + 1, top)
        )
        assert (since == PATIENCE) == (number == later[-1])


def test_the_best_round_is_kept_whatever_else_is_pruned(done, run):
    kept = CheckpointStore(run.checkpoints).rounds()
    assert kept == [done[0].best.round_number, done[0].round_number]


def test_it_says_on_what_it_chooses(done):
    assert f"The best round is the one with the best {CHOSEN}." in done[1]


def test_best_is_evaluated_and_its_choice_told(done, run):
    path, report = saved_runs.evaluate(run.path, "best")
    number = done[0].best.round_number
    assert report["round"] == number
    assert path.endswith(f"round_{number:06d}.json")
    row = rows(run)[number - 1]
    assert report["central"]["accuracy"] == float(row["eval_accuracy"])
    assert report["validation"]["accuracy"] == float(row[CHOSEN])
    assert CHOSEN in report["chosen"]
    assert "chosen" not in saved_runs.evaluate(run.path)[1]


def test_best_is_exported_with_what_it_was_chosen_on(done, run, tmp_path):
    model = tmp_path / "model"
    number, _ = saved_runs.export(run.path, str(model), "best")
    assert number == done[0].best.round_number
    card = json.loads((model / "assets.extra/model_card.json").read_text())
    assert card["rounds"] == number
    assert card["data"]["validation_examples"] > 0
    assert f"the best {CHOSEN}." in card["metrics"]["chosen"]
    words = (model / "assets.extra/model_card.md").read_text()
    assert "others to choose on." in words
    assert "- accuracy on the validation set: " in words
    assert f"the best {CHOSEN}." in words


def test_a_run_resumed_anywhere_stops_at_the_same_round(run, tmp_path):
    stopped = len(rows(run))
    config = config_of(tmp_path / "run")
    # Amid the evaluations that patience counts, and between two of them.
    for until in (stopped - 3, None):
        result = experiment.run(config, until=until)
    assert result.out_of_patience
    again = RunDirectory(config.run.output_dir)
    assert rows(again) == rows(run)
    assert digests(again) == digests(run)
    best = CheckpointStore(again.checkpoints).notes(stopped)["best"]
    assert best == CheckpointStore(run.checkpoints).notes(stopped)["best"]


def test_it_is_complete_and_not_with_more_patience(done, run):
    found = complete.find(run, run.read_config())
    assert found.out_of_patience and not found.target_reached
    assert found.validation == done[0].validation
    assert found.best == done[0].best
    config = run.read_config()
    changed = dataclasses.replace(config.run, patience=PATIENCE + 1)
    with pytest.raises(errors.ConfigError, match="patience"):
        complete.find(run, dataclasses.replace(config, run=changed))


def test_the_same_command_says_that_it_is_complete(run):
    flags = f"--flagfile={run.flags}"
    done = run_script("train.py", flags, f"--output_dir={run.path}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("complete; --overwrite starts again.")
    assert f"(no better accuracy in {PATIENCE} evaluations)" in done.stdout
    assert "Validation set:" in lines
    assert f"the best {CHOSEN}." in done.stdout


def test_its_papers_hold_and_it_trains_to_the_same_bits(run):
    findings = [*verify.verify(run.path), *rerun.rerun(run.path)]
    assert [each.text for each in findings if not each.holds] == []


@pytest.mark.parametrize(
    ("groups", "run", "words"),
    [
        (
            {
                "aggregation": AggregationConfig("dp_gaussian"),
                "privacy": PrivacyConfig(
                    dp_clip=0.5, dp_delta=1e-3, dp_noise_multiplier=1.0
                ),
            },
            {},
            ["which training clients hold", f"look at {CHOSEN},"],
        ),
        (
            {
                "clients": ClientConfig(
                    clients_per_round=3,
                    steps_per_round=2,
                    dp_target_epsilon=8.0,
                    dp_clip=0.5,
                    dp_delta=1e-4,
                )
            },
            {"target_metric": None, "patience": None, "total_rounds": 2},
            ["which training clients hold"],
        ),
    ],
)
def test_what_is_chosen_on_is_not_covered_by_epsilon(
    tmp_path, groups, run, words
):
    config = config_of(tmp_path, groups, **run)
    directory = RunDirectory(str(tmp_path))
    task = experiment.load_task(config)
    protect(config, task, 1000, directory, False).begin(task, directory)
    with open(directory.privacy_json) as file:
        uncovered = json.load(file)["not_covered"]
    said = [each for each in uncovered if CHOSEN[:11] in each]
    assert len(said) == len(words)
    for sentence, each in zip(said, words):
        assert each in sentence
