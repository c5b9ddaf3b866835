"""Encoders of a few thousand weights, with a tokenizer of WordPiece."""

import dataclasses

import numpy as np

from tests.testing import tiny_tokenizers
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import bert


def store(
    folder, pieces=tiny_tokenizers.PIECES, tokenizer=True, layers=1, **changes
):
    """Writes a base with drawn weights; returns it.

    Args:
      folder: A folder that does not exist.
      pieces: The tokenizer's pieces; the first four are special.
      tokenizer: Whether the base has it.
      layers: The number of blocks.
      **changes: Of the architecture.
    """
    architecture = dataclasses.replace(
        bert(16, layers, 4, len(pieces)), max_length=32, **changes
    )
    draw = np.random.default_rng(5)
    arrays = {}
    for name, shape in architecture.weight_shapes().items():
        values = draw.normal(scale=0.3, size=shape)
        arrays[name] = (values + name.endswith(".scale")).astype(np.float32)
    return base.store(
        str(folder),
        arrays,
        architecture,
        source="drawn",
        tokenizer=tiny_tokenizers.word_piece_content(pieces)
        if tokenizer
        else None,
        settings=base.TokenizerSettings(begin=2, end=3, padding=0),
    )
