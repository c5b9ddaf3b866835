"""Which round is the best, and when patience is over."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.config import RunConfig
from tff_pipeline.runs import best
from tff_pipeline.runs.best import NONE_YET, Best


def folded(values, metric="accuracy", column="validation_accuracy"):
    """The best after rounds with these values; `None` is no evaluation."""
    found = NONE_YET
    for number, value in enumerate(values, 1):
        row = {"round": number}
        if value is not None:
            row[column] = value
        found = found.after(row, metric)
    return found


@given(st.lists(st.none() | st.floats(0, 1) | st.just(math.nan), max_size=20))
def test_the_best_is_the_first_of_the_largest_and_others_are_counted(values):
    found = folded(values)
    evaluated = [v for v in values if v is not None]
    finite = [v for v in evaluated if not math.isnan(v)]
    if not finite:
        assert (found.round_number, found.since) == (0, len(evaluated))
        return
    place = values.index(max(finite))
    assert (found.round_number, found.value) == (place + 1, max(finite))
    later = [v for v in values[place + 1 :] if v is not None]
    assert found.since == len(later)
    # A resumed run goes on from a checkpoint's notes.
    notes = json.loads(json.dumps({"best": found.note()}, allow_nan=False))
    assert Best.of_notes(notes) == found


def test_losses_are_best_when_small():
    found = folded([3.0, 1.0, 2.0], "loss", "eval_loss")
    assert found == Best(2, 1.0, 1)


def test_a_run_that_never_was_finite_is_out_of_patience_too():
    found = folded([math.nan] * 3)
    assert found.ends(RunConfig(target_metric="accuracy", patience=3))
    assert not found.ends(RunConfig(target_metric="accuracy", patience=4))
    assert not found.ends(RunConfig(target_metric="accuracy"))
    assert Best.of_notes({"best": found.note()}).since == 3


def test_runs_of_before_are_read():
    assert Best.of_notes({}) == NONE_YET
    assert Best.of_notes({"best": {"round": 2, "value": 0.5}}) == Best(2, 0.5)


TEST, BOTH = ["round", "eval_loss"], ["eval_loss", "validation_loss"]


@pytest.mark.parametrize(
    ("metric", "columns", "words"),
    [
        ("loss", BOTH, "the best validation_loss."),
        ("validation_loss", BOTH, "the best validation_loss."),
        ("loss", TEST, "too good; --validation_fraction=0.1 holds out"),
        ("eval_loss", TEST, "too good; --validation_fraction=0.1 holds out"),
        ("eval_loss", BOTH, "too good; there are validation examples"),
        (None, BOTH, ""),
    ],
)
def test_what_is_chosen_on_is_said(metric, columns, words):
    said = best.in_words(metric, columns)
    assert words in said
    assert ("on the test set" in said) == ("too good" in words)
    assert "\n" not in said


def test_patience_needs_a_metric():
    with pytest.raises(errors.ConfigError, match="--target_metric=loss"):
        RunConfig(patience=3)
    with pytest.raises(errors.ConfigError, match="--patience=0"):
        RunConfig(target_metric="loss", patience=0)
