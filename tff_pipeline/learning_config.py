"""What clients and server do in a round: cohorts, steps, optimizers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, fields, registry

# The options that each optimizer takes, with defaults; all others refuse them.
# The numbers are those of tff.learning.
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZER_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": _ADAM,
    "adamw": {**_ADAM, "weight_decay": 0.004},
    # The numbers of Reddi et al. 2021.
    "fedadam": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3},
    "yogi": {**_ADAM, "epsilon": 1e-3, "initial_accumulator": 1e-6},
    "adagrad": {"epsilon": 1e-7, "initial_accumulator": 0.1},
    "rmsprop": {"decay": 0.9, "epsilon": 1e-7},
}
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
class OptimizerConfig(fields.Group):
    """An optimizer of one side; options that it does not take stay `None`."""

    side: str
    name: str = fields.field(
        "sgd", fields.known(OPTIMIZER_OPTIONS), "Optimizer."
    )
    learning_rate: float = fields.field(0.1, fields.POSITIVE, "Learning rate.")
    momentum: Optional[float] = fields.field(None, fields.FRACTION, "Momentum.")
    beta_1: Optional[float] = fields.field(
        None, fields.FRACTION, "Decay of the mean."
    )
    beta_2: Optional[float] = fields.field(
        None, fields.FRACTION, "Decay of the square."
    )
    epsilon: Optional[float] = fields.field(
        None, fields.POSITIVE, "Adaptivity, tau."
    )
    decay: Optional[float] = fields.field(
        None, fields.FRACTION, "Decay of the square."
    )
    weight_decay: Optional[float] = fields.field(
        None, fields.NOT_NEGATIVE, "Decoupled weight decay."
    )
    initial_accumulator: Optional[float] = fields.field(
        None, fields.NOT_NEGATIVE, "Where the sum of squares starts."
    )

    def flag(self, field: dataclasses.Field) -> str:
        return optimizer_flag(self.side, field.name, self.name)

    def __post_init__(self) -> None:
        if self.side not in ("client", "server"):
            raise errors.ConfigError(
                f"An optimizer's side must be client or server, not "
                f"{self.side!r}."
            )
        super().__post_init__()
        self.settle("name", OPTIMIZER_OPTIONS)


def optimizer_flag(side: str, field: str, optimizer: str) -> str:
    """The flag of an optimizer's field, such as server_adam_beta_1."""
    if field == "name":
        return f"{side}_optimizer"
    if field in ("learning_rate", "momentum"):
        return f"{side}_{field}"
    return f"{side}_{optimizer}_{field}"


def _check_side(optimizer: OptimizerConfig, group: str, side: str) -> None:
    if optimizer.side != side:
        raise errors.ConfigError(
            f"The configuration's {group}.optimizer.side must be {side!r}, "
            f"not {optimizer.side!r}."
        )


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
        _check_side(self.optimizer, "clients", "client")
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


@dataclasses.dataclass(frozen=True)
class ServerConfig(fields.Group):
    """What the server does with the mean update."""

    optimizer: OptimizerConfig = OptimizerConfig("server", learning_rate=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_side(self.optimizer, "server", "server")
