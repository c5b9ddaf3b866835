"""What the tasks of encoders share: base, lengths, training, serving."""

import dataclasses
import functools
from typing import Any

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.transformer import encoder, sizes
from tff_pipeline.models.transformer import language_model as models
from tff_pipeline.models.transformer.base import Base
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.tasks import language_model

# One token between those that begin and end a text.
_LEAST_LENGTH = 3
# Tokens that are evaluated at once: scores of 12 heads among 128 take 6 KB of
# each, its vectors as much again.
_MOST_AT_ONCE = 8_192


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, and what is to become of it.

    Attributes:
      base: The encoder, without its pooler.
      tokenizer: Its tokenizer.
      training: What of it trains.
      length: The largest number of tokens of a text.
    """

    base: Base
    tokenizer: Tokenizer
    training: Training
    length: int


def load(options: ModelConfig, seed: int) -> Pretrained:
    """Opens the encoder of `--init_from`.

    Args:
      options: The options of the model.
      seed: The experiment's seed, which LoRA's factor A is drawn from.

    Raises:
      ConfigError: If it is no encoder, its package is not installed, or texts
        are to have more tokens than it has positions, or fewer than three.
      DataError: If it is damaged, or has no tokenizer.
    """
    base = encoder.without_pooler(language_model.base_of(options, "encoder"))
    length = language_model.length_of(options, base.architecture)
    if length < _LEAST_LENGTH:
        raise errors.ConfigError(
            f"--sequence_length={length} leaves no room for a text between "
            "the tokens that begin and end it; give at least "
            f"{_LEAST_LENGTH}."
        )
    return Pretrained(
        base,
        language_model.tokenizer_of(base),
        language_model.training_of(options, seed, base),
        length,
    )


def task_fields(pretrained: Pretrained, options: ModelConfig) -> dict[str, Any]:
    """Returns the fields of `Task` that tasks of encoders share.

    A trained model is exported whole, beside its adapter, for what serves it
    needs the last layer too.

    Args:
      pretrained: The encoder.
      options: The options of the model.
    """
    base, training = pretrained.base, pretrained.training
    adapter_fn = None
    if training.lora is not None:
        adapter_fn = functools.partial(encoder.adapter_of, base=base)
    return {
        "base": base,
        "adapter_fn": adapter_fn,
        "input_name": "tokens",
        "serving_fn": serving_model,
        "most_at_once": max(1, _MOST_AT_ONCE // pretrained.length),
        "memory_fn": lambda batch: sizes.memory(
            base.architecture,
            training,
            batch,
            pretrained.length,
            2 if options.base_dtype == "bfloat16" else 4,
        ),
        "factor_places": models.factor_places(base.architecture, training),
        "begins_with": language_model.begins_with(options, base),
    }


def training_words(pretrained: Pretrained, outputs: int) -> str:
    """Says what trains and travels.

    Args:
      pretrained: The encoder.
      outputs: The number of outputs of the last layer.

    Returns:
      A sentence.
    """
    architecture = pretrained.base.architecture
    return sizes.in_words(
        architecture,
        pretrained.training,
        encoder.head_parameters(architecture, outputs),
    )


def serving_model(model: tf.keras.Model) -> tf.keras.Model:
    """Makes a model from "tokens", int32 [batch, length], to the outputs.

    Args:
      model: A trained encoder.
    """
    ids = tf.keras.Input([None], dtype="int32", name="tokens")
    return tf.keras.Model(ids, model(ids))
