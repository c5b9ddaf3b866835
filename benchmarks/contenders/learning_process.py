"""What both contenders of TFF share: the model, and the rounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from benchmarks.models import in_keras
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, initial_weights


def model(workload: Workload) -> tff.learning.models.VariableModel:
    """The workload's Keras model for TFF, measuring loss and accuracy."""
    return tff.learning.models.from_keras_model(
        in_keras.build(workload),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        input_spec=in_keras.input_spec(workload),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )


def run(
    process: tff.learning.templates.LearningProcess,
    data: Sequence[Any],
    workload: Workload,
    rounds: Rounds,
) -> None:
    """Runs the process on its clients' data for as long as `rounds` asks."""
    state = process.initialize()
    weights = process.get_model_weights(state)
    first = type(weights.trainable)(initial_weights(workload))
    state = process.set_model_weights(
        state, tff.learning.models.ModelWeights(first, weights.non_trainable)
    )
    metrics: dict[str, float] = {}

    def current() -> Sequence[np.ndarray]:
        return process.get_model_weights(state).trainable

    while True:
        rounds.wait(current, metrics)
        output = process.next(state, data)
        state = output.state
        train = output.metrics["client_work"]["train"]
        metrics = {name: float(train[name]) for name in ("loss", "accuracy")}
