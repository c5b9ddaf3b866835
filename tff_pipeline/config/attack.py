"""Configures the attack of clients that are hostile, and who they are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# The share of all clients that attack, where nobody says who does.
DEFAULT_FRACTION = 0.2
# Options that an attack takes, with defaults; an attack that is not listed
# takes none.
ATTACK_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "sign_flip_own": {"attack_scale": 1.0},
    "sign_flip_mean": {"attack_scale": 1.0},
    # As many times as there are clients in a cohort; known at assembly.
    "scale": {"attack_scale": None},
    "gaussian": {"attack_scale": 10.0},
    # The paper's z, from the numbers of clients and of attackers.
    "alie": {"attack_scale": None},
    "ipm": {"attack_scale": 0.1},
    "backdoor": {"attack_scale": 1.0, "attack_target": 0},
}


@dataclasses.dataclass(frozen=True)
class AttackConfig(fields.Group):
    """Options of an attack; without `name` no client is hostile.

    Its fields are flags, whose help says what they mean.

    Example:
      >>> AttackConfig("ipm").attack_fraction, AttackConfig("ipm").attack_scale
      (0.2, 0.1)

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    name: Optional[str] = fields.field(
        None,
        fields.known(registry.ATTACKS),
        "Lets some clients attack. On their data: label_flip (class c becomes "
        "the last minus c), backdoor (a pattern in the corner of an image "
        "makes it --attack_target). With their update: sign_flip_own, scale "
        "(it replaces the model), free_rider (sends nothing new). Knowing all "
        "updates of the cohort: sign_flip_mean, gaussian, alie, ipm, mimic, "
        "min_max. Default: none.",
        flag="attack",
    )
    attack_fraction: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Sets the share of all clients that attack, drawn once from the seed. "
        "Default: 0.2. Only with --attack, and without --attack_clients.",
    )
    attack_clients: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the clients that attack, with commas between. Only with "
        "--attack.",
    )
    attack_scale: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the strength of the attack. sign_flip_own, scale and backdoor: "
        "the factor of the update (default 1, for scale as many as the clients "
        "of a round); sign_flip_mean (1) and ipm (0.1): that of the honest "
        "mean; gaussian: the noise's norm over that of the honest mean (10); "
        "alie: standard deviations from the mean (default: the paper's).",
    )
    attack_target: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Sets the class that a backdoor is to make of images with its pattern, "
        "counted from 0. Default: 0.",
    )
    attack_kept_momentum: Optional[bool] = fields.field(
        None,
        fields.SWITCH,
        "Lets attackers keep a momentum as honest clients do; false: they step "
        "with the gradient alone, as in Karimireddy et al. 2022. Default: "
        "true. Only with --client_kept_momentum.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is None:
            self._refuse_options()
            return
        self.settle("name", ATTACK_OPTIONS)
        if self.attack_clients is None:
            if self.attack_fraction is None:
                object.__setattr__(self, "attack_fraction", DEFAULT_FRACTION)
        elif self.attack_fraction is not None:
            raise errors.ConfigError(
                f"--attack_fraction={self.attack_fraction} and "
                f"--attack_clients={self.attack_clients} both say who attacks; "
                "give one of them."
            )

    def _refuse_options(self) -> None:
        for flag, field in self.options():
            value = getattr(self, field.name)
            if value is not None:
                raise errors.ConfigError(
                    f"--{flag}={value} is only used with --attack=...; name an "
                    "attack, or leave it out."
                )

    @property
    def client_ids(self) -> Sequence[str]:
        """Ids of the clients that are named to attack, if any are."""
        names = self.attack_clients
        return () if names is None else names.split(",")
