"""What an experiment is: frozen dataclasses, checked when they are made.

Every field is a flag of the same name (optimizers: with the prefix of their
side), every value is checked at construction, and a config that exists can be
run. Options that belong to one partition or one optimizer are `None` unless
that partition or optimizer is chosen; then they hold a number, never `None`.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, fields, registry
from tff_pipeline.aggregation_config import SAMPLINGS_OF, AggregatorConfig
from tff_pipeline.data_config import DataConfig
from tff_pipeline.learning_config import (
    OPTIMIZER_OPTIONS,
    SAMPLING_OPTIONS,
    WEIGHTINGS,
    ClientConfig,
    OptimizerConfig,
    ServerConfig,
    optimizer_flag,
)

__all__ = [
    "EVAL_CLIENTS",
    "OPTIMIZER_OPTIONS",
    "RUNTIME_OPTIONS",
    "SAMPLING_OPTIONS",
    "WEIGHTINGS",
    "AggregatorConfig",
    "ClientConfig",
    "DataConfig",
    "ExperimentConfig",
    "OptimizerConfig",
    "RunConfig",
    "ServerConfig",
    "optimizer_flag",
]

RUNTIME_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # By default as many threads as there are processors.
    "in_process": {"client_threads": None},
    "local": {},
}
FAILURE_POLICIES = {
    "retry": "what may pass is tried again; an update that is not finite is "
    "skipped",
    "skip": "the model stays as it was",
    "stop": "so does training",
}
EVAL_CLIENTS = {
    "seen": "clients that train",
    "unseen": "clients that never train",
    "both": "either",
}


@dataclasses.dataclass(frozen=True)
class RunConfig(fields.Group):
    """How long a run is, what it keeps, and where."""

    output_dir: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Run directory; resumed if it holds one.",
        identity=False,
    )
    total_rounds: int = fields.field(
        100, fields.COUNT, "Rounds to train.", identity=False
    )
    rounds_per_eval: int = fields.field(
        1, fields.COUNT, "Rounds between evaluations."
    )
    eval_clients: Optional[str] = fields.field(
        None,
        fields.known(EVAL_CLIENTS),
        "Evaluate client by client too.",
    )
    rounds_per_checkpoint: int = fields.field(
        10, fields.COUNT, "Rounds between checkpoints.", identity=False
    )
    keep_checkpoints: int = fields.field(
        5,
        fields.NATURAL,
        "Newest checkpoints to keep; 0 is all.",
        identity=False,
    )
    on_failed_round: str = fields.field(
        "retry",
        fields.known(FAILURE_POLICIES),
        "What becomes of a round that fails.",
        identity=False,
    )
    max_round_retries: int = fields.field(
        2, fields.NATURAL, "Retries of a round, at most.", identity=False
    )
    max_consecutive_failures: int = fields.field(
        3,
        fields.COUNT,
        "Stop after as many rounds in a row that were lost.",
        identity=False,
    )
    signing_key: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "PEM file of an Ed25519 key to sign the log with.",
        identity=False,
    )
    seed: int = fields.field(0, fields.SEED, "Seed of all randomness.")
    runtime: str = fields.field(
        "in_process",
        fields.known(registry.RUNTIMES),
        "Where computations run: in this process, or in TFF's own worker.",
    )
    client_threads: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Clients that train at once (in_process: default all processors).",
        identity=False,
    )
    target_metric: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Column of metrics.csv by which the best checkpoint is kept.",
    )
    target_value: Optional[float] = fields.field(
        None, fields.FINITE, "Stop when --target_metric reaches it."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("runtime", RUNTIME_OPTIONS)
        if self.target_value is not None and self.target_metric is None:
            raise errors.ConfigError(
                f"--target_value={self.target_value} is given without "
                "--target_metric=...; name the column that must reach it."
            )


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """All that decides a run; two equal configs train the same model."""

    data: DataConfig = DataConfig()
    clients: ClientConfig = ClientConfig()
    server: ServerConfig = ServerConfig()
    run: RunConfig = RunConfig()
    aggregator: AggregatorConfig = AggregatorConfig()

    def __post_init__(self) -> None:
        self._settle_clients()
        population = self.data.num_clients
        if population and self.clients.clients_per_round > population:
            raise errors.ConfigError(
                f"--clients_per_round={self.clients.clients_per_round} is "
                f"more than the {population} clients there are "
                f"(--num_clients={population}); lower the first or raise the "
                "second."
            )

    def _settle_clients(self) -> None:
        """Fills in sampling and weighting as the aggregator takes them."""
        clients, name = self.clients, self.aggregator.name
        takes = SAMPLINGS_OF.get(name, ("uniform", *SAMPLING_OPTIONS))
        if clients.sampling not in (None, *takes):
            raise errors.ConfigError(
                f"--sampling={clients.sampling} is not accounted for with "
                f"--aggregator={name}; choose {' or '.join(takes)}, or leave "
                "it out."
            )
        private = self.aggregator.private
        if private and clients.weighting not in (None, "uniform"):
            raise errors.ConfigError(
                f"--client_weighting={clients.weighting} with "
                f"--aggregator={name} would let a client with many examples "
                "move the mean by more than the clip; leave it out, and all "
                "count the same."
            )
        clients = dataclasses.replace(
            clients,
            sampling=clients.sampling or takes[0],
            weighting=clients.weighting
            or ("uniform" if private else "num_examples"),
        )
        object.__setattr__(self, "clients", clients)
        if private and self.run.on_failed_round == "skip":
            raise errors.ConfigError(
                f"--on_failed_round=skip is not used with --aggregator={name}, "
                "whose noise is planned for rounds that all take place; choose "
                "retry or stop."
            )
        if private and clients.dp_target_epsilon is not None:
            raise errors.ConfigError(
                f"--client_dp_target_epsilon={clients.dp_target_epsilon} "
                f"protects examples, and --aggregator={name} whole clients; "
                "choose one of the two."
            )

    def groups(self) -> tuple[fields.Group, ...]:
        """All groups of fields, the optimizers' too."""
        return (
            self.data,
            self.clients,
            self.clients.optimizer,
            self.server,
            self.server.optimizer,
            self.aggregator,
            self.run,
        )

    def flags(self, identity_only: bool = False) -> dict[str, Any]:
        """Flag name -> value of all that is set, in the groups' order."""
        values = {}
        for group in self.groups():
            for flag, field in group.options():
                value = getattr(group, field.name)
                if value is None or (
                    identity_only
                    and not field.metadata["identity"]
                    # Noise of clients is made for so many rounds.
                    and not (
                        flag == "total_rounds"
                        and self.clients.dp_target_epsilon is not None
                    )
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
        except (ValueError, RecursionError) as error:
            raise errors.ConfigError(
                f"The configuration is not JSON: {error}."
            ) from None
        return fields.from_dict(cls, values, "configuration")
