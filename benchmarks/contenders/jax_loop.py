"""The least JAX that does the work: one jitted loop a client, no framework."""

import concurrent.futures
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import in_jax
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data, initial_weights


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""
    # A client a thread was measured to be faster than one after the other.
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    # Within a loop, XLA's convolutions on a CPU are many times slower.
    train = _steps(workload) if workload.model == "cnn" else _loop(workload)
    data = [
        _batches(x, y, workload.batch_size) for x, y in client_data(workload)
    ]
    if workload.model != "cnn":
        most = max(map(len, data))
        data = [_stacked(batches, most) for batches in data]
    weights = [jnp.asarray(value) for value in initial_weights(workload)]
    examples = sum(workload.sizes)
    metrics: dict[str, float] = {}

    @functools.partial(jax.jit, donate_argnums=0)
    def add(total, trained, share):
        return [a + share * b for a, b in zip(total, trained)]

    def client(batches: Any) -> Any:
        return jax.block_until_ready(train(weights, batches))

    def current() -> list[jax.Array]:
        return weights

    while True:
        rounds.wait(current, metrics)
        total = [jnp.zeros_like(value) for value in weights]
        sums = np.zeros(2)
        for size, (trained, client_sums) in zip(
            workload.sizes, pool.map(client, data)
        ):
            total = add(total, trained, size / examples)
            sums += np.asarray(client_sums)
        weights = jax.block_until_ready(total)
        metrics = dict(zip(("loss", "accuracy"), sums / examples))


def _batches(x: np.ndarray, y: np.ndarray, size: int) -> list[tuple]:
    """x, y and a mask of every batch; the last is padded."""
    mask = np.ones(len(x), np.float32)

    def pad(array: np.ndarray) -> jax.Array:
        missing = [(0, size - len(array)), *[(0, 0)] * (array.ndim - 1)]
        return jnp.asarray(np.pad(array, missing))

    return [
        tuple(pad(array[begin : begin + size]) for array in (x, y, mask))
        for begin in range(0, len(x), size)
    ]


def _stacked(batches: list[tuple], most: int) -> tuple:
    """The batches in one array each, with zeros up to `most`; their number."""
    padding = [(0, most - len(batches))]

    def stack(*arrays: jax.Array) -> jax.Array:
        stacked = np.stack(arrays)
        return jnp.asarray(
            np.pad(stacked, padding + [(0, 0)] * (stacked.ndim - 1))
        )

    return *map(stack, *batches), len(batches)


def _step(workload: Workload) -> Callable[..., Any]:
    """A function: (weights, sums), x, y, mask -> the same after a batch.

    The sums are those of loss and accuracy over the examples.
    """
    gradient = jax.value_and_grad(
        functools.partial(in_jax.loss_and_right, workload), has_aux=True
    )

    def step(state, x, y, mask):
        weights, sums = state
        measured, gradients = gradient(weights, x, y, mask)
        pairs = zip(weights, gradients)
        weights = [w - workload.learning_rate * g for w, g in pairs]
        return weights, sums + mask.sum() * jnp.stack(measured)

    return step


def _loop(workload: Workload) -> Callable[..., Any]:
    """All steps of a client in one call: weights, stacked batches -> state."""
    step = _step(workload)

    @jax.jit
    def loop(weights, batches):
        x, y, mask, steps = batches
        return jax.lax.fori_loop(
            0,
            steps,
            lambda i, state: step(state, x[i], y[i], mask[i]),
            (weights, jnp.zeros(2)),
        )

    return loop


def _steps(workload: Workload) -> Callable[..., Any]:
    """A call a step: weights, list of batches -> state."""
    step = jax.jit(_step(workload))

    def steps(weights, batches):
        state = (weights, jnp.zeros(2))
        for batch in batches:
            state = step(state, *batch)
        return state

    return steps
