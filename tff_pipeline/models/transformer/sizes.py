"""Counts what of a transformer trains, and the memory that this takes."""

import math

from tff_pipeline.models.transformer import lora as low_rank
from tff_pipeline.models.transformer import scoring
from tff_pipeline.models.transformer.architecture import Architecture
from tff_pipeline.models.transformer.language_model import Training


def in_words(
    architecture: Architecture, training: Training, on_top: int = 0
) -> str:
    """Says what of a transformer is trained and travels.

    Args:
      architecture: The transformer.
      training: What is trained.
      on_top: The number of weights of a new layer on top, which train too.

    Returns:
      A sentence.

    >>> from tff_pipeline.models.transformer.architecture import smollm2_135m
    >>> in_words(smollm2_135m(), Training("lora", low_rank.Lora()))[:47]
    'Trains 460,800 of 134,975,808 weights (0.34%), '
    """
    trained, total = (
        number + on_top for number in count(architecture, training)
    )
    line = (
        f"Trains {trained:,} of {total:,} weights ({trained / total:.2%}), "
        "which alone travel"
    )
    if on_top:
        line += f", {on_top:,} of them of a new last layer"
    lora = training.lora
    if lora is None:
        return f"{line}."
    hit = low_rank.adapted(architecture, lora.targets)
    parts = dict.fromkeys(name.split(".", 2)[2] for name in hit)
    blocks = {name.split(".")[1] for name in hit}
    factors = "B" if lora.train == "b" else "A and B"
    return (
        f"{line}: {factors} of {', '.join(parts)} in {len(blocks)} of "
        f"{architecture.layers} blocks ({len(hit)} matrices), rank "
        f"{lora.rank}, scale {lora.scale:g}."
    )


def count(architecture: Architecture, training: Training) -> tuple[int, int]:
    """Counts weights.

    Args:
      architecture: The transformer.
      training: What is trained.

    Returns:
      (those that train, all with the adapter's).
    """
    shapes = architecture.weight_shapes()
    trained = sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if training.trains(name)
    )
    adapter = 0
    if training.lora is not None:
        hit = low_rank.adapted(architecture, training.lora.targets)
        outputs = sum(shape[0] for shape in hit.values())
        inputs = sum(shape[1] for shape in hit.values())
        # A that is drawn is no weight.
        adapter = outputs + (0 if training.lora.train == "b" else inputs)
        adapter *= training.lora.rank
    return trained + adapter, architecture.num_parameters() + adapter


def memory(
    architecture: Architecture,
    training: Training,
    batch: int,
    length: int,
    weight_bytes: int = 4,
) -> tuple[int, int]:
    """Estimates the memory of training.

    The formula of docs/large_models.md: the frozen weights once a process; for
    each client that trains four copies of what is trained, what each block
    keeps, and the logits that are made at once. New last layers are too few
    numbers to count.

    Args:
      architecture: The transformer.
      training: What is trained, and how it is computed.
      batch: The number of texts in a step.
      length: The number of tokens of a text.
      weight_bytes: The bytes of a frozen weight.

    Returns:
      (bytes that a process takes once, bytes of each client that trains).
    """
    trained, total = count(architecture, training)
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
    logits = 0
    # An encoder makes none of its vocabulary.
    if architecture.kind == "decoder":
        logits = scoring.at_once_bytes(architecture.vocabulary_size, tokens)
    return (total - trained) * weight_bytes, 4 * 4 * trained + kept + logits
