"""How clients' updates become one, and with how much privacy."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

_DP = {
    "dp_noise_multiplier": None,
    "dp_target_epsilon": None,
    "dp_delta": None,
    "dp_accountant": None,
    "dp_max_epsilon": None,
    "dp_noise_seed": None,
    "dp_release_exact_metrics": False,
    "audit_canaries": None,
}
_FIXED = {**_DP, "dp_clip": None}
# The options that each aggregator takes, with defaults; all others refuse them.
AGGREGATOR_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "mean": {},
    "dp_gaussian": _FIXED,
    # The numbers of Andrew et al. 2021.
    "dp_gaussian_adaptive": {
        **_DP,
        "dp_initial_clip": 0.1,
        "dp_quantile": 0.5,
        "dp_clip_learning_rate": 0.2,
        "dp_count_stddev": None,
    },
    "dp_tree": _FIXED,
    "dp_tree_restart": _FIXED,
    "dp_matrix": _FIXED,
    "dp_local": _FIXED,
    "dp_distributed": {
        **{k: v for k, v in _FIXED.items() if k != "audit_canaries"},
        "dp_bits": 20,
    },
}
# Of each, the samplings that its privacy can be accounted for with, the first
# by default; all of them, and "uniform", if it is not here.
SAMPLINGS_OF: Mapping[str, tuple[str, ...]] = {
    "dp_gaussian": ("poisson", "uniform", "shuffled", "min_separation"),
    "dp_gaussian_adaptive": (
        "poisson",
        "uniform",
        "shuffled",
        "min_separation",
    ),
    "dp_tree": ("shuffled", "min_separation"),
    "dp_tree_restart": ("shuffled",),
    "dp_matrix": ("min_separation",),
    "dp_local": ("uniform", "shuffled", "min_separation"),
    # As many clients in every cohort, for each brings a share of the noise.
    "dp_distributed": ("min_separation",),
}
ACCOUNTANTS = {
    "pld": "privacy loss distribution, rounded up by less than 0.1%",
    "rdp": "Renyi divergences of 156 orders, converted by Canonne et al. 2020",
    "rdp_classic": "Renyi divergences, converted by Mironov 2017",
    "zcdp": (
        "zero-concentrated differential privacy, converted by Bun and Steinke "
        "2016"
    ),
}


@dataclasses.dataclass(frozen=True)
class AggregatorConfig(fields.Group):
    """The aggregator; options that it does not take stay `None`."""

    name: str = fields.field(
        "mean",
        fields.known(registry.AGGREGATORS),
        "How updates become one; those of dp_ are differentially private.",
        flag="aggregator",
    )
    dp_noise_multiplier: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Noise on the sum, in clips (dp_local: on an update).",
    )
    dp_target_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Or: find the noise for this epsilon after --total_rounds.",
    )
    dp_delta: Optional[float] = fields.field(
        None, fields.PROBABILITY, "Default: 1 / population^1.1."
    )
    dp_clip: Optional[float] = fields.field(
        None, fields.POSITIVE, "Largest L2 norm of a client's update."
    )
    dp_initial_clip: Optional[float] = fields.field(
        None, fields.POSITIVE, "First clip, when it adapts."
    )
    dp_quantile: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Share of clients whose update the clip should not touch.",
    )
    dp_clip_learning_rate: Optional[float] = fields.field(
        None, fields.NOT_NEGATIVE, "Rate at which the clip adapts."
    )
    dp_count_stddev: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Noise on the count of untouched clients (default: 0.05 "
        "--clients_per_round).",
    )
    dp_bits: Optional[int] = fields.field(
        None, fields.COUNT, "Of a number that a client sends (dp_distributed)."
    )
    dp_accountant: Optional[str] = fields.field(
        None,
        fields.known(ACCOUNTANTS),
        "Default: the tightest for --sampling.",
    )
    dp_max_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Stop before the round that would exceed it.",
        identity=False,
    )
    dp_noise_seed: Optional[int] = fields.field(
        None,
        fields.SEED,
        "Seed of noise and cohorts, for simulations: no privacy (default: a "
        "secret of the operating system's).",
    )
    dp_release_exact_metrics: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Write metrics of training, which are exact and not private.",
    )
    audit_canaries: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Clients added to measure what they reveal (one-shot audit).",
    )

    @property
    def private(self) -> bool:
        """Whether it is differentially private."""
        return self.name != "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("name", AGGREGATOR_OPTIONS)
        if not self.private:
            return
        if (self.dp_noise_multiplier is None) == (
            self.dp_target_epsilon is None
        ):
            raise errors.ConfigError(
                f"--aggregator={self.name} needs one of --dp_noise_multiplier "
                f"(is {self.dp_noise_multiplier}) and --dp_target_epsilon (is "
                f"{self.dp_target_epsilon})."
            )
        if "dp_clip" in AGGREGATOR_OPTIONS[self.name] and self.dp_clip is None:
            raise errors.ConfigError(
                f"--aggregator={self.name} needs --dp_clip, the largest norm "
                "of a client's update; dp_gaussian_adaptive finds one itself."
            )
