"""Builds language models: what trains of a transformer, and token scores."""

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import frozen
from tff_pipeline.models.transformer import lora as low_rank
from tff_pipeline.models.transformer import scoring
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import LAYER, PREFIX, Base
from tff_pipeline.models.transformer.lora import Lora
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.runtime import compat

# The weights that each choice of `--trainable` trains of the base.
_TRAINS: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "bitfit": lambda name: name.endswith(".bias"),
    "head": lambda name: name.startswith("head."),
    "lora": lambda name: False,
}


@dataclasses.dataclass(frozen=True)
class Training:
    """Settings of what is trained, and how it is computed.

    Attributes:
      trainable: "all", "bitfit" (biases alone, Ben Zaken et al. 2022), "head"
        (the matrix of the logits) or "lora".
      lora: The settings of low-rank adaptation, for "lora".
      compute_dtype: "float32" or "bfloat16", of the products of matrices.
      recompute: Whether the backward pass computes each block anew.
    """

    trainable: str = "all"
    lora: Optional[Lora] = None
    compute_dtype: str = "float32"
    recompute: bool = False

    def trains(self, name: str) -> bool:
        """Tells whether a weight of the base is trained.

        Args:
          name: Its name, as in `Architecture.weight_shapes`.
        """
        return _TRAINS[self.trainable](name)


def transformer(
    architecture: Architecture,
    training: Training,
    base: Optional[Base] = None,
    padding: int = 0,
) -> Transformer:
    """Makes a transformer with its weights.

    What is not trained of a base is frozen: mapped from its files, and neither
    sent nor kept. What is trained begins with the base's values.

    Args:
      architecture: The transformer.
      training: What is trained.
      base: The pretrained weights; `None` to begin with drawn ones.
      padding: The id of places without a token.

    Raises:
      ConfigError: If nothing of the architecture would be trained.
    """
    check(architecture, training)
    if base is None:
        made = Transformer(
            architecture,
            trains=training.trains,
            lora=training.lora,
            compute_dtype=training.compute_dtype,
            recompute=training.recompute,
            padding=padding,
        )
        _build(made)
        return made
    arrays = base.weights.arrays
    frozen_arrays = {
        name: array
        for name, array in arrays.items()
        if not training.trains(name[len(PREFIX) :])
    }
    made = Transformer(
        architecture,
        trains=training.trains,
        weight_dtypes={
            name[len(PREFIX) :]: array.dtype
            for name, array in frozen_arrays.items()
        },
        initial={
            name[len(PREFIX) :]: array.mapped
            for name, array in arrays.items()
            if name not in frozen_arrays
        },
        lora=training.lora,
        compute_dtype=training.compute_dtype,
        recompute=training.recompute,
        padding=padding,
    )
    with contextlib.ExitStack() as stack:
        if frozen_arrays:
            weights = dataclasses.replace(base.weights, arrays=frozen_arrays)
            stack.enter_context(frozen.using(weights))
        _build(made)
    return made


def _build(layer: Transformer) -> None:
    # Variables are named after the layer, as when it is called.
    with tf.name_scope(LAYER):
        layer.build([])


def check(architecture: Architecture, training: Training) -> None:
    """Checks that something of a transformer is trained.

    Args:
      architecture: The transformer.
      training: What is trained.

    Raises:
      ConfigError: If nothing would be.
    """
    if training.lora is not None:
        low_rank.adapted(architecture, training.lora.targets)
    elif not any(map(training.trains, architecture.weight_shapes())):
        why = {
            "head": "its logits' matrix is its token embedding",
            "bitfit": "its matrices have no biases",
        }[training.trainable]
        raise errors.ConfigError(
            f"--trainable={training.trainable} trains nothing of this model, "
            f"for {why}; choose lora or all."
        )


class NextTokenScores(tf.keras.layers.Layer):
    """Scores every token of a text after the first."""

    def __init__(self, network: Transformer):
        """Makes the layer.

        Args:
          network: The transformer, whose logits' matrix is used.
        """
        super().__init__(name="scores")
        self._network = network

    @compat.plain
    def call(
        self, hidden: tf.Tensor, targets: tf.Tensor, training: Any = False
    ) -> tf.Tensor:
        """Returns nats and hits, float32 [batch, length, 2].

        Args:
          hidden: What the last layer sees, float32 [batch, length, width].
          targets: The token that follows each, int32 [batch, length].
          training: True while the model is trained.
        """
        shape = tf.shape(targets)
        scores = scoring.token_scores(
            tf.reshape(hidden, [-1, hidden.shape[-1]]),
            tf.reshape(targets, [-1]),
            self._network.table,
            with_gradient=bool(training),
            table_trains=self._network.table_trains,
        )
        return tf.reshape(scores, [shape[0], shape[1], 2])


def language_model(
    architecture: Architecture,
    training: Training,
    base: Optional[Base] = None,
) -> tf.keras.Model:
    """Makes a model that scores the tokens of texts.

    Its layer "transformer" is the transformer itself.

    Args:
      architecture: A decoder.
      training: What is trained.
      base: The pretrained weights; `None` to begin with drawn ones.

    Returns:
      A model from "tokens", int32 [batch, length + 1], to float32 [batch,
      length, 2]: of each token after the first the cross-entropy in nats, and 1
      if it was the likeliest, else 0.

    Raises:
      ConfigError: If nothing of the architecture would be trained.
    """
    network = transformer(architecture, training, base)
    tokens = tf.keras.Input([None], dtype="int32", name="tokens")
    hidden = network(tokens[:, :-1])
    scores = NextTokenScores(network)(hidden, tokens[:, 1:])
    return tf.keras.Model(tokens, scores)


def in_words(model: tf.keras.Model) -> str:
    """Says what of a language model is trained and travels.

    Args:
      model: A model with the layer "transformer".

    Returns:
      A line, such as "Trains 460,800 of 134,975,808 weights (0.34 %), which
      alone travel: query, value of blocks 0 to 29; alpha / r = 2.".
    """
    network = model.get_layer(LAYER)
    trained = sum(v.shape.num_elements() for v in model.trainable_variables)
    total = network.architecture.num_parameters() + sum(
        v.shape.num_elements()
        for v in model.trainable_variables
        if ".lora_" in v.name
    )
    line = (
        f"Trains {trained:,} of {total:,} weights ({trained / total:.2%}), "
        "which alone travel"
    )
    if network.lora is None:
        return f"{line}."
    hit = low_rank.adapted(network.architecture, network.lora.targets)
    parts = dict.fromkeys(name.split(".", 2)[2] for name in hit)
    blocks = sorted({int(name.split(".")[1]) for name in hit})
    return (
        f"{line}: B of "
        if network.lora.train == "b"
        else f"{line}: A and B of "
    ) + (
        f"{', '.join(parts)} in {len(blocks)} of "
        f"{network.architecture.layers} blocks ({len(hit)} matrices), rank "
        f"{network.lora.rank}, scale {network.lora.scale:g}."
    )


def memory(
    architecture: Architecture,
    training: Training,
    batch: int,
    length: int,
    weight_bytes: int = 4,
) -> int:
    """Estimates the memory that one step of one client takes.

    The formula of docs/large_models.md: the weights (frozen ones once a
    process), four copies of what is trained, what each block keeps, and the
    logits that are made at once.

    Args:
      architecture: The transformer.
      training: What is trained, and how it is computed.
      batch: The number of texts in a step.
      length: The number of tokens of a text.
      weight_bytes: The bytes of a frozen weight.

    Returns:
      Bytes.
    """
    shapes = architecture.weight_shapes()
    trained = sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if training.trains(name)
    )
    still = architecture.num_parameters() - trained
    if training.lora is not None:
        hit = low_rank.adapted(architecture, training.lora.targets)
        trained += training.lora.rank * sum(map(sum, hit.values()))
    tokens = batch * length
    product_bytes = 2 if training.compute_dtype == "bfloat16" else 4
    # Queries, keys, values, mixed, gate, up and their product; residuals,
    # norms; scores and shares.
    block = tokens * (
        product_bytes
        * (
            2 * architecture.heads * architecture.head_width
            + 2 * architecture.kv_heads * architecture.head_width
            + 4 * architecture.hidden_width
        )
        + 4 * 6 * architecture.width
        + 12 * architecture.heads * length
    )
    kept = tokens * 4 * architecture.width * architecture.layers
    if training.recompute:
        kept += block
    else:
        kept += block * architecture.layers
    logits = scoring.at_once_bytes(architecture.vocabulary_size, tokens)
    return still * weight_bytes + 4 * 4 * trained + kept + logits
