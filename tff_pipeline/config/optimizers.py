"""Configures the optimizers of both sides, and what the server does."""

import dataclasses
from collections.abc import Mapping
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

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


def check_side(optimizer: OptimizerConfig, group: str, side: str) -> None:
    """Raises `ConfigError` unless the optimizer is configured for `side`."""
    if optimizer.side != side:
        raise errors.ConfigError(
            f"The configuration's {group}.optimizer.side must be {side!r}, "
            f"not {optimizer.side!r}."
        )


@dataclasses.dataclass(frozen=True)
class ServerConfig(fields.Group):
    """What the server does with the mean update."""

    optimizer: OptimizerConfig = OptimizerConfig("server", learning_rate=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_side(self.optimizer, "server", "server")
