"""Builds language models: what trains of a transformer, and token scores."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.models import frozen
from tff_pipeline.models.transformer import lora as low_rank
from tff_pipeline.models.transformer import scoring
from tff_pipeline.models.transformer.adapter import Adapter
from tff_pipeline.models.transformer.adapter import merged as adapter_merged
from tff_pipeline.models.transformer.architecture import (
    Architecture,
    split_name,
)
from tff_pipeline.models.transformer.base import LAYER, PREFIX, Base, Stacked
from tff_pipeline.models.transformer.lora import Lora
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.runtime import compat

# The weights that each choice of `--trainable` trains of the base.
_TRAINS: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "bitfit": lambda name: name.endswith(".bias"),
    "head": lambda name: name.startswith("head."),
    "lora": lambda name: False,
    "none": lambda name: False,
}


@dataclasses.dataclass(frozen=True)
class Training:
    """Settings of what is trained, and how it is computed.

    Attributes:
      trainable: "all", "bitfit" (biases alone, Ben Zaken et al. 2022), "head"
        (the matrix of the logits), "lora", or "none" for a model that is only
        used.
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
      ConfigError: If `training.lora` hits no matrix.
    """
    arrays = {} if base is None else base.weights.arrays
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
        if base is not None and frozen_arrays:
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
    elif training.trainable != "none" and not any(
        map(training.trains, architecture.weight_shapes())
    ):
        why = {
            "head": "its logits' matrix is its token embedding",
            "bitfit": "its matrices have no biases",
        }[training.trainable]
        raise errors.ConfigError(
            f"--trainable={training.trainable} trains nothing of this model, "
            f"for {why}; choose lora or all."
        )


class LanguageModel(tf.keras.Model):
    """A model that scores the tokens of texts.

    It has no graph of its own, which would take seconds to draw at each of the
    places that build a model.

    Attributes:
      transformer: The transformer.
    """

    def __init__(
        self,
        architecture: Architecture,
        training: Training,
        base: Optional[Base] = None,
        network: Optional[Transformer] = None,
    ):
        """Makes the model with its weights.

        Args:
          architecture: A decoder.
          training: What is trained.
          base: The pretrained weights; `None` to begin with drawn ones.
          network: The transformer of these, if it is made already.

        Raises:
          ConfigError: If nothing of the architecture would be trained.
        """
        super().__init__(name="language_model")
        if network is None:
            check(architecture, training)
            network = transformer(architecture, training, base)
        self.transformer = network
        self.built = True

    @compat.plain
    def call(self, inputs: tf.Tensor, training: Any = False) -> tf.Tensor:
        """Scores every token of texts after the first.

        Args:
          inputs: Ids, int32 [batch, length + 1].
          training: True while the model is trained.

        Returns:
          float32 [batch, length, 2]: the cross-entropy in nats, and 1 where
          the token was the likeliest, else 0.
        """
        hidden = self.transformer(inputs[:, :-1], training=training)
        targets = inputs[:, 1:]
        shape = tf.shape(targets)
        scores = scoring.token_scores(
            tf.reshape(hidden, [-1, hidden.shape[-1]]),
            tf.reshape(targets, [-1]),
            self.transformer.table,
            with_gradient=bool(training),
            table_trains=self.transformer.table_trains,
        )
        return tf.reshape(scores, [shape[0], shape[1], 2])


def adapter_of(model: tf.keras.Model, base: Base) -> Adapter:
    """Takes the adapter out of a trained model.

    Args:
      model: A model that trains by low-rank adaptation; its `transformer` does.
      base: Its base.
    """
    network = model.transformer
    lora = network.lora
    assert lora is not None
    return Adapter(
        rank=lora.rank,
        alpha=lora.alpha,
        modules={name: network.factors(name) for name in network.adapted_names},
        base_sha256=base.weights.sha256,
        base_source=base.source,
        dropout=lora.dropout,
    )


def merged(model: LanguageModel, base: Base) -> LanguageModel:
    """Adds the adapter of a trained model to its base.

    Args:
      model: A model that trains by low-rank adaptation.
      base: Its base.

    Returns:
      A model without an adapter, whose weights, of the base's dtype, are its
      own and none of which trains; see `adapter.merged`.
    """
    architecture, training = base.architecture, Training("none")
    weights = Stacked(
        adapter_merged(base.arrays(), adapter_of(model, base)), architecture
    )
    network = Transformer(
        architecture,
        trains=training.trains,
        weight_dtypes={
            name[len(PREFIX) :]: array.dtype
            for name, array in base.weights.arrays.items()
        },
        initial={
            name[len(PREFIX) :]: functools.partial(_constant, weights, name)
            for name in weights
        },
        compute_dtype=model.transformer.products.name,
    )
    _build(network)
    return LanguageModel(architecture, training, network=network)


def _constant(weights: Mapping[str, Any], name: str) -> tf.Tensor:
    return tf.constant(weights[name])


def factor_places(
    architecture: Architecture, training: Training
) -> list[tuple[int, int]]:
    """Lists the places of factors among the trainable weights.

    Args:
      architecture: The transformer.
      training: What is trained.

    Returns:
      (place of A, place of B) of each kind of adapted matrix, whose factors
      [blocks, ...] are of all blocks; empty unless both train.
    """
    lora = training.lora
    if lora is None or lora.train == "b":
        return []
    # In the order in which the transformer makes them, all blocks in one.
    hit = low_rank.adapted(architecture, lora.targets)
    stacks = {split_name(name)[1] for name in hit}
    return [(2 * number, 2 * number + 1) for number in range(len(stacks))]
