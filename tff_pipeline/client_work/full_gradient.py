"""The gradient of all of a client's examples, and its mean over a cohort."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.client_work import empty_model, micro_batches, steps
from tff_pipeline.client_work.uncounted import uncounted
from tff_pipeline.client_work.update import ClientUpdate
from tff_pipeline.config import ClientConfig

# How many labels and how many numbers of inputs a gradient is taken of at once,
# where batches are smaller: enough to make little of passes over the weights,
# and few enough for the activations of large images and long texts.
_LABELS, _INPUTS = 256, 1 << 17


def examples_at_once(
    options: ClientConfig, x: tf.TensorShape, y: tf.TensorShape
) -> int:
    """Chooses how many examples are computed at a time.

    >>> images, texts = tf.TensorShape([28, 28, 1]), tf.TensorShape([80])
    >>> examples_at_once(ClientConfig(), images, tf.TensorShape([]))
    167
    >>> options = ClientConfig(batch_size=4)
    >>> examples_at_once(options, texts, texts)
    4

    Args:
      options: The options of clients, of which the sizes of batches count.
      x: The shape of an example's input.
      y: The shape of its labels.

    Returns:
      `--client_micro_batch_size`, if it is set; else the batch size, or more
      where examples are small and of known shapes.
    """
    if options.micro_batch_size is not None:
        return options.micro_batch_size
    numbers, labels = x.num_elements(), y.num_elements()
    if not numbers or not labels:
        return options.batch_size
    return max(options.batch_size, min(_LABELS // labels, _INPUTS // numbers))


def of_block(
    model: tff.learning.models.VariableModel,
    block: Mapping[str, tf.Tensor],
    options: ClientConfig,
) -> list[tf.Tensor]:
    """Takes the gradient of the mean loss of all examples of a client.

    Layers such as dropout are as in evaluation: it is one gradient, not a draw.

    Args:
      model: The model, with the weights at which it is taken.
      block: The client's data, as `client_block` makes them.
      options: The options of clients, of which the sizes of batches count.

    Returns:
      A tensor for each trainable variable.
    """
    x, y = block["x"], block["y"]
    at_once = examples_at_once(options, x.shape[1:], y.shape[1:])
    with uncounted(model):
        return list(
            micro_batches.gradient(model, x, y, at_once, training=False)
        )


def build_mean(
    model_fn: empty_model.ModelFn, update: ClientUpdate, options: ClientConfig
) -> Callable[[Any, Sequence[Any]], Any]:
    """Builds the computation of a cohort's mean gradient.

    A client whose gradient is not finite counts for nothing.

    Args:
      model_fn: Makes the model; TFF calls it in its graphs.
      update: The computation of a client's round, for its types.
      options: The options of clients: batch size and weighting.

    Returns:
      A TFF computation from (the model's weights, the clients' data) to the
      weighted mean, tensors like the trainable weights; NaN of no clients.
    """
    weights_type, data_type = update.weights_type, update.data_type

    @tff.tensorflow.computation(weights_type, data_type)
    def gradient(weights: Any, data: Any) -> Any:
        model = empty_model.without_initial_values(model_fn)

        @tf.function(autograph=False)
        def take(weights: Any, block: Any) -> Any:
            variables = tff.learning.models.ModelWeights.from_model(model)
            steps.assign(tf.nest.flatten(variables), tf.nest.flatten(weights))
            found = of_block(model, block, options)
            finite = steps.all_finite(found)
            weight = tf.cast(tf.shape(block["x"])[0], tf.float32)
            if options.weighting == "uniform":
                weight = tf.constant(1.0)
            zeros = list(map(tf.zeros_like, found))
            return tf.cond(
                finite, lambda: (found, weight), lambda: (zeros, 0.0)
            )

        return take(weights, data.get_single_element())

    @tff.federated_computation(
        tff.FederatedType(weights_type, tff.SERVER),
        tff.FederatedType(data_type, tff.CLIENTS),
    )
    def mean(weights: Any, data: Any) -> Any:
        found = tff.federated_map(
            gradient, (tff.federated_broadcast(weights), data)
        )
        return tff.federated_mean(found[0], found[1])

    return mean
