"""Configures the cohort of a round, and what each client does in it."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields
from tff_pipeline.config.optimizers import OptimizerConfig, check_side

SAMPLING_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "uniform": {},
    "poisson": {},
    "shuffled": {},
    # By default as many rounds as the population allows.
    "min_separation": {"min_separation": None},
}
WEIGHTINGS = {
    "num_examples": "clients count by their examples",
    "uniform": "every client counts the same",
}


BALANCED = "balanced"
_HIGHEST_WEIGHT = 1_000_000


def _are_class_weights(value: str) -> bool:
    if value == BALANCED:
        return True
    if re.search(r"[^0-9.eE+,-]", value):
        return False
    try:
        return all(
            0 < float(each) <= _HIGHEST_WEIGHT for each in value.split(",")
        )
    except ValueError:
        return False


CLASS_WEIGHTS = fields.Allowed(
    str,
    f"{BALANCED}, or numbers above 0 and at most {_HIGHEST_WEIGHT:,} with "
    "commas between them",
    _are_class_weights,
)


@dataclasses.dataclass(frozen=True)
class ClientConfig(fields.Group):
    """Options of cohorts, and of what each client does in a round.

    Its fields are flags, whose help says what they mean.

    Attributes:
      optimizer: The clients' optimizer; its flags begin with `client_`.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    clients_per_round: int = fields.field(
        10,
        fields.COUNT,
        "Sets the cohort size: how many clients train in each round. "
        "Poisson sampling draws so many on average.",
    )
    sampling: Optional[str] = fields.field(
        None,
        fields.known(registry.SAMPLERS),
        "Chooses how a round's cohort is drawn: uniform (without "
        "replacement), poisson (each client by itself), shuffled (every "
        "client once before any comes again), min_separation (never again "
        "within --min_separation rounds). Default: uniform, or the first "
        "that --aggregator allows.",
    )
    min_separation: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets the fewest rounds from one participation of a client to its "
        "next. Default: as many as the population allows. Only for "
        "min_separation sampling.",
    )
    epochs_per_round: int = fields.field(
        1,
        fields.COUNT,
        "Sets how many passes over its own examples a client makes in a round.",
        flag="client_epochs_per_round",
    )
    steps_per_round: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many optimizer steps each client takes in a round, in "
        "place of --client_epochs_per_round.",
        flag="client_steps_per_round",
    )
    batch_size: int = fields.field(
        10,
        fields.COUNT,
        "Sets how many examples a client uses for one optimizer step.",
        flag="client_batch_size",
    )
    micro_batch_size: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many examples of a batch are computed at a time, to save "
        "memory; their gradients are added up, so that the step is the same "
        "but for rounding. Default: the whole batch.",
        flag="client_micro_batch_size",
    )
    weighting: Optional[str] = fields.field(
        None,
        fields.known(WEIGHTINGS),
        "Chooses how much a client's update counts in the mean: "
        "num_examples (as much as it has examples) or uniform (all the "
        "same). Default: num_examples, or uniform where --aggregator "
        "requires it.",
        flag="client_weighting",
    )
    kept_momentum: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Lets clients step with momentum that they keep from one of their "
        "rounds to the next, with this share of the last, such as 0.9. Only "
        "for --client_optimizer=sgd.",
        flag="client_kept_momentum",
    )
    class_weights: Optional[str] = fields.field(
        None,
        CLASS_WEIGHTS,
        "Weighs the classes in the loss of the clients' training: a number "
        "above 0 for each, in the classes' order, with commas between them, "
        "such as 1,3.5; or balanced, by which rare ones count as much as "
        "frequent ones. Default: every example counts the same.",
    )
    dp_target_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Protects single examples of clients by DP-SGD, with this epsilon "
        "after --total_rounds, such as 3. Default: no protection.",
        flag="client_dp_target_epsilon",
    )
    dp_delta: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Sets the delta that goes with --client_dp_target_epsilon, such as "
        "1e-5.",
        flag="client_dp_delta",
    )
    dp_clip: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the largest L2 norm of one example's gradient; longer "
        "gradients are scaled down to it.",
        flag="client_dp_clip",
    )
    dp_noise_seed: Optional[int] = fields.field(
        None,
        fields.SEED,
        "Seeds the batches and the noise of DP-SGD, for simulations: "
        "whoever knows the seed can remove the noise, so that there is no "
        "privacy. Default: a secret drawn by the operating system.",
        flag="client_dp_noise_seed",
    )
    optimizer: OptimizerConfig = OptimizerConfig("client")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_side(self.optimizer, "clients", "client")
        if self.sampling is not None:
            self.settle("sampling", SAMPLING_OPTIONS)
        if self.steps_per_round is not None and self.epochs_per_round != 1:
            raise errors.ConfigError(
                f"--client_steps_per_round={self.steps_per_round} and "
                f"--client_epochs_per_round={self.epochs_per_round} say two "
                "things; leave one out."
            )
        if self.micro_batch_size is not None and self.dp_target_epsilon:
            raise errors.ConfigError(
                f"--client_micro_batch_size={self.micro_batch_size} is not "
                "used with --client_dp_target_epsilon, which takes the "
                "gradient of each example; leave it out."
            )
        if self.kept_momentum is not None and (
            self.optimizer.name != "sgd" or self.dp_target_epsilon
        ):
            other = f"--client_optimizer={self.optimizer.name}"
            if self.dp_target_epsilon:
                other = f"--client_dp_target_epsilon={self.dp_target_epsilon}"
            raise errors.ConfigError(
                f"--client_kept_momentum={self.kept_momentum} is not used with "
                f"{other}; leave one out."
            )
        self._check_example_dp()

    def _check_example_dp(self) -> None:
        """Checks that the flags of DP-SGD go together."""
        flags = {
            flag: getattr(self, field.name)
            for flag, field in self.options()
            if flag.startswith("client_dp_")
        }
        flags_set = [flag for flag, value in flags.items() if value is not None]
        needed = [flag for flag in flags if not flag.endswith("_seed")]
        if not flags_set:
            return
        for flag in needed:
            if flags[flag] is None:
                raise errors.ConfigError(
                    f"--{flags_set[0]}={flags[flags_set[0]]} is given without "
                    f"--{flag}=...; --{', --'.join(needed)} go together."
                )
        if self.steps_per_round is None:
            raise errors.ConfigError(
                f"--client_dp_target_epsilon={self.dp_target_epsilon} needs "
                "--client_steps_per_round: batches are drawn by lot, and have "
                "no epochs."
            )
