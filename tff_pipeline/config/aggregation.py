"""Configures how the messages of a cohort's clients become one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# How many clients are hostile depends on the size of the cohort.
_BYZANTINE = {"byzantine_clients": None}
# Options that a name in --aggregator takes, with defaults; a name that is not
# listed takes none.
AGGREGATOR_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"clip_norm": None},
    "secure_mean": {
        "secure_mean_range": 1.0,
        "secure_mean_bits": 20,
        "secure_mean_max_weight": None,
    },
    "median": _BYZANTINE,
    "trimmed_mean": _BYZANTINE,
    "krum": _BYZANTINE,
    "multi_krum": {**_BYZANTINE, "multi_krum_clients": None},
    "bulyan": _BYZANTINE,
    "geometric_median": {
        **_BYZANTINE,
        "weiszfeld_iterations": 8,
        "weiszfeld_nu": 1e-6,
        "weiszfeld_start": "median",
    },
    "centered_clipping": {
        **_BYZANTINE,
        "centered_clip_norm": None,
        "centered_clip_iterations": 3,
    },
    "nnm": _BYZANTINE,
    "bucketing": {"bucket_size": 2},
    "clip_quantile": {"norm_quantile": 0.8},
}
# Steps on the rows of a cohort: what follows them must be of rows too.
ROW_STEPS = ("nnm", "bucketing")
# What withstands hostile clients, and so counts all clients the same unless
# --client_weighting asks for more.
ROBUST = (
    *("median", "trimmed_mean", "krum", "multi_krum", "bulyan"),
    *("geometric_median", "centered_clipping", *ROW_STEPS),
)
# Those of them that measure distances between whole messages.
BY_DISTANCE = (
    *("krum", "multi_krum", "bulyan", "geometric_median"),
    *("centered_clipping", "nnm"),
)
# Those of them that can count clients by weights.
_WEIGHTED = ("geometric_median",)
# Steps that stand on clients alone, with a norm that the server adapts.
_ON_CLIENTS = ("clip_quantile", "zeroing")
# Where the geometric median's iterations begin.
STARTS = {
    "median": "the coordinates' medians",
    "mean": "the mean",
    "zero": "zeros",
}

_GRID_BITS = fields.Allowed(
    int, "a whole number from 2 to 30", lambda v: 2 <= v <= 30
)


# Those whose server remembers something of each number of an update from round
# to round: a centre, or noise that later noise takes back.
BY_COORDINATE = (
    *("centered_clipping", "dp_tree", "dp_tree_restart", "dp_matrix"),
)
# Aggregators that compute outside of TensorFlow, in this process.
IN_PROCESS_ONLY = ("he_mean",)


def names_in_chain(chain: str) -> list[str]:
    """Splits a chain of aggregators into its names, the first step first.

    Args:
      chain: A value of --aggregator.

    Returns:
      The names of the steps, then the name of the aggregator that ends it.

    >>> names_in_chain("clip+mean")
    ['clip', 'mean']
    """
    return chain.split("+")


def _is_chain(value: str) -> bool:
    *steps, last = names_in_chain(value)
    return last in registry.AGGREGATORS and all(
        step in registry.AGGREGATOR_STEPS for step in steps
    )


class _Chain(fields.Allowed):
    """Allows an aggregator, or steps that end in one, such as clip+mean."""

    def check(self, flag: str, value: Any) -> None:
        """Checks that a value is a chain of known names.

        Args:
          flag: The flag's name, for the error.
          value: The value to check.

        Raises:
          ConfigError: If it is not.
        """
        if isinstance(value, str) and _is_chain(value):
            return
        raise errors.ConfigError(
            f"--{flag}={value}: must be one of: "
            f"{', '.join(registry.AGGREGATORS)}; before it, with + between "
            f"them, there may be: {', '.join(registry.AGGREGATOR_STEPS)}."
        )


@dataclasses.dataclass(frozen=True)
class AggregationConfig(fields.Group):
    """Options of the aggregator; those that it does not take stay `None`.

    Its fields are flags, whose help says what they mean.

    Example:
      >>> config = AggregationConfig("clip+mean", clip_norm=1.0)
      >>> config.steps, config.last
      (['clip'], 'mean')

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    name: str = fields.field(
        "mean",
        _Chain(str, "an aggregator", _is_chain, tuple(registry.AGGREGATORS)),
        "Chooses how clients' updates become one: their mean, of encrypted "
        "updates too (he_mean) or by secure sums (secure_mean); a rule that "
        "withstands hostile clients (median, trimmed_mean, krum, multi_krum, "
        "bulyan, geometric_median, centered_clipping); or a differentially "
        "private mean (dp_...). Steps may come first, such as clip+mean or "
        "nnm+krum.",
        flag="aggregator",
    )
    byzantine_clients: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Sets how many hostile clients a cohort may have, f, for aggregators "
        "that withstand some. Default: a fifth of --clients_per_round, "
        "rounded up.",
    )
    clip_norm: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest L2 norm of a client's update after the step clip, "
        "such as 1.0; longer updates are scaled down to it.",
    )
    secure_mean_range: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest size of a number in a client's update; larger ones "
        "are cut to it, and counted in the column clipped_values. Default: "
        "1.0. Only for secure_mean.",
    )
    secure_mean_bits: Optional[int] = fields.field(
        None,
        _GRID_BITS,
        "Sets how many bits each number of a client's update is rounded to. "
        "Default: 20. Only for secure_mean.",
    )
    secure_mean_max_weight: Optional[float] = fields.field(
        None,
        fields.Allowed(
            float, "above 0 and at most 1e+09", lambda v: 0 < v <= 1e9
        ),
        "Sets the largest weight of a client, such as 600 examples; those with "
        "more count as this, and in the column clipped_weights. Only for "
        "secure_mean, unless --client_weighting=uniform.",
    )
    norm_quantile: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Sets the share of updates that the step clip_quantile leaves as they "
        "are; its norm follows that of the updates. Default: 0.8.",
    )
    multi_krum_clients: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many updates multi_krum averages. Default: all that came but "
        "--byzantine_clients.",
    )
    weiszfeld_iterations: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the iterations of geometric_median. Default: 8.",
    )
    weiszfeld_nu: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the distance below which geometric_median takes a client's "
        "update as at its centre, in the unit of updates. Default: 1e-6.",
    )
    weiszfeld_start: Optional[str] = fields.field(
        None,
        fields.known(STARTS),
        "Chooses where geometric_median begins: median, mean or zero. Default: "
        "median.",
    )
    centered_clip_norm: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets tau of centered_clipping, the largest distance from its centre "
        "at which an update counts whole, in the unit of updates.",
    )
    centered_clip_iterations: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the iterations of centered_clipping in a round. Default: 3.",
    )
    bucket_size: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many clients the step bucketing averages into one. Default: "
        "2.",
    )

    @property
    def steps(self) -> Sequence[str]:
        """Names of the steps before the aggregator, in order."""
        return names_in_chain(self.name)[:-1]

    @property
    def last(self) -> str:
        """Name of the aggregator that ends the chain."""
        return names_in_chain(self.name)[-1]

    @property
    def takes(self) -> Mapping[str, Any]:
        """Options that the chain takes, with their defaults."""
        options: dict[str, Any] = {}
        for name in names_in_chain(self.name):
            options |= AGGREGATOR_OPTIONS.get(name, {})
        return options

    @property
    def robust(self) -> bool:
        """True if the chain is to withstand hostile clients."""
        return any(name in ROBUST for name in names_in_chain(self.name))

    @property
    def by_distance(self) -> bool:
        """True if the chain measures distances between whole messages."""
        return any(name in BY_DISTANCE for name in names_in_chain(self.name))

    @property
    def takes_weights(self) -> bool:
        """True if clients may count by weights of their own saying."""
        return all(
            name not in ROBUST or name in _WEIGHTED
            for name in names_in_chain(self.name)
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("name", {**AGGREGATOR_OPTIONS, self.name: self.takes})
        if "clip" in self.steps and self.clip_norm is None:
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --clip_norm, the largest L2 "
                "norm of a client's update, such as --clip_norm=1.0."
            )
        if "centered_clip_norm" in self.takes and not self.centered_clip_norm:
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --centered_clip_norm, the "
                "largest distance from the centre at which an update counts "
                "whole, such as --centered_clip_norm=1.0."
            )
        self._check_order()

    def _check_order(self) -> None:
        """Refuses steps twice, and clients' steps behind those on rows."""
        names = names_in_chain(self.name)
        for place, name in enumerate(names):
            if name in names[:place]:
                raise errors.ConfigError(
                    f"--aggregator={self.name}: {name} stands there twice; "
                    "leave one out."
                )
            if name in _ON_CLIENTS and set(names[:place]) & set(ROW_STEPS):
                raise errors.ConfigError(
                    f"--aggregator={self.name}: {name} is a step on clients, "
                    f"and {' and '.join(ROW_STEPS)} are steps at the server; "
                    f"put {name} before them."
                )

    def check_secure_mean(self, clients_per_round: int, weighting: str) -> None:
        """Refuses weights that have no bound, and sums that would not fit.

        Args:
          clients_per_round: The number of clients in a round.
          weighting: How clients are weighed, a name in `WEIGHTINGS`.

        Raises:
          ConfigError: If the options of secure_mean do not suit them.
        """
        bits, largest = self.secure_mean_bits, self.secure_mean_max_weight
        if bits is None:
            return
        if largest is None and weighting != "uniform":
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --secure_mean_max_weight "
                f"with --client_weighting={weighting}: the largest number of "
                "examples that counts, such as 600; or "
                "--client_weighting=uniform."
            )
        if largest is not None and weighting == "uniform":
            raise errors.ConfigError(
                f"--secure_mean_max_weight={largest} is not used with "
                "--client_weighting=uniform, where every client weighs 1; "
                "leave it out."
            )
        most = 2**32 // clients_per_round
        if 2**bits > most:
            raise errors.ConfigError(
                f"--secure_mean_bits={bits}: the sum of "
                f"--clients_per_round={clients_per_round} such numbers does "
                f"not fit in 32 bits; at most {most.bit_length() - 1} do."
            )
