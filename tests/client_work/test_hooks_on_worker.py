"""Hooks that keep states compute the same on TFF's worker."""

import numpy as np
import pytest

from tests.testing.control_variates import CLIENTS, Scaffold, model_fn, play
from tff_pipeline.algorithms import fed_avg
from tff_pipeline.config import ServerConfig
from tff_pipeline.runtime.in_process import InProcessContext
from tff_pipeline.runtime.local import LocalWorker


# Before anything of TensorFlow has made threads, for it forks.
@pytest.fixture(scope="module", autouse=True)
def worker():
    with LocalWorker():
        yield


def test_three_rounds_end_as_in_process():
    process = fed_avg.build(
        model_fn, CLIENTS, ServerConfig(), hooks=[Scaffold(1.0)]
    )
    there, _ = play(process, [[0, 1]] * 3)
    with InProcessContext(2):
        here, _ = play(process, [[0, 1]] * 3)
    np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-7)
