"""The least TensorFlow that does the work: a graph a client, no framework."""

import concurrent.futures
import os
import queue
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.models import in_keras
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data, initial_weights


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    # A client a thread, each operation on that thread, was measured to be the
    # fastest of: one client or two, one thread an operation or two.
    threads = os.cpu_count() or 1
    tf.config.threading.set_intra_op_parallelism_threads(1)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    trainers: queue.SimpleQueue = queue.SimpleQueue()
    for _ in range(threads):  # Each with variables of its own.
        trainers.put(_trainer(workload))
    weights = initial_weights(workload)
    examples = sum(workload.sizes)
    data = [
        (tf.constant(x), tf.constant(y), tf.constant(len(x) / examples))
        for x, y in client_data(workload)
    ]
    metrics: dict[str, float] = {}

    def current() -> list[np.ndarray]:
        return weights

    def train(client: tuple) -> Any:
        trainer = trainers.get()
        try:
            return trainer(broadcast, *client)
        finally:
            trainers.put(trainer)

    while True:
        rounds.wait(current, metrics)
        broadcast = [tf.constant(value) for value in weights]
        total = [np.zeros_like(value) for value in weights]
        sums = np.zeros(2)
        for parts, client_sums in pool.map(train, data):
            for value, part in zip(total, parts):
                value += np.asarray(part)
            sums += np.asarray(client_sums)
        weights = total
        metrics = dict(zip(("loss", "accuracy"), sums / examples))


def _trainer(workload: Workload) -> Callable[..., Any]:
    """A function: weights, x, y, share -> what goes into the mean, sums.

    The sums are those of loss and accuracy over the examples.
    """
    model = in_keras.build(workload)
    variables = model.trainable_variables
    size = workload.batch_size

    @tf.function(
        autograph=False,
        input_signature=[
            [tf.TensorSpec(v.shape, v.dtype) for v in variables],
            *in_keras.input_spec(workload),
            tf.TensorSpec([]),
        ],
    )
    def train(weights, x, y, share):
        for variable, value in zip(variables, weights):
            variable.assign(value)

        def step(begin, sums):
            batch, labels = x[begin : begin + size], y[begin : begin + size]
            with tf.GradientTape() as tape:
                logits = model(batch, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(
                        labels, logits
                    )
                )
            for variable, gradient in zip(
                variables, tape.gradient(loss, variables)
            ):
                # Multiplies and subtracts in place, in one operation.
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=variable.handle,
                    alpha=workload.learning_rate,
                    delta=tf.convert_to_tensor(gradient),
                )
            right = tf.argmax(logits, -1, tf.int32) == labels
            accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
            count = tf.cast(tf.shape(labels)[0], tf.float32)
            return begin + size, sums + count * tf.stack([loss, accuracy])

        _, sums = tf.while_loop(
            lambda begin, _: begin < tf.shape(x)[0],
            step,
            [tf.constant(0), tf.zeros([2])],
        )
        return [share * variable for variable in variables], sums

    return train
