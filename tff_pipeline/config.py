"""What an experiment is: frozen dataclasses, checked when they are made.

Every field is a flag of the same name (optimizers: with the prefix of their
side), every value is checked at construction, and a config that exists can be
run. Options that belong to one partition or one optimizer are `None` unless
that partition or optimizer is chosen; then they hold a number, never `None`.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry

# The options that each partition and each optimizer takes, with defaults. All
# others refuse them. The optimizers' numbers are those of tff.learning.
PARTITION_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "iid": {"num_clients": 100},
    "shards": {"num_clients": 100, "shards_per_client": 2},
    "dirichlet": {"num_clients": 100, "dirichlet_alpha": 0.5},
    "natural": {},
}
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
OPTIMIZER_OPTIONS: Mapping[str, Mapping[str, float]] = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "adam": _ADAM,
    "adamw": {**_ADAM, "weight_decay": 0.004},
    "yogi": {**_ADAM, "epsilon": 1e-3, "initial_accumulator": 1e-6},
    "adagrad": {"epsilon": 1e-7, "initial_accumulator": 0.1},
    "rmsprop": {"decay": 0.9, "epsilon": 1e-7},
}
WEIGHTINGS = {
    "num_examples": "clients count by their examples",
    "uniform": "every client counts the same",
}


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Which values a field takes: their type, the words for it, the test.

    Where only some names are allowed, `names` lists them.
    """

    kind: type
    words: str
    test: Callable[[Any], bool]
    names: tuple[str, ...] = ()

    def check(self, flag: str, value: Any) -> None:
        """Raises `ConfigError` if `value` is not allowed for `flag`."""
        kinds = (int, float) if self.kind is float else (self.kind,)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        if fits and self.kind is float:
            fits = math.isfinite(value)
        if not fits or not self.test(value):
            raise errors.ConfigError(f"--{flag}={value}: must be {self.words}.")


def _known(names: Mapping[str, Any]) -> Allowed:
    return Allowed(
        str, f"one of: {', '.join(names)}", lambda v: v in names, tuple(names)
    )


_TEXT = Allowed(str, "some text", bool)
_COUNT = Allowed(int, "a whole number of at least 1", lambda v: v >= 1)
_NATURAL = Allowed(int, "a whole number of at least 0", lambda v: v >= 0)
_SEED = Allowed(
    int, "a whole number from 0 to 4294967295", lambda v: 0 <= v < 2**32
)
_FINITE = Allowed(float, "a finite number", lambda v: True)
_POSITIVE = Allowed(float, "a finite number above 0", lambda v: v > 0)
_NOT_NEGATIVE = Allowed(float, "a finite number, 0 or above", lambda v: v >= 0)
_FRACTION = Allowed(float, "at least 0 and below 1", lambda v: 0 <= v < 1)


def _field(
    default: Any,
    allowed: Allowed,
    help_text: str,
    flag: Optional[str] = None,
    identity: bool = True,
) -> Any:
    """A dataclass field that is also a flag.

    Args:
      default: Its default; `None` where it may stay unset.
      allowed: Which values it takes.
      help_text: What `--help` says.
      flag: The flag's name, where it is not the field's.
      identity: Whether two runs that differ in it are different experiments;
        if not, a run may be resumed with another value.
    """
    metadata = {
        "allowed": allowed,
        "help": help_text,
        "flag": flag,
        "identity": identity,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class _Group:
    """A group of fields: names their flags and checks their values."""

    def flag(self, field: dataclasses.Field) -> str:
        return field.metadata["flag"] or field.name

    def options(self) -> Iterator[tuple[str, dataclasses.Field]]:
        """Yields (flag name, field) of all fields that are flags."""
        for field in dataclasses.fields(self):
            if "allowed" in field.metadata:
                yield self.flag(field), field

    def __post_init__(self) -> None:
        for flag, field in self.options():
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                field.metadata["allowed"].check(flag, value)

    def _settle(
        self, choice: str, table: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Fills in the chosen name's options and refuses all others'."""
        chosen = getattr(self, choice)
        optional = {name for options in table.values() for name in options}
        for field in dataclasses.fields(self):
            if field.name not in optional:
                continue
            value = getattr(self, field.name)
            if field.name in table[chosen]:
                if value is None:
                    object.__setattr__(
                        self, field.name, table[chosen][field.name]
                    )
            elif value is not None:
                users = [n for n, used in table.items() if field.name in used]
                flags = {f.name: flag for flag, f in self.options()}
                raise errors.ConfigError(
                    f"--{flags[field.name]}={value} is not used with "
                    f"--{flags[choice]}={chosen}; leave it out, or choose one "
                    f"that uses it: {', '.join(users)}."
                )


@dataclasses.dataclass(frozen=True)
class DataConfig(_Group):
    """The task, its files, and how its examples are spread over clients."""

    task: str = _field("digits_2nn", _known(registry.TASKS), "What to learn.")
    data_dir: Optional[str] = _field(
        None, _TEXT, "Folder of the task's data files.", identity=False
    )
    partition: str = _field(
        "iid",
        _known(registry.PARTITIONS),
        "How examples are spread over clients.",
    )
    num_clients: Optional[int] = _field(
        None, _COUNT, "Clients to make (iid, shards, dirichlet: default 100)."
    )
    shards_per_client: Optional[int] = _field(
        None, _COUNT, "Shards of sorted labels a client (shards: default 2)."
    )
    dirichlet_alpha: Optional[float] = _field(
        None, _POSITIVE, "Concentration; small is uneven (dirichlet: 0.5)."
    )
    max_examples_per_client: Optional[int] = _field(
        None, _COUNT, "Keep at most this many examples of each client."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle("partition", PARTITION_OPTIONS)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(_Group):
    """An optimizer of one side; options that it does not take stay `None`."""

    side: str
    name: str = _field("sgd", _known(OPTIMIZER_OPTIONS), "Optimizer.")
    learning_rate: float = _field(0.1, _POSITIVE, "Learning rate.")
    momentum: Optional[float] = _field(None, _FRACTION, "Momentum.")
    beta_1: Optional[float] = _field(None, _FRACTION, "Decay of the mean.")
    beta_2: Optional[float] = _field(None, _FRACTION, "Decay of the square.")
    epsilon: Optional[float] = _field(None, _POSITIVE, "Adaptivity, tau.")
    decay: Optional[float] = _field(None, _FRACTION, "Decay of the square.")
    weight_decay: Optional[float] = _field(
        None, _NOT_NEGATIVE, "Decoupled weight decay."
    )
    initial_accumulator: Optional[float] = _field(
        None, _NOT_NEGATIVE, "Where the sum of squares starts."
    )

    def flag(self, field: dataclasses.Field) -> str:
        return optimizer_flag(self.side, field.name, self.name)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle("name", OPTIMIZER_OPTIONS)


def optimizer_flag(side: str, field: str, optimizer: str) -> str:
    """The flag of an optimizer's field, such as server_adam_beta_1."""
    if field == "name":
        return f"{side}_optimizer"
    if field in ("learning_rate", "momentum"):
        return f"{side}_{field}"
    return f"{side}_{optimizer}_{field}"


@dataclasses.dataclass(frozen=True)
class ClientConfig(_Group):
    """Who takes part in a round, and what each client does in it."""

    clients_per_round: int = _field(10, _COUNT, "Clients sampled a round.")
    epochs_per_round: int = _field(
        1,
        _COUNT,
        "Passes of a client over its data.",
        flag="client_epochs_per_round",
    )
    batch_size: int = _field(
        10, _COUNT, "Examples a client's step.", flag="client_batch_size"
    )
    weighting: str = _field(
        "num_examples",
        _known(WEIGHTINGS),
        "What a client's update counts for in the mean.",
        flag="client_weighting",
    )
    optimizer: OptimizerConfig = OptimizerConfig("client")


@dataclasses.dataclass(frozen=True)
class ServerConfig(_Group):
    """What the server does with the mean update."""

    optimizer: OptimizerConfig = OptimizerConfig("server", learning_rate=1.0)


@dataclasses.dataclass(frozen=True)
class RunConfig(_Group):
    """How long a run is, what it keeps, and where."""

    output_dir: Optional[str] = _field(
        None, _TEXT, "Run directory; resumed if it holds one.", identity=False
    )
    total_rounds: int = _field(100, _COUNT, "Rounds to train.", identity=False)
    rounds_per_eval: int = _field(1, _COUNT, "Rounds between evaluations.")
    rounds_per_checkpoint: int = _field(
        10, _COUNT, "Rounds between checkpoints.", identity=False
    )
    keep_checkpoints: int = _field(
        5, _NATURAL, "Newest checkpoints to keep; 0 is all.", identity=False
    )
    seed: int = _field(0, _SEED, "Seed of all randomness.")
    target_metric: Optional[str] = _field(
        None, _TEXT, "Stop when this column of metrics.csv is good enough."
    )
    target_value: Optional[float] = _field(
        None, _FINITE, "What --target_metric must reach."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.target_metric is None) != (self.target_value is None):
            raise errors.ConfigError(
                f"--target_metric={self.target_metric} and "
                f"--target_value={self.target_value} go together: give both "
                "or neither."
            )


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """All that decides a run; two equal configs train the same model."""

    data: DataConfig = DataConfig()
    clients: ClientConfig = ClientConfig()
    server: ServerConfig = ServerConfig()
    run: RunConfig = RunConfig()

    def __post_init__(self) -> None:
        population = self.data.num_clients
        if population and self.clients.clients_per_round > population:
            raise errors.ConfigError(
                f"--clients_per_round={self.clients.clients_per_round} is "
                f"more than the {population} clients there are "
                f"(--num_clients={population}); lower the first or raise the "
                "second."
            )

    def groups(self) -> tuple[_Group, ...]:
        """All groups of fields, the optimizers' too."""
        return (
            self.data,
            self.clients,
            self.clients.optimizer,
            self.server,
            self.server.optimizer,
            self.run,
        )

    def flags(self, identity_only: bool = False) -> dict[str, Any]:
        """Flag name -> value of all that is set, in the groups' order."""
        values = {}
        for group in self.groups():
            for flag, field in group.options():
                value = getattr(group, field.name)
                if value is None or (
                    identity_only and not field.metadata["identity"]
                ):
                    continue
                values[flag] = value
        return values

    def flagfile(self) -> str:
        """The text of a flagfile that runs this again, in another folder."""
        values = {**self.flags(), "output_dir": None}
        if self.data.data_dir is not None:
            values["data_dir"] = os.path.abspath(self.data.data_dir)
        return "".join(
            f"--{flag}={value}\n"
            for flag, value in values.items()
            if value is not None
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ExperimentConfig":
        """Reads what `to_json` wrote; raises `ConfigError` for all else."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise errors.ConfigError(
                f"The configuration is not JSON: {error}."
            ) from None
        return _from_dict(cls, values, "configuration")


def _from_dict(cls: type, values: Any, where: str) -> Any:
    """Builds the dataclass `cls` from nested dicts of JSON values."""
    if not isinstance(values, dict):
        raise errors.ConfigError(
            f"The {where} must be an object, not {values!r}."
        )
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise errors.ConfigError(
            f"The {where} has unknown fields: {', '.join(unknown)}; known "
            f"are: {', '.join(fields)}."
        )
    arguments = {
        name: _from_dict(type(fields[name].default), value, f"{where}.{name}")
        if dataclasses.is_dataclass(fields[name].default)
        else value
        for name, value in values.items()
    }
    if "side" in fields and arguments.get("side") not in ("client", "server"):
        raise errors.ConfigError(
            f"The {where}.side must be client or server, "
            f"not {arguments.get('side')!r}."
        )
    return cls(**arguments)
