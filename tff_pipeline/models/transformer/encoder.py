"""Builds models that tag tokens or classify texts with a pretrained encoder.

Devlin et al. 2019, "BERT", section 4: a new linear layer on what the encoder's
last block gives, of every token or of the whole text.
"""

import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline.models import crf
from tff_pipeline.models.scaling import Scaling
from tff_pipeline.models.transformer import language_model
from tff_pipeline.models.transformer.adapter import Adapter
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import PREFIX, Base
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.runtime import compat

# The share of numbers that the last layer does not see in training, as in
# BERT's fine-tuning.
_DROPOUT = 0.1


def without_pooler(base: Base) -> Base:
    """Leaves out BERT's layer over the first token, which is not used here.

    Args:
      base: The pretrained encoder.

    Returns:
      The same encoder; its SHA-256 is that of the whole.
    """
    pooler = f"{PREFIX}pooler."
    arrays = {
        name: array
        for name, array in base.weights.arrays.items()
        if not name.startswith(pooler)
    }
    return dataclasses.replace(
        base,
        weights=dataclasses.replace(base.weights, arrays=arrays),
        architecture=dataclasses.replace(base.architecture, pooler=False),
    )


class _Encoder(tf.keras.Model):
    """An encoder with a new last layer, which always trains.

    It has no graph of its own, as `language_model.LanguageModel`.

    Attributes:
      transformer: The transformer.
      head: The last layer.
    """

    def __init__(
        self,
        base: Base,
        training: Training,
        outputs: int,
        padding: int = 0,
        dropout: float = _DROPOUT,
    ):
        """Makes the model with its weights.

        Args:
          base: The pretrained encoder, without a pooler.
          training: What of it is trained; "head" trains the last layer alone.
          outputs: The number of outputs of the last layer.
          padding: The id of places without a token.
          dropout: The share of numbers that the last layer does not see in
            training, 0 to 1.

        Raises:
          ConfigError: If `training.lora` hits no matrix.
        """
        super().__init__(name="encoder")
        architecture = base.architecture
        self.transformer = language_model.transformer(
            architecture, training, base, padding
        )
        self._padding = padding
        self._dropout = tf.keras.layers.Dropout(dropout)
        self.head = tf.keras.layers.Dense(outputs, name="head")
        # Named after the layer, as when it is called.
        with tf.name_scope("head"):
            self.head.build([None, architecture.width])
        self.built = True

    def _through(
        self, ids: tf.Tensor, training: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the hidden states of all places up to the last token.

        Args:
          ids: int32 [batch, length].
          training: True while the model is trained.

        Returns:
          (float32 [batch, longest, width], hidden states; bool [batch,
          longest], whether there is a token), of the batch's longest text.
        """
        # In TFF's graphs != of tensors compares objects.
        there = tf.not_equal(ids, self._padding)
        ends = tf.where(there, tf.range(1, tf.shape(ids)[1] + 1), 1)
        longest = tf.reduce_max(ends)
        hidden = self.transformer(ids[:, :longest], training=training)
        return hidden, there[:, :longest]


class TokenTagger(_Encoder):
    """An encoder that scores the tags of tokens.

    Tag 0 is certain where there is no token, and impossible elsewhere.
    """

    @compat.plain
    def call(self, inputs: tf.Tensor, training: Any = False) -> tf.Tensor:
        """Scores the tags of all tokens.

        Args:
          inputs: Ids, int32 [batch, length].
          training: True while the model is trained.

        Returns:
          Logits, float32 [batch, length, tags].
        """
        hidden, there = self._through(inputs, training)
        scores = self.head(self._dropout(hidden, training=training))
        more = [[0, 0], [0, tf.shape(inputs)[1] - tf.shape(scores)[1]]]
        is_padding = np.arange(scores.shape[-1]) == 0
        nothing = np.where(is_padding, 0, crf.IMPOSSIBLE).astype(np.float32)
        return tf.where(
            tf.pad(there, more)[..., tf.newaxis],
            tf.where(
                is_padding, crf.IMPOSSIBLE, tf.pad(scores, [*more, [0, 0]])
            ),
            nothing,
        )


class TextModel(_Encoder):
    """An encoder that scores the classes of texts, or predicts their numbers.

    The last layer sees the mean of a text's hidden states, for which sentence
    encoders are trained (Reimers and Gurevych 2019, section 3).
    """

    def __init__(
        self,
        base: Base,
        training: Training,
        outputs: int,
        label_scaling: Optional[Scaling] = None,
        padding: int = 0,
        dropout: float = _DROPOUT,
    ):
        """Makes the model with its weights.

        Args:
          base: The pretrained encoder, without a pooler.
          training: What of it is trained; "head" trains the last layer alone.
          outputs: The number of classes, or of predicted numbers.
          label_scaling: What the last layer's numbers are scaled to, one an
            output; `None` for logits.
          padding: The id of places without a token.
          dropout: The share of numbers that the last layer does not see in
            training, 0 to 1.

        Raises:
          ConfigError: If `training.lora` hits no matrix.
        """
        super().__init__(base, training, outputs, padding, dropout)
        self._scaling = None
        if label_scaling is not None:
            self._scaling = tf.keras.layers.Rescaling(
                label_scaling.deviation, label_scaling.mean
            )

    @compat.plain
    def call(self, inputs: tf.Tensor, training: Any = False) -> tf.Tensor:
        """Scores texts.

        Args:
          inputs: Ids, int32 [batch, length].
          training: True while the model is trained.

        Returns:
          Logits or numbers, float32 [batch, outputs].
        """
        hidden, there = self._through(inputs, training)
        counts = tf.cast(there, tf.float32)[..., tf.newaxis]
        mean = tf.math.divide_no_nan(
            tf.reduce_sum(hidden * counts, axis=1),
            tf.reduce_sum(counts, axis=1),
        )
        output = self.head(self._dropout(mean, training=training))
        return output if self._scaling is None else self._scaling(output)


def adapter_of(model: _Encoder, base: Base) -> Adapter:
    """Takes the adapter and the last layer out of a trained model.

    Args:
      model: A model that trains by low-rank adaptation.
      base: Its base.
    """
    kernel, bias = model.head.get_weights()
    return dataclasses.replace(
        language_model.adapter_of(model, base), head=(kernel.T, bias)
    )


def head_parameters(architecture: Architecture, outputs: int) -> int:
    """Counts the weights of the last layer.

    Args:
      architecture: The encoder.
      outputs: The number of outputs of the last layer.

    >>> from tff_pipeline.models.transformer.architecture import bert
    >>> head_parameters(bert(384, 6, 12), 8)
    3080
    """
    return outputs * (architecture.width + 1)
