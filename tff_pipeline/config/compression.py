"""Configures how clients' updates, and the model, become few bytes."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# Options that a compressor takes, with defaults; one that is not listed takes
# none.
COMPRESSION_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "uniform": {"bits": 4, "rotation": True},
    "qsgd": {"bits": 4, "entropy": "none"},
    "top_k": {"fraction": 0.01},
    "random_k": {"fraction": 0.01},
    "shared_random_k": {"fraction": 0.1},
    "power_sgd": {"rank": 2},
}
# Codes whose sums are codes of sums, which the server need not see one by one.
LINEAR = ("shared_random_k",)
_BYTES = {
    name: place
    for name, place in registry.COMPRESSORS.items()
    if name not in LINEAR
}
_BITS = fields.Allowed(
    int, "a whole number from 1 to 16", lambda v: 1 <= v <= 16
)
_RANK = fields.Allowed(
    int, "a whole number from 1 to 1024", lambda v: 1 <= v <= 1024
)
_PART = fields.Allowed(float, "above 0 and at most 1", lambda v: 0 < v <= 1)


def num_chosen(fraction: float, dimension: int) -> int:
    """Returns k, the number of numbers that are sent.

    >>> num_chosen(0.01, 7850), num_chosen(0.01, 50)
    (79, 1)

    Args:
      fraction: The share of all numbers, above 0 and at most 1.
      dimension: The number of all numbers.
    """
    return max(1, math.ceil(fraction * dimension))


@dataclasses.dataclass(frozen=True)
class CompressionConfig(fields.Group):
    """Options of compression; those that no chosen code takes stay `None`.

    Its fields are flags, whose help says what they mean.

    Example:
      >>> CompressionConfig("uniform").bits
      4

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    name: Optional[str] = fields.field(
        None,
        fields.known(registry.COMPRESSORS),
        "Chooses how a client's update becomes few bytes: uniform (random "
        "rounding to levels), qsgd, drive (signs after a rotation); with "
        "error feedback top_k, random_k, ef_sign and power_sgd; for secure "
        "sums too shared_random_k (the same random numbers of all clients). "
        "Default: numbers of 4 bytes.",
        flag="compression",
    )
    down: Optional[str] = fields.field(
        None,
        fields.known(_BYTES),
        "Chooses how the model becomes few bytes on its way to clients that "
        "hold the one sent before; the others receive it whole. The names are "
        "those of --compression, but for shared_random_k.",
        flag="compression_down",
    )
    bits: Optional[int] = fields.field(
        None,
        _BITS,
        "Sets the bits of a number. Default: 4. Only for uniform and qsgd.",
        flag="compression_bits",
    )
    rotation: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Rotates blocks of 4096 numbers at random before they are rounded, so "
        "that few bits lose less. Default: true. Only for uniform.",
        flag="compression_rotation",
    )
    entropy: Optional[str] = fields.field(
        None,
        fields.known({"none": "", "elias_gamma": ""}),
        "Chooses how levels become bits: none (as many for each) or "
        "elias_gamma, fewer for small ones, which most are; it takes the extra "
        "compression. Default: none. Only for qsgd.",
        flag="compression_entropy",
    )
    fraction: Optional[float] = fields.field(
        None,
        _PART,
        "Sets the share of all numbers that is sent, over all layers, at least "
        "one number. Default: 0.01, of shared_random_k 0.1. Only for these, "
        "top_k and random_k.",
        flag="compression_fraction",
    )
    rank: Optional[int] = fields.field(
        None,
        _RANK,
        "Sets the rank of the product that is sent for each matrix. Default: "
        "2. Only for power_sgd.",
        flag="compression_rank",
    )

    @property
    def linear(self) -> bool:
        """True if sums of what clients send are of use as they are."""
        return self.name in LINEAR

    def numbers_sent(self, dimension: int) -> int:
        """Returns how many numbers an aggregator has of an update.

        Args:
          dimension: The number of numbers in an update.

        >>> CompressionConfig("shared_random_k").numbers_sent(7850)
        785
        """
        if not self.linear:
            return dimension
        assert self.fraction is not None  # Settled.
        return num_chosen(self.fraction, dimension)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the codes that are used, up and down."""
        return tuple(name for name in (self.name, self.down) if name)

    def __post_init__(self) -> None:
        super().__post_init__()
        options: dict[str, Any] = {}
        for name in self.chosen:
            options |= COMPRESSION_OPTIONS.get(name, {})
        flag = (
            "compression"
            if self.name or not self.down
            else ("compression_down")
        )
        shown = self.name or self.down or "none"
        self.settle_options(
            flag, shown, {**COMPRESSION_OPTIONS, shown: options}
        )
        if "qsgd" in self.chosen and self.bits == 1:
            raise errors.ConfigError(
                "--compression_bits=1 is not used with qsgd, of whose bits one "
                "is the sign; give 2 or more, or choose drive or ef_sign, "
                "which send the sign alone."
            )
