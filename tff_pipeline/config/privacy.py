"""Configures differential privacy of clients: noise, clip, budget, audit."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

# Private aggregator -> its mechanism, as the accountant calls it.
MECHANISM_OF: Mapping[str, str] = {
    "dp_gaussian": "gaussian",
    "dp_gaussian_adaptive": "gaussian",
    "dp_tree": "tree",
    "dp_tree_restart": "tree_restart",
    "dp_matrix": "matrix",
    "dp_local": "local",
    "dp_distributed": "distributed",
}
# The mechanism of dp_gaussian with --dp_secure_noise.
DISCRETE_GAUSSIAN = "discrete_gaussian"
# Mechanism -> the samplings that its privacy can be accounted for with, the
# one to take by default first.
SAMPLINGS_OF: Mapping[str, tuple[str, ...]] = {
    "gaussian": ("poisson", "uniform", "shuffled", "min_separation"),
    # What is proven of a fixed number of clients is of the continuous one.
    DISCRETE_GAUSSIAN: ("poisson", "shuffled", "min_separation"),
    "tree": ("shuffled", "min_separation"),
    "tree_restart": ("shuffled",),
    "matrix": ("min_separation",),
    "local": ("uniform", "shuffled", "min_separation"),
    # As many clients in every cohort, for each brings a share of the noise.
    "distributed": ("min_separation",),
}
_ALL = {
    "dp_noise_multiplier": None,
    "dp_target_epsilon": None,
    "dp_delta": None,
    "dp_allow_large_delta": False,
    "dp_accountant": None,
    "dp_max_epsilon": None,
    "dp_noise_seed": None,
    "dp_release_exact_metrics": False,
    "audit_canaries": None,
}
_FIXED_CLIP = {**_ALL, "dp_clip": None}
# The options that each private aggregator takes, with defaults; all other
# aggregators refuse them.
PRIVACY_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "dp_gaussian": {**_FIXED_CLIP, "dp_secure_noise": False},
    # The numbers of Andrew et al. 2021.
    "dp_gaussian_adaptive": {
        **_ALL,
        "dp_initial_clip": 0.1,
        "dp_quantile": 0.5,
        "dp_clip_learning_rate": 0.2,
        "dp_count_stddev": None,
    },
    "dp_tree": _FIXED_CLIP,
    "dp_tree_restart": _FIXED_CLIP,
    "dp_matrix": _FIXED_CLIP,
    "dp_local": _FIXED_CLIP,
    "dp_distributed": {
        **{k: v for k, v in _FIXED_CLIP.items() if k != "audit_canaries"},
        "dp_bits": 20,
    },
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
class PrivacyConfig(fields.Group):
    """Options of private aggregators; those that are not taken stay `None`.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed.
    """

    dp_noise_multiplier: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets the standard deviation of the noise on the sum of a round's "
        "updates, as a multiple of the clip, such as 1.0; with dp_local, of"
        " the noise on each update. Or set --dp_target_epsilon.",
    )
    dp_target_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Computes the noise multiplier for which epsilon is this after "
        "--total_rounds, such as 8. Or set --dp_noise_multiplier.",
    )
    dp_delta: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Sets the probability with which the guarantee of epsilon may fail."
        " Default: 1 / population^1.1, where that is at most 0.01.",
    )
    dp_allow_large_delta: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Takes a delta of 1 / population or more, or above 0.01, for "
        "simulations; the run is then never called private. Also for "
        "--client_dp_delta, whose population are all examples.",
    )
    dp_clip: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest L2 norm of a client's update; longer updates are "
        "scaled down to it.",
    )
    dp_initial_clip: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the clip of the first round, from which it adapts. Default: "
        "0.1. Only for dp_gaussian_adaptive.",
    )
    dp_quantile: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Sets the share of clients whose updates should be shorter than the"
        " clip. Default: 0.5. Only for dp_gaussian_adaptive.",
    )
    dp_clip_learning_rate: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets how fast the clip adapts: it is multiplied by at most the "
        "exponential of this in a round. Default: 0.2. Only for "
        "dp_gaussian_adaptive.",
    )
    dp_count_stddev: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the standard deviation of the noise on the number of clients "
        "whose updates are shorter than the clip. Default: 0.05 times "
        "--clients_per_round. Only for dp_gaussian_adaptive.",
    )
    dp_bits: Optional[int] = fields.field(
        None,
        fields.BITS,
        "Sets how many bits each number of an update takes. Default: 20. "
        "Only for dp_distributed.",
    )
    dp_secure_noise: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Adds up integers and draws their noise exactly, from a cryptographic "
        "generator, so that privacy rests on no rounding of floating-point "
        "numbers. Only for dp_gaussian.",
    )
    dp_accountant: Optional[str] = fields.field(
        None,
        fields.known(ACCOUNTANTS),
        "Chooses how epsilon is computed. Default: the one that gives the "
        "smallest epsilon for --sampling.",
    )
    dp_max_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Stops training before the round after which epsilon would be "
        "larger than this. Default: no limit.",
        identity=False,
    )
    dp_noise_seed: Optional[int] = fields.field(
        None,
        fields.SEED,
        "Seeds the noise and the cohorts, for simulations: whoever knows "
        "the seed can remove the noise, so that there is no privacy. "
        "Default: a secret drawn by the operating system.",
    )
    dp_release_exact_metrics: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Writes training's loss, metrics and counts to metrics.csv, "
        "although they are exact and not private.",
    )
    audit_canaries: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Adds this many made-up clients to the cohorts, to measure how much"
        " a private model reveals of who took part (one-shot audit). "
        "Default: none.",
    )

    def mechanism(self, aggregator: str) -> str:
        """Returns the name of a private aggregator's mechanism.

        Args:
          aggregator: A key of `MECHANISM_OF`.
        """
        if self.dp_secure_noise:
            return DISCRETE_GAUSSIAN
        return MECHANISM_OF[aggregator]

    def settle_for(self, aggregator: str, examples: bool = False) -> None:
        """Fills in the options of `aggregator` and refuses all others.

        Args:
          aggregator: A name in `registry.AGGREGATORS`, private or not.
          examples: Whether clients protect single examples, whose delta may be
            too large as well.

        Raises:
          ConfigError: If an option is set that `aggregator` does not take, or
            one that it needs is missing.
        """
        table = dict(PRIVACY_OPTIONS)
        if examples:
            table.setdefault(aggregator, {"dp_allow_large_delta": False})
        self.settle_options("aggregator", aggregator, table)
        if aggregator not in PRIVACY_OPTIONS:
            return
        if (self.dp_noise_multiplier is None) == (
            self.dp_target_epsilon is None
        ):
            raise errors.ConfigError(
                f"--aggregator={aggregator} needs one of --dp_noise_multiplier "
                f"(is {self.dp_noise_multiplier}) and --dp_target_epsilon (is "
                f"{self.dp_target_epsilon})."
            )
        if "dp_clip" in PRIVACY_OPTIONS[aggregator] and self.dp_clip is None:
            raise errors.ConfigError(
                f"--aggregator={aggregator} needs --dp_clip, the largest norm "
                "of a client's update; dp_gaussian_adaptive finds one itself."
            )
