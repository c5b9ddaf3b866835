"""Configures a whole experiment: frozen dataclasses, checked when made."""

import dataclasses
import json
import os
from typing import Any

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.config.aggregation import AggregationConfig
from tff_pipeline.config.algorithm import AlgorithmConfig
from tff_pipeline.config.clients import SAMPLING_OPTIONS, ClientConfig
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.optimizers import ServerConfig
from tff_pipeline.config.privacy import (
    MECHANISM_OF,
    SAMPLINGS_OF,
    PrivacyConfig,
)
from tff_pipeline.config.run import RunConfig


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """All that decides a run; two equal configs train the same model."""

    data: DataConfig = DataConfig()
    clients: ClientConfig = ClientConfig()
    server: ServerConfig = ServerConfig()
    run: RunConfig = RunConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    aggregation: AggregationConfig = AggregationConfig()
    privacy: PrivacyConfig = PrivacyConfig()

    def __post_init__(self) -> None:
        self._settle_privacy()
        self._settle_clients()
        population = self.data.num_clients
        if population and self.clients.clients_per_round > population:
            raise errors.ConfigError(
                f"--clients_per_round={self.clients.clients_per_round} is "
                f"more than the {population} clients there are "
                f"(--num_clients={population}); lower the first or raise the "
                "second."
            )

    @property
    def private(self) -> bool:
        """Whether whole clients are protected by differential privacy."""
        return self.aggregation.last in MECHANISM_OF

    def _settle_privacy(self) -> None:
        """Fills in the options that the aggregator takes, on a copy."""
        aggregation = self.aggregation
        if self.private and aggregation.steps:
            raise errors.ConfigError(
                f"--aggregator={aggregation.name}: {aggregation.last} takes no "
                "steps before it, for its privacy plan owns every clip and "
                f"all noise; give --aggregator={aggregation.last}."
            )
        privacy = dataclasses.replace(self.privacy)
        privacy.settle_for(aggregation.name)
        object.__setattr__(self, "privacy", privacy)

    def _settle_clients(self) -> None:
        """Fills in sampling and weighting as the aggregator takes them."""
        clients, name = self.clients, self.aggregation.name
        takes = ("uniform", *SAMPLING_OPTIONS)
        if self.private:
            takes = SAMPLINGS_OF[MECHANISM_OF[name]]
        if clients.sampling not in (None, *takes):
            raise errors.ConfigError(
                f"--sampling={clients.sampling} is not accounted for with "
                f"--aggregator={name}; choose {' or '.join(takes)}, or leave "
                "it out."
            )
        private = self.private
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
            self.algorithm,
            self.aggregation,
            self.privacy,
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
