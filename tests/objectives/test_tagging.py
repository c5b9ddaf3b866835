"""Legal tags and scores of entities, by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.entity_tags import TAGS, tag_numbers
from tff_pipeline.objectives import tagging


def test_stray_inside_tags_begin_an_entity():
    found = tag_numbers(
        "I-PER I-PER O I-LOC B-LOC I-PER", "B-PER I-LOC I-LOC O"
    )
    logits = tf.one_hot(found, len(TAGS))
    expected = tag_numbers(
        "B-PER I-PER O B-LOC B-LOC B-PER", "B-PER B-LOC I-LOC O"
    )
    np.testing.assert_array_equal(tagging.legal_tags(TAGS, logits), expected)


def test_scores_by_hand():
    truth = tag_numbers(
        "B-PER I-PER O B-LOC",  # two entities
        "O B-LOC I-LOC O",  # one
        "O O",  # none
        "O O O B-PER",  # one, at the very end
        "B-PER O O O",  # one, at the next start
    )
    found = tag_numbers(
        "B-PER I-PER O B-PER",  # one right, one of the wrong type
        "O B-LOC O O",  # cut short
        "O B-PER I-PER I-PER",  # wrong, the rest is padding
        "O O O B-PER",
        "I-PER O O O",
    )
    logits = tf.one_hot(found, len(TAGS))
    legal = tagging.legal_tags(TAGS, logits).numpy()
    scores = {
        name: metric(truth, legal)
        for name, metric in tagging.tag_metrics(TAGS).items()
    }
    assert scores["entity_precision"] == pytest.approx(3 / 6)
    assert scores["entity_recall"] == pytest.approx(3 / 5)
    assert scores["entity_f1"] == pytest.approx(6 / 11)
    assert scores["token_micro_f1"] == pytest.approx(15 / 18)
    # Right, of truth and found: O 10 of 11 and 11; B-LOC 1 of 2
    # and 1; I-LOC 0 of 1
    # and 0; B-PER 3 of 3 and 5; I-PER 1 of 1 and 1.
    by_tag = np.array([20 / 22, 2 / 3, 0, 6 / 8, 1])
    assert scores["token_macro_f1"] == pytest.approx(np.mean(by_tag))
    weighted = np.average(by_tag, weights=[11, 2, 1, 3, 1])
    assert scores["token_weighted_f1"] == pytest.approx(weighted)


def test_scores_without_entities_are_zero():
    none = tag_numbers("O O")
    assert set(tagging.entity_scores(TAGS, none, none).values()) == {0}


def test_outputs_name_the_tags_and_padding_is_empty():
    logits = tf.one_hot(tag_numbers("B-LOC I-LOC", "O"), len(TAGS))
    outputs = tagging.tag_outputs(TAGS, logits)
    assert outputs["tag"].numpy().tolist() == [
        [b"B-LOC", b"I-LOC"],
        [b"O", b""],
    ]
    np.testing.assert_array_equal(
        outputs["tag_id"], tag_numbers("B-LOC I-LOC", "O")
    )
    np.testing.assert_allclose(
        outputs["probabilities"], tf.nn.softmax(logits), rtol=1e-6
    )
