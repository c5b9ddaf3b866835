"""Where TensorFlow sees a GPU, client work runs on it, as on the CPU."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import small_training as small
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker

GPUS = tf.config.list_physical_devices("GPU")


@pytest.mark.skipif(not GPUS, reason="TensorFlow sees no GPU here")
def test_client_work_takes_memory_on_the_gpu_and_learns_the_same():
    task = small.task_of(small.dense)
    process = fed_avg.build(task.tff_model_fn, small.CLIENTS, small.SERVER)
    weights = small.start(task)
    rounds = [small.blocks(task, number) for number in (1, 2, 3)]
    tf.config.experimental.reset_memory_stats("GPU:0")
    before = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    with InProcessContext():
        here, _ = small.train(process, weights, rounds)
    assert tf.config.experimental.get_memory_info("GPU:0")["peak"] > before
    with LocalWorker():  # TFF's worker knows the CPU only.
        there, _ = small.train(process, weights, rounds)
    for a, b in zip(tf.nest.flatten(here), tf.nest.flatten(there)):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
