"""The workloads' models in JAX, for the JAX loop and fedjax.

Weights are a list of arrays in the order and the layouts of Keras.
"""

from collections.abc import Sequence
from typing import Optional

import jax
import jax.numpy as jnp

from benchmarks import workloads
from benchmarks.workloads import Workload

Weights = Sequence[jax.Array]


def loss_and_right(
    workload: Workload,
    weights: Weights,
    x: jax.Array,
    y: jax.Array,
    mask: Optional[jax.Array] = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean cross entropy of a batch, and the mean share of right answers.

    Args:
      workload: Says which model.
      weights: Of the model.
      x: A batch.
      y: Its labels.
      mask: 1 for an example that counts, 0 for padding; by default all count.
    """
    logits = _LOGITS[workload.model](list(weights), x)
    chosen = jnp.take_along_axis(logits, y[..., jnp.newaxis], -1)[..., 0]
    loss = jax.nn.logsumexp(logits, -1) - chosen
    right = (jnp.argmax(logits, -1) == y).astype(jnp.float32)
    if loss.ndim == 2:  # Of an example's characters.
        loss, right = loss.mean(1), right.mean(1)
    if mask is None:
        return loss.mean(), right.mean()
    count = mask.sum()
    return (loss * mask).sum() / count, (right * mask).sum() / count


def _dense(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    *hidden, kernel, bias = weights
    for i in range(0, len(hidden), 2):
        x = jax.nn.relu(x @ hidden[i] + hidden[i + 1])
    return x @ kernel + bias


def _cnn(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    for kernel, bias in (weights[0:2], weights[2:4]):
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + bias)
        batch, height, width, channels = x.shape
        # Windows do not overlap, so that a maximum over axes will do; its
        # gradient is faster on a CPU than that of reduce_window.
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        x = x.max((2, 4))
    return _dense(weights[4:], x.reshape(x.shape[0], -1))


def _lstm(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    embedding, *layers, kernel, bias = weights
    x = jnp.swapaxes(embedding[x], 0, 1)  # To [time, batch, features].
    for i in (0, 3):
        x = _lstm_layer(*layers[i : i + 3], x)
    return jnp.swapaxes(x, 0, 1) @ kernel + bias


def _lstm_layer(
    kernel: jax.Array, recurrent: jax.Array, bias: jax.Array, x: jax.Array
) -> jax.Array:
    def step(state, projected):
        output, cell = state
        gates = projected + output @ recurrent
        enter, forget, candidate, leave = jnp.split(gates, 4, -1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(
            candidate
        )
        output = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        return (output, cell), output

    zeros = jnp.zeros([x.shape[1], recurrent.shape[0]])
    return jax.lax.scan(step, (zeros, zeros), x @ kernel + bias)[1]


def _transformer(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    characters, positions, *weights = weights
    x = characters[x] + positions
    for _ in range(workloads.BLOCKS):
        x += _attention(weights[2:10], _norm(*weights[:2], x))
        expand, expand_bias, shrink, shrink_bias = weights[12:16]
        hidden = _norm(*weights[10:12], x) @ expand + expand_bias
        x += jax.nn.gelu(hidden, approximate=False) @ shrink + shrink_bias
        weights = weights[16:]
    scale, shift, kernel, bias = weights
    return _norm(scale, shift, x) @ kernel + bias


def _norm(scale: jax.Array, shift: jax.Array, x: jax.Array) -> jax.Array:
    x -= x.mean(-1, keepdims=True)
    variance = jnp.square(x).mean(-1, keepdims=True)
    return x * jax.lax.rsqrt(variance + workloads.EPSILON) * scale + shift


def _attention(weights: list[jax.Array], x: jax.Array) -> jax.Array:
    *inward, kernel, bias = weights
    query, key, value = (
        jnp.einsum("btw,whs->bhts", x, inward[i]) + inward[i + 1][:, None]
        for i in (0, 2, 4)
    )
    scores = jnp.einsum("bhts,bhus->bhtu", query, key)
    scores /= jnp.sqrt(query.shape[-1])
    visible = jnp.tri(scores.shape[-1], dtype=bool)
    shares = jax.nn.softmax(jnp.where(visible, scores, -1e9))
    seen = jnp.einsum("bhtu,bhus->bths", shares, value)
    return jnp.einsum("bths,hsw->btw", seen, kernel) + bias


_LOGITS = {
    "2nn": _dense,
    "mlp20m": _dense,
    "cnn": _cnn,
    "lstm": _lstm,
    "transformer": _transformer,
}
