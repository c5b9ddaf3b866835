"""Encodes a table's column of text for a pretrained encoder."""

import functools
from typing import Any, Optional

import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import pieces
from tff_pipeline.datasets.readers.column_guard import ColumnUse
from tff_pipeline.models.scaling import Scaling
from tff_pipeline.models.transformer.encoder import TextModel
from tff_pipeline.tasks import encoder
from tff_pipeline.tasks.table_contents import (
    Contents,
    complete,
    listed_labels,
)

Array = npt.NDArray[Any]


def encoded(
    contents: Contents,
    options: DataConfig,
    seed: int,
    outputs: int,
    label_scaling: Optional[Scaling],
    counted: bool,
) -> tuple[Array, dict[str, Any]]:
    """Tokenizes `--text_column`, and returns the model that reads it.

    The text goes into x and nowhere else: the tokenizer is the encoder's, and
    nothing is learned of words. The exported model takes "tokens", the ids of
    pieces, for a graph of TensorFlow cannot cut text as the tokenizer does.

    Args:
      contents: The table, whose column of text is taken.
      options: The options of the table, and in `options.model` the encoder.
      seed: The experiment's seed.
      outputs: The number of classes, or of numbers to predict.
      label_scaling: The scaling of labels that are numbers; `None` for classes.
      counted: Whether it may be told what did not fit, which is counted over
        all rows.

    Returns:
      (x, int32 [rows, sequence_length], ids filled up with the padding id;
      fields of `Task`).

    Raises:
      ConfigError: If `--init_from` is no encoder, or flags do not go with it.
      DataError: If the column holds numbers, or a cell has no text.
    """
    name = str(options.text_column)
    column = contents.table.take(name, strict=False)
    if column.categories is None:
        raise errors.DataError(
            f"The column {name!r} of {options.data_dir} holds numbers, and "
            "--text_column names text; name a column of text, or leave "
            "--text_column out to predict from numbers and categories."
        )
    complete(contents.table, column, "the text")
    pretrained = encoder.load(options.model, seed)
    # Texts that occur twice are tokenized once.
    ids, cut = pieces.sentences(
        column.categories, pretrained.tokenizer, pretrained.length
    )
    lost = cut.describe("text") if counted else ""
    words = encoder.training_words(pretrained, outputs)
    return ids[column.values], {
        **encoder.task_fields(pretrained, options.model),
        "model_fn": functools.partial(
            TextModel,
            pretrained.base,
            pretrained.training,
            outputs,
            label_scaling,
            pretrained.tokenizer.padding,
        ),
        "columns": _uses(contents, options, pretrained.base.source),
        "notes": " ".join(filter(None, (words, lost))),
    }


def _uses(
    contents: Contents, options: DataConfig, source: str
) -> list[ColumnUse]:
    """Says what becomes of each column; nothing is counted."""
    others = {
        options.client_column,
        options.split_column,
        *listed_labels(options),
    }
    uses = []
    for name in contents.table.names:
        if name == options.text_column:
            why = f"text, which {source} reads"
            uses.append(ColumnUse(name, "free text", None, None, True, why))
        elif name not in others:
            why = "--text_column is the only input; left out"
            uses.append(ColumnUse(name, "other", None, None, False, why))
    return uses
