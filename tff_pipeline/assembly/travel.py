"""Describes, in words, what reaches a client and what leaves it."""

from tff_pipeline.algorithms.algorithm import Algorithm
from tff_pipeline.assembly.process import model_code
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.secure_aggregation import SecureAggregationConfig


def what_travels(built: Algorithm, config: ExperimentConfig) -> list[str]:
    """Describes all that leaves or reaches a client in a round.

    Args:
      built: The algorithm.
      config: The experiment.

    Returns:
      A line each; one, unless the model travels as bytes.
    """
    leaves = what_leaves_a_client(built, config.secure_aggregation)
    return list(filter(None, [leaves, what_reaches_a_client(config)]))


def what_reaches_a_client(config: ExperimentConfig) -> str:
    """Describes how the model travels to clients, if not whole.

    Args:
      config: The experiment.

    Returns:
      One line; empty without `--compression_down` and `--prune_to`.
    """
    if config.pruning.to is not None:
        return (
            "What reaches a client: the weights that are not pruned, as "
            "float32, after a bit for each weight that tells which these are"
        )
    code = model_code(config)
    if code is None:
        return ""
    return (
        "What reaches a client: what the model is ahead of the one sent "
        f"before, as bytes, {code.compressor.describe()}; the whole model, if "
        "the client was not in the round before"
    )


def what_leaves_a_client(
    built: Algorithm, secure: SecureAggregationConfig
) -> str:
    """Describes, step by step, what leaves a client in a round.

    Args:
      built: The algorithm.
      secure: The options of the protocol that carries out secure sums.

    Returns:
      One line, such as "What leaves a client: the model delta and its weight
      (220,844 bytes), 1. clipped to 0.5, with noise of standard deviation 0.5".
    """
    line = "What leaves a client: the model delta and its weight"
    encoded = (
        any(hook.encodes for hook in built.hooks)
        or built.aggregation.sent_bytes is not None
    )
    if built.bytes_up is not None and not encoded:
        line += f" ({built.bytes_up:,} bytes)"
    steps = [hook.describe() for hook in built.hooks]
    steps.append(built.aggregation.describe)
    if built.aggregation.secure:
        steps.append(
            "added in the open, which shows the server each client's "
            "(--secure_aggregation=plain)"
            if secure.is_plain
            else "masked, with its metrics and counts, so that the server "
            "learns no more than sums over the round's clients "
            f"(--secure_aggregation={secure.protocol})"
        )
    steps = list(filter(None, steps))
    line += "".join(
        f", {number}. {step}" for number, step in enumerate(steps, 1)
    )
    if built.bytes_up is not None and encoded:
        line += f" (about {built.bytes_up:,} bytes)"
    return line
