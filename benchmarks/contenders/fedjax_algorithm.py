"""fedjax: its federated averaging on its `jit` backend.

Its `pmap` backend calls functions that JAX has since removed; with JAX 0.5.3,
which still has them, `jit` was slower on the 2NN.
"""

from collections.abc import Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

# fedjax 0.0.17 calls it by a name that JAX has since taken away.
if not hasattr(jax, "tree_map"):
    jax.tree_map = jax.tree_util.tree_map

import fedjax
from fedjax.algorithms import fed_avg

from benchmarks.models import in_jax
from benchmarks.rounds import Rounds
from benchmarks.workloads import Workload, client_data, initial_weights


class _InOrder(fedjax.ClientDataset):
    """Batches whose last is padded.

    fedjax would fill it up with examples that were in an earlier one, which is
    as much work but another algorithm.
    """

    def shuffle_repeat_batch(
        self, hparams: fedjax.ShuffleRepeatBatchHParams
    ) -> Iterable[Mapping[str, np.ndarray]]:
        return self.padded_batch(batch_size=hparams.batch_size)


def run(workload: Workload, rounds: Rounds) -> None:
    """Trains for as long as `rounds` asks."""

    def loss(weights, batch):
        mask = batch[fedjax.EXAMPLE_MASK_KEY].astype(jnp.float32)
        return in_jax.loss_and_right(
            workload, weights, batch["x"], batch["y"], mask
        )[0]

    gradient = jax.grad(loss)
    algorithm = fed_avg.federated_averaging(
        lambda weights, batch, _: gradient(weights, batch),
        fedjax.optimizers.sgd(workload.learning_rate),
        fedjax.optimizers.sgd(1.0),
        fedjax.ShuffleRepeatBatchHParams(workload.batch_size),
    )
    clients = [
        (b"%d" % i, _InOrder({"x": x, "y": y}), jax.random.PRNGKey(i))
        for i, (x, y) in enumerate(client_data(workload))
    ]
    first = [jnp.asarray(value) for value in initial_weights(workload)]
    state = algorithm.init(first)

    def weights() -> Sequence[np.ndarray]:
        return state.params

    while True:
        rounds.wait(weights)
        state, _ = algorithm.apply(state, clients)
        jax.block_until_ready(state.params)
