"""Configures who takes part in a round, and what each client does in it."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class ClientConfig(fields.Group):
    """Who takes part in a round, and what each client does in it."""

    clients_per_round: int = fields.field(
        10, fields.COUNT, "Clients sampled a round."
    )
    sampling: Optional[str] = fields.field(
        None,
        fields.known(registry.SAMPLERS),
        "How (default: uniform, or what --aggregator takes).",
    )
    min_separation: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Least rounds from one participation of a client to the next.",
    )
    epochs_per_round: int = fields.field(
        1,
        fields.COUNT,
        "Passes of a client over its data.",
        flag="client_epochs_per_round",
    )
    steps_per_round: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Steps of every client, instead of passes over its data.",
        flag="client_steps_per_round",
    )
    batch_size: int = fields.field(
        10, fields.COUNT, "Examples a client's step.", flag="client_batch_size"
    )
    weighting: Optional[str] = fields.field(
        None,
        fields.known(WEIGHTINGS),
        "What a client's update counts for in the mean (default: "
        "num_examples, or what --aggregator takes).",
        flag="client_weighting",
    )
    dp_target_epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Epsilon of one example of a client after --total_rounds: DP-SGD.",
        flag="client_dp_target_epsilon",
    )
    dp_delta: Optional[float] = fields.field(
        None, fields.PROBABILITY, "Its delta.", flag="client_dp_delta"
    )
    dp_clip: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Largest L2 norm of an example's gradient.",
        flag="client_dp_clip",
    )
    dp_noise_seed: Optional[int] = fields.field(
        None,
        fields.SEED,
        "Seed of its batches and noise, for simulations: no privacy (default: "
        "a secret of the operating system's).",
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
        self._check_example_dp()

    def _check_example_dp(self) -> None:
        """Raises `ConfigError` unless the flags of DP-SGD go together."""
        flags = {
            flag: getattr(self, field.name)
            for flag, field in self.options()
            if flag.startswith("client_dp_")
        }
        given = [flag for flag, value in flags.items() if value is not None]
        needed = [flag for flag in flags if not flag.endswith("_seed")]
        if not given:
            return
        for flag in needed:
            if flags[flag] is None:
                raise errors.ConfigError(
                    f"--{given[0]}={flags[given[0]]} is given without "
                    f"--{flag}=...; --{', --'.join(needed)} go together."
                )
        if self.steps_per_round is None:
            raise errors.ConfigError(
                f"--client_dp_target_epsilon={self.dp_target_epsilon} needs "
                "--client_steps_per_round: batches are drawn by lot, and have "
                "no epochs."
            )
