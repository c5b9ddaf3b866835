"""Low-rank adaptation of a transformer's matrices (Hu et al. 2021).

The matrix W [out, in] of a block becomes W + alpha / rank * B A with A [rank,
in] and B [out, rank]. A begins at random, uniform within 1 / sqrt(in) of 0 as
in PEFT, and B at 0, so that the model begins as it was.

With `train="b"` A stays as it was drawn: it is a function of the seed, so every
client can draw it and it never travels, and the mean of the clients' B is
exactly the mean of their products B A (FFA-LoRA, Sun et al. 2024).
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness
from tff_pipeline.config.model import LORA_TARGETS
from tff_pipeline.models.transformer.architecture import Architecture, Shape

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Lora:
    """Settings of low-rank adaptation.

    Attributes:
      rank: The rank of the change of a matrix, r.
      alpha: The change is scaled by alpha / r.
      dropout: The share of a matrix's inputs that the adapter does not see in
        training.
      targets: A regular expression that the last part of a matrix's name must
        match as a whole, such as "query|value"; or the whole name.
      train: "ab" trains both factors, "b" only B.
      seed: The seed that A is drawn from.
      start: Name of a matrix -> (A, B), the factors to begin with in place of
        drawn ones; it must have all matrices that are hit.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str = LORA_TARGETS
    train: str = "ab"
    seed: int = 0
    start: Optional[Mapping[str, tuple[Array, Array]]] = None

    @property
    def scale(self) -> float:
        """The factor on the product of the two matrices."""
        return self.alpha / self.rank

    def factors(self, name: str, shape: Shape) -> tuple[Array, Array]:
        """Returns the factors that a matrix begins with.

        Args:
          name: The name of the matrix.
          shape: Its shape, [out, in].

        Returns:
          (A, B), float32 [rank, in] and [out, rank].

        Raises:
          DataError: If `start` has others.
        """
        outputs, inputs = shape
        if self.start is None:
            draw = randomness.generator(self.seed, "lora", *_numbers(name))
            bound = inputs**-0.5
            a = draw.uniform(-bound, bound, [self.rank, inputs])
            return a.astype(np.float32), np.zeros(
                [outputs, self.rank], np.float32
            )
        if name not in self.start:
            raise errors.DataError(
                f"--lora_targets={self.targets} hits {name}, which the adapter "
                f"has not; it has {', '.join(list(self.start)[:5])}."
            )
        a, b = self.start[name]
        if a.shape != (self.rank, inputs) or b.shape != (outputs, self.rank):
            raise errors.DataError(
                f"The adapter's factors of {name} have the shapes {a.shape} "
                f"and {b.shape}; {(self.rank, inputs)} and "
                f"{(outputs, self.rank)} fit the base and --lora_rank="
                f"{self.rank}."
            )
        return a.astype(np.float32), b.astype(np.float32)


def _numbers(name: str) -> Sequence[int]:
    """Returns a name as numbers, for a generator's purpose."""
    return tuple(name.encode())


def adapted(architecture: Architecture, targets: str) -> dict[str, Shape]:
    """Lists the matrices that a pattern hits.

    Args:
      architecture: The transformer.
      targets: See `Lora.targets`.

    Returns:
      Name of a matrix, such as "blocks.0.attention.query" -> [out, in], in the
      order of the model.

    Raises:
      ConfigError: If the pattern is no regular expression, or hits nothing.

    >>> from tff_pipeline.models.transformer.architecture import gpt2_small
    >>> len(adapted(gpt2_small(), "query_key_value|output"))
    24
    """
    try:
        pattern = re.compile(targets)
    except re.error as error:
        raise errors.ConfigError(
            f"--lora_targets={targets} is no regular expression ({error}); "
            "name matrices with | between them, such as query|value."
        ) from None
    hit = {
        name: shape
        for block in range(architecture.layers)
        for part, shape in architecture.matrices.items()
        for name in [f"blocks.{block}.{part}"]
        if pattern.fullmatch(part.rpartition(".")[2]) or pattern.fullmatch(name)
    }
    if not hit:
        parts = [name.rpartition(".")[2] for name in architecture.matrices]
        raise errors.ConfigError(
            f"--lora_targets={targets} hits no matrix of the model; its blocks "
            f"have {', '.join(parts)}."
        )
    return hit
