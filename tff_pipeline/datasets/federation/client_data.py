"""Reads clients from `tff.simulation.datasets.ClientData` when asked."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline import errors, randomness
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)

# A client's features by name, each of shape [n, ...] -> (x, y).
Encode = Callable[[Mapping[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]

# More examples than any client has.
_ALL = 2**24


def single_batch(dataset: tf.data.Dataset) -> Any:
    """Batches all elements of a dataset together.

    Args:
      dataset: At least one element and fewer than 16,777,216.

    Returns:
      The structure of an element, its tensors of shape [elements, ...].
    """
    return dataset.batch(_ALL).get_single_element()


class ClientDataExamples(FederatedData):
    """Clients of one or more `ClientData`, encoded when they are read."""

    def __init__(
        self,
        parts: Sequence[tff.simulation.datasets.ClientData],
        encode: Encode,
        client_ids: Sequence[str],
        *,
        seed: int = 0,
        most: Optional[int] = None,
    ):
        """Wraps the data; no client is read yet.

        Args:
          parts: Sources of examples; a client has those of all the sources.
          encode: Function from raw features to inputs and labels; called in a
            `tf.function`.
          client_ids: Names of the clients; each must be in all of `parts`.
          seed: The experiment's seed.
          most: Largest number of examples of a client. Raw examples are drawn
            at random, and encoded ones are cut off at as many. `None` keeps
            all.
        """
        self.client_ids = client_ids
        self._seed = seed
        self._most = most
        # Each function is traced once, not for every client.
        self._reads = [_reader(part) for part in parts]
        raw = self._reads[0].get_concrete_function().structured_outputs
        self._encode = tf.function(
            encode,
            input_signature=[
                {
                    name: tf.TensorSpec([None, *each.shape[1:]], each.dtype)
                    for name, each in raw.items()
                }
            ],
        )

    def size(self, client_id: str) -> int:
        """Counts a client's examples, for which it reads them."""
        return len(self.load(client_id))

    def load(self, client_id: str) -> Examples:
        """Reads a client's examples from all sources."""
        examples = [self._load(read, client_id) for read in self._reads]
        if len(examples) == 1:
            return examples[0]
        return Examples(
            np.concatenate([each.x for each in examples]),
            np.concatenate([each.y for each in examples]),
        )

    def _load(self, read: tf.function, client_id: str) -> Examples:
        try:
            raw = read(tf.constant(client_id))
        except tf.errors.OpError as error:
            raise errors.DataError(
                f"Client {client_id} cannot be read ({error.message}); remove "
                "the file from --data_dir and have it fetched again."
            ) from None
        count = len(next(iter(raw.values())))
        if self._most is not None and self._most < count:
            draw = randomness.generator(
                self._seed, "partition", zlib.crc32(client_id.encode())
            )
            chosen = np.sort(draw.permutation(count)[: self._most])
            raw = {name: tf.gather(raw[name], chosen) for name in raw}
        x, y = self._encode(raw)
        # An example may be cut into several.
        return Examples(x.numpy()[: self._most], y.numpy()[: self._most])


def _reader(part: tff.simulation.datasets.ClientData) -> tf.function:
    """Builds a function from a client's name to its features by name."""

    def read(client_id: tf.Tensor) -> dict[str, tf.Tensor]:
        dataset = part.serializable_dataset_fn(client_id)
        return dict(single_batch(dataset))

    return tf.function(read, [tf.TensorSpec([], tf.string)])
