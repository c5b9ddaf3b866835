"""A model of the library `transformers` as frozen weights.

The library is none of the project's packages: the test needs version 4.46.3 or
another that has models of TensorFlow, and is skipped without it.
"""

import numpy as np
import pytest
import tensorflow as tf

from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.models import frozen
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.tasks.task import Task

transformers = pytest.importorskip(
    "transformers",
    reason="transformers 4.46.3 is not installed, and is none of the lock",
)
if not hasattr(transformers, "TFBertModel"):
    pytest.skip(
        "this version of transformers has no models of TensorFlow",
        allow_module_level=True,
    )

IDS, LENGTH, CLASSES = 50, 4, 3


class Classifier(tf.keras.Model):
    """An encoder of the library below a new last layer."""

    def __init__(self):
        super().__init__(name="classifier")
        settings = transformers.BertConfig(
            vocab_size=IDS,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=8,
        )
        self.bert = transformers.TFBertModel(settings, name="bert")
        self.head = tf.keras.layers.Dense(CLASSES, name="head")

    def call(self, ids, training=False):
        return self.head(self.bert(ids, training=training)[0][:, 0])


def made():
    """The model with its variables, which a first call makes."""
    model = Classifier()
    model(tf.zeros([1, LENGTH], tf.int32))
    return model


def test_every_weight_is_swapped_and_none_travels(tmp_path):
    whole = made()
    base = frozen.store(
        str(tmp_path / "bert"),
        {
            variable.name.partition(":")[0]: variable.numpy()
            for variable in whole.bert.weights
        },
    )

    def model_fn():
        with frozen.using(base):
            return made()

    model = model_fn()
    groups = weight_groups(model)
    assert len(groups.frozen) == len(whole.bert.weights) == 39
    assert {id(v) for v in groups.frozen} == {id(v) for v in model.bert.weights}
    assert [v.name for v in groups.trainable] == [
        "classifier/head/kernel:0",
        "classifier/head/bias:0",
    ]
    assert not groups.non_trainable
    draw = np.random.default_rng(0)
    ids = draw.integers(IDS, size=[12, LENGTH]).astype(np.int32)
    np.testing.assert_array_equal(model.bert(ids)[0], whole.bert(ids)[0])
    examples = Examples(ids, (ids.sum(axis=1) % CLASSES).astype(np.int32))
    task = Task(
        "own",
        InMemoryData(examples, {"a": np.arange(6), "b": np.arange(6, 12)}),
        examples,
        model_fn,
        input_name="tokens",
    )
    assert task.frozen_hashes() == {"frozen weights 1": base.sha256}
    with tf.Graph().as_default() as graph:
        sent = task.tff_model_fn()
        sent.forward_pass(
            (tf.constant(ids), tf.constant(examples.y)), training=True
        )
    assert len(sent.trainable_variables) == 2
    assert not sent.non_trainable_variables
    # A graph has the files' paths in the place of their numbers.
    content = graph.as_graph_def().SerializeToString()
    for array in base.arrays.values():
        assert array.path.encode() in content
        assert array.mapped().numpy().tobytes() not in content
