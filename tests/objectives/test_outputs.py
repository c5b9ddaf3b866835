"""What exported models put out, by name."""

import functools

import numpy as np
import tensorflow as tf

from tff_pipeline.objectives import outputs

LOGITS = tf.constant([[0.0, 3.0, 1.0], [2.0, 1.0, 0.0]])
NAMES = ["a", "b", "c"]


def test_classes_have_probabilities_and_the_likeliest_a_name():
    exps = np.exp(LOGITS.numpy())
    by_name = outputs.named_class_outputs(NAMES, LOGITS)
    np.testing.assert_allclose(
        by_name["probabilities"],
        exps / exps.sum(axis=1, keepdims=True),
        rtol=1e-6,
    )
    np.testing.assert_array_equal(by_name["class_id"], [1, 0])
    assert by_name["class_name"].numpy().tolist() == [b"b", b"a"]


def test_a_symbol_may_be_any_bytes_or_none():
    by_name = outputs.next_symbol_outputs([b"", b"\xff", b"c"], LOGITS)
    assert by_name["next"].numpy().tolist() == [b"\xff", b""]


def test_labels_do_not_exclude_each_other():
    by_name = outputs.named_label_outputs(NAMES, LOGITS)
    np.testing.assert_allclose(
        by_name["probabilities"], 1 / (1 + np.exp(-LOGITS)), rtol=1e-6
    )
    assert by_name["tags"].numpy().tolist() == [
        [b"b", b"c", b"a"],
        [b"a", b"b", b"c"],
    ]
    many = outputs.named_label_outputs(list("abcdefg"), tf.zeros([1, 7]))
    assert many["tags"].shape == (1, 5)


def test_one_value_loses_its_axis_and_several_keep_it():
    assert outputs.squeezed_value_outputs(tf.zeros([4, 1]))["value"].shape == 4
    assert outputs.squeezed_value_outputs(LOGITS)["value"].shape == (2, 3)


def test_outputs_are_the_same_in_a_graph():
    graph = tf.function(functools.partial(outputs.named_class_outputs, NAMES))
    eager = outputs.named_class_outputs(NAMES, LOGITS)
    for name, value in graph(LOGITS).items():
        np.testing.assert_array_equal(value, eager[name])
