"""Configures the optimizers of clients and server."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import fields

# The options that each optimizer takes, with defaults; all others refuse them.
# The numbers are those of tff.learning.
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
# The numbers of Reddi et al. 2021.
_FED_ADAM = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3}
OPTIMIZER_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": _ADAM,
    "adamw": {**_ADAM, "weight_decay": 0.004},
    "fedadam": _FED_ADAM,
    "fedyogi": _FED_ADAM,
    "fedadagrad": {"beta_1": 0.0, "epsilon": 1e-3},
    "yogi": {**_ADAM, "epsilon": 1e-3, "initial_accumulator": 1e-6},
    "adagrad": {"epsilon": 1e-7, "initial_accumulator": 0.1},
    "rmsprop": {"decay": 0.9, "epsilon": 1e-7},
    # The numbers of Jordan et al. 2024 and of its authors' language models; a
    # language model's first matrix is its embedding.
    "muon": {
        "momentum": 0.95,
        "beta_1": 0.8,
        "beta_2": 0.95,
        "epsilon": 1e-8,
        "adam_factor": 0.15,
        "adam_first": 1,
        "adam_last": 0,
    },
}

# The options that each schedule of the learning rate takes, with defaults.
# `optimizers.schedules` has the formulas.
SCHEDULE_OPTIONS: Mapping[str, Mapping[str, Optional[float]]] = {
    "constant": {},
    "step": {"lr_decay": 0.5, "lr_decay_rounds": None},
    "exponential": {"lr_decay": 0.5, "lr_decay_rounds": None},
    "cosine": {"lr_decay": 0.0, "lr_decay_rounds": None},
    "linear": {"lr_decay": 0.0, "lr_decay_rounds": None},
}
# The fields of `OptimizerConfig` that every optimizer takes.
SHARED_FIELDS = (
    "name",
    "learning_rate",
    "lr_schedule",
    "lr_decay",
    "lr_decay_rounds",
    "lr_warmup_rounds",
)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(fields.Group):
    """Options of one side's optimizer; those that it does not take are `None`.

    Its fields but `side` are flags, whose help says what they mean.

    Attributes:
      side: "client" or "server", with which the names of its flags begin.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    side: str
    name: str = fields.field(
        "sgd", fields.known(OPTIMIZER_OPTIONS), "Chooses the optimizer."
    )
    learning_rate: float = fields.field(
        0.1,
        fields.POSITIVE,
        "Sets the learning rate, before its schedule changes it.",
    )
    momentum: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the share of the last step that is added to the next.",
    )
    beta_1: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the decay of the running mean of gradients.",
    )
    beta_2: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the decay of the running mean of squared gradients.",
    )
    epsilon: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the number added to the denominator, called tau in Reddi et "
        "al. 2021: larger is less adaptive.",
    )
    decay: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the decay of the running mean of squared gradients.",
    )
    weight_decay: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets the share of a weight that is taken away in each step, times "
        "the learning rate.",
    )
    initial_accumulator: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets the value at which the sum of squared gradients starts.",
    )
    adam_factor: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Sets the learning rate of what Adam trains, the weights that are no "
        "matrices and those below, as a multiple of the matrices' rate.",
    )
    adam_first: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Sets how many of the model's matrices, from the first, Adam trains: "
        "its embeddings. An adapter has none.",
    )
    adam_last: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Sets how many of the model's matrices, from the last, Adam trains: 1 "
        "if the outputs' matrix is not an embedding's.",
    )
    lr_schedule: str = fields.field(
        "constant",
        fields.known(SCHEDULE_OPTIONS),
        "Chooses how the learning rate changes over the rounds.",
    )
    lr_decay: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the share of the learning rate that is left after the "
        "decay's rounds. Default: 0.5 for step and exponential, 0 "
        "for cosine and linear. Not for constant.",
    )
    lr_decay_rounds: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many rounds the decay takes. Not for constant.",
    )
    lr_warmup_rounds: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many rounds the learning rate takes to rise, in equal "
        "steps, to its full value; the decay follows. Default: none.",
    )

    def flag(self, field: dataclasses.Field[Any]) -> str:
        """Returns the name of a field's flag; see `optimizer_flag`.

        Args:
          field: One of the group's fields.
        """
        return optimizer_flag(self.side, field.name, self.name)

    def __post_init__(self) -> None:
        if self.side not in ("client", "server"):
            raise errors.ConfigError(
                f"An optimizer's side must be client or server, not "
                f"{self.side!r}."
            )
        super().__post_init__()
        self.settle("name", OPTIMIZER_OPTIONS)
        self.settle("lr_schedule", SCHEDULE_OPTIONS)
        self._check_decay()

    def _check_decay(self) -> None:
        """Checks that the schedule's decay can be computed."""
        if self.lr_schedule == "constant":
            return
        if self.lr_decay_rounds is None:
            raise errors.ConfigError(
                f"--{self.side}_lr_schedule={self.lr_schedule} is set without "
                f"--{self.side}_lr_decay_rounds; set it to the rounds that the "
                "decay takes, such as --total_rounds."
            )
        if self.lr_schedule in ("step", "exponential") and self.lr_decay == 0:
            raise errors.ConfigError(
                f"--{self.side}_lr_decay={self.lr_decay}: must be above 0 with "
                f"--{self.side}_lr_schedule={self.lr_schedule}, or nothing is "
                "learned after the first decay."
            )

    @property
    def scheduled(self) -> bool:
        """True if the learning rate changes from round to round."""
        return (
            self.lr_schedule != "constant" or self.lr_warmup_rounds is not None
        )


def optimizer_flag(side: str, field: str, optimizer: str) -> str:
    """Returns the name of the flag of an optimizer's field.

    >>> optimizer_flag("server", "beta_1", "adam")
    'server_adam_beta_1'
    >>> optimizer_flag("client", "learning_rate", "adam")
    'client_learning_rate'
    >>> [optimizer_flag("client", "momentum", n) for n in ("momentum", "muon")]
    ['client_momentum', 'client_muon_momentum']

    Args:
      side: "client" or "server".
      field: The name of a field of `OptimizerConfig`.
      optimizer: A name in `OPTIMIZER_OPTIONS`.
    """
    if field == "name":
        return f"{side}_optimizer"
    # Momentum's own has no need to be named twice.
    if field in SHARED_FIELDS or (field == "momentum" and optimizer != "muon"):
        return f"{side}_{field}"
    return f"{side}_{optimizer}_{field}"


def check_side(optimizer: OptimizerConfig, group: str, side: str) -> None:
    """Checks that an optimizer is configured for its side.

    Args:
      optimizer: The optimizer's options.
      group: The group that holds them, for the error: "clients" or "server".
      side: "client" or "server".

    Raises:
      ConfigError: If it is configured for the other side.
    """
    if optimizer.side != side:
        raise errors.ConfigError(
            f"The configuration's {group}.optimizer.side must be {side!r}, "
            f"not {optimizer.side!r}."
        )


@dataclasses.dataclass(frozen=True)
class ServerConfig(fields.Group):
    """Options of the server, which applies the mean update.

    Attributes:
      optimizer: The server's optimizer; its flags begin with `server_`.

    Raises:
      ConfigError: If the optimizer is configured for clients.
    """

    optimizer: OptimizerConfig = OptimizerConfig("server", learning_rate=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_side(self.optimizer, "server", "server")
