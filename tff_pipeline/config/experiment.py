"""Joins the groups of options into the configuration of an experiment."""

import dataclasses
import json
import math
import os
from typing import Any

from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.config.aggregation import (
    BY_COORDINATE,
    IN_PROCESS_ONLY,
    AggregationConfig,
)
from tff_pipeline.config.algorithm import (
    COUNT_ALIKE,
    KEEP_MOMENTUM,
    AlgorithmConfig,
)
from tff_pipeline.config.attack import AttackConfig
from tff_pipeline.config.clients import (
    BALANCED,
    SAMPLING_OPTIONS,
    ClientConfig,
)
from tff_pipeline.config.compression import CompressionConfig
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.devices import BY_SIZE, DeviceConfig
from tff_pipeline.config.optimizers import ServerConfig
from tff_pipeline.config.privacy import (
    MECHANISM_OF,
    SAMPLINGS_OF,
    PrivacyConfig,
)
from tff_pipeline.config.pruning import PruningConfig
from tff_pipeline.config.run import SAME_BITS, RunConfig
from tff_pipeline.config.secure_aggregation import SecureAggregationConfig
from tff_pipeline.files import storage


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
    """Configuration of a run; two equal ones train the same model.

    Example:
      >>> config = ExperimentConfig()
      >>> config.flags()["clients_per_round"]
      10
      >>> ExperimentConfig.from_json(config.to_json()) == config
      True

    Attributes:
      data: The task, its files, and how clients share its examples.
      clients: The cohorts, and what each client does in a round.
      server: What the server does with the mean update.
      run: How long the run is, what it keeps, and where it computes.
      algorithm: What clients and server compute in a round.
      aggregation: How the messages of a cohort's clients become one.
      compression: How updates, and the model, become few bytes.
      pruning: Which weights leave the model while it trains.
      privacy: Differential privacy of whole clients.
      devices: The simulated devices of clients: who comes, and how fast.
      secure_aggregation: The protocol that carries out secure sums.
      attack: What hostile clients do, and who they are.

    Raises:
      ConfigError: If options of different groups do not go together.
    """

    data: DataConfig = DataConfig()
    clients: ClientConfig = ClientConfig()
    server: ServerConfig = ServerConfig()
    run: RunConfig = RunConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    aggregation: AggregationConfig = AggregationConfig()
    compression: CompressionConfig = CompressionConfig()
    pruning: PruningConfig = PruningConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    devices: DeviceConfig = DeviceConfig()
    secure_aggregation: SecureAggregationConfig = SecureAggregationConfig()
    attack: AttackConfig = AttackConfig()

    def __post_init__(self) -> None:
        self._settle_aggregation()
        self._settle_privacy()
        self._settle_clients()
        self._check_devices()
        self._check_frozen_place()
        self._check_runtime()
        assert self.clients.weighting is not None  # Settled above.
        self.aggregation.check_secure_mean(
            self.clients.clients_per_round, self.clients.weighting
        )
        self.secure_aggregation.check(
            self.aggregation.name,
            self.algorithm.name,
            self.run.runtime,
            self.clients.clients_per_round,
        )
        self._check_compression()
        self._settle_pruning()
        population = self.data.num_clients
        if population and self.clients.clients_per_round > population:
            raise errors.ConfigError(
                f"--clients_per_round={self.clients.clients_per_round} is "
                f"more than the {population} clients there are "
                f"(--num_clients={population}); lower the first or raise the "
                "second."
            )

    def _check_compression(self) -> None:
        """Refuses compression that other options cannot be combined with."""
        options = self.compression
        if options.entropy == "elias_gamma" and self.run.runtime == "local":
            raise errors.ConfigError(
                "--compression_entropy=elias_gamma is not used with "
                "--runtime=local, whose worker has no such operation; leave "
                "one of the two out."
            )
        if options.linear and self.aggregation.last in BY_COORDINATE:
            raise errors.ConfigError(
                f"--compression={options.name} is not used with "
                f"--aggregator={self.aggregation.name}, which remembers "
                "something of each number from round to round, and other "
                "numbers are sent in each; leave one of the two out."
            )
        if options.name and self.privacy.audit_canaries:
            raise errors.ConfigError(
                f"--compression={options.name} is not used with "
                f"--audit_canaries={self.privacy.audit_canaries}, which send "
                "directions that must arrive exactly; leave one of the two out."
            )

    def _settle_pruning(self) -> None:
        """Fills in the rounds of pruning, and refuses what it cannot join."""
        pruning = self.pruning.settled(self.run.total_rounds)
        object.__setattr__(self, "pruning", pruning)
        if pruning.to is None:
            return
        if self.compression.chosen:
            side = (
                "compression" if self.compression.name else "compression_down"
            )
            raise errors.ConfigError(
                f"--prune_to={pruning.to} is not used with "
                f"--{side}={self.compression.chosen[0]}: pruned models and "
                "updates are bytes already, of which more become fewer in "
                "every round; leave one of the two out."
            )
        if self.privacy.audit_canaries:
            raise errors.ConfigError(
                f"--prune_to={pruning.to} is not used with "
                f"--audit_canaries={self.privacy.audit_canaries}, which send "
                "directions that must arrive exactly; leave one of the two out."
            )

    def _check_devices(self) -> None:
        """Refuses devices that other options cannot be combined with."""
        devices, clients = self.devices, self.clients
        chosen = devices.chosen(clients.clients_per_round)
        population = self.data.num_clients
        if population and clients.clients_per_round <= population < chosen:
            raise errors.ConfigError(
                f"--over_selection={devices.over_selection} chooses {chosen} "
                f"clients for --clients_per_round={clients.clients_per_round}, "
                f"more than the {population} there are "
                f"(--num_clients={population}); lower one of the first two."
            )
        if (
            devices.straggler_work == "less"
            and self.algorithm.name == "fed_sgd"
        ):
            raise errors.ConfigError(
                "--straggler_work=less is not used with --algorithm=fed_sgd, "
                "whose clients take one step, of which there is no less; "
                "choose late or all."
            )
        if self.private:
            self._check_private_devices()

    def _check_frozen_place(self) -> None:
        """Refuses frozen weights where no file can be mapped."""
        freeze, output_dir = self.data.model.freeze, self.run.output_dir
        if freeze and output_dir and not storage.is_local(output_dir):
            raise errors.ConfigError(
                f"--freeze={freeze} keeps its weights in --output_dir="
                f"{output_dir}, from where they are mapped into memory; give "
                "a folder of this machine, which may be copied there after."
            )

    def _check_runtime(self) -> None:
        """Refuses the runtime that cannot compute the aggregator."""
        runtime, chosen = self.run.runtime, None
        if self.aggregation.last in IN_PROCESS_ONLY:
            chosen = f"--aggregator={self.aggregation.name}"
        elif self.privacy.dp_secure_noise and runtime not in SAME_BITS:
            # The server draws this noise, and it is in this process.
            chosen = "--dp_secure_noise"
        if chosen is not None and runtime != "in_process":
            raise errors.ConfigError(
                f"--runtime={runtime} is not used with {chosen}, which "
                "computes outside of TensorFlow; leave out --runtime."
            )

    def _check_private_devices(self) -> None:
        """Refuses devices by which a client moves more than its own update."""
        devices, name = self.devices, self.aggregation.name
        if devices.over_selection > 1:
            raise errors.ConfigError(
                f"--over_selection={devices.over_selection} is not used with "
                f"--aggregator={name}: where the first to finish are kept, a "
                "client that comes puts another out, and moves the sum by more "
                "than the clip; leave it out and raise --clients_per_round."
            )
        if devices.client_learning_rates == BY_SIZE:
            raise errors.ConfigError(
                f"--client_learning_rates={BY_SIZE} with --aggregator={name} "
                "compares clients' sizes, which no noise protects; leave it "
                "out, or name a file."
            )
        if devices.timed and devices.round_deadline_s is None:
            raise errors.ConfigError(
                f"--aggregator={name} needs --round_deadline_s=... where the "
                "time of day says who comes (--device_availability, "
                "--device_sessions): rounds must last equally long, else a "
                "slow client changes who comes after it."
            )
        if devices.simulated and MECHANISM_OF[name] == "distributed":
            raise errors.ConfigError(
                f"--aggregator={name} is not used with simulated devices "
                "(--device_..., --stragglers, --round_deadline_s): every "
                "client that is lost takes its share of the noise with it; "
                "leave them out, or choose dp_gaussian."
            )

    @property
    def private(self) -> bool:
        """True if differential privacy protects whole clients."""
        return self.aggregation.last in MECHANISM_OF

    def _settle_aggregation(self) -> None:
        """Fills in how many clients are hostile: a fifth, rounded up."""
        aggregation = self.aggregation
        if (
            "byzantine_clients" in aggregation.takes
            and aggregation.byzantine_clients is None
        ):
            aggregation = dataclasses.replace(
                aggregation,
                byzantine_clients=math.ceil(self.clients.clients_per_round / 5),
            )
            object.__setattr__(self, "aggregation", aggregation)

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
        privacy.settle_for(
            aggregation.name, self.clients.dp_target_epsilon is not None
        )
        object.__setattr__(self, "privacy", privacy)

    def _settle_clients(self) -> None:
        """Fills in sampling and weighting as the aggregator takes them."""
        clients, name = self.clients, self.aggregation.name
        takes = ("uniform", *SAMPLING_OPTIONS)
        if self.private:
            takes = SAMPLINGS_OF[self.privacy.mechanism(name)]
        secure = " --dp_secure_noise" if self.privacy.dp_secure_noise else ""
        if clients.sampling not in (None, *takes):
            raise errors.ConfigError(
                f"--sampling={clients.sampling} is not accounted for with "
                f"--aggregator={name}{secure}; choose {' or '.join(takes)}, or "
                "leave it out."
            )
        private = self.private
        if private and clients.weighting not in (None, "uniform"):
            raise errors.ConfigError(
                f"--client_weighting={clients.weighting} with "
                f"--aggregator={name} would let a client with many examples "
                "move the mean by more than the clip; leave it out, and all "
                "count the same."
            )
        alike = self.algorithm.name in COUNT_ALIKE
        robust = self.aggregation.robust
        if (
            clients.weighting not in (None, "uniform")
            and not self.aggregation.takes_weights
        ):
            raise errors.ConfigError(
                f"--client_weighting={clients.weighting} is not used with "
                f"--aggregator={name}, in which all count the same: a hostile "
                "client would say that it has many examples; leave it out."
            )
        if alike and clients.weighting not in (None, "uniform"):
            raise errors.ConfigError(
                f"--client_weighting={clients.weighting} is not used with "
                f"--algorithm={self.algorithm.name}, in which every client "
                "counts the same; leave it out."
            )
        if clients.kept_momentum is not None and (
            private or self.algorithm.name not in KEEP_MOMENTUM
        ):
            raise errors.ConfigError(
                f"--client_kept_momentum={clients.kept_momentum} is not used "
                f"with --algorithm={self.algorithm.name} and "
                f"--aggregator={name}: it is for {', '.join(KEEP_MOMENTUM)} "
                "without a privacy plan, which counts what a client did in one "
                "round alone; leave it out."
            )
        attackers_keep = self.attack.attack_kept_momentum
        if attackers_keep is not None and clients.kept_momentum is None:
            raise errors.ConfigError(
                f"--attack_kept_momentum={str(attackers_keep).lower()} is only "
                "used with --client_kept_momentum, and no client keeps a "
                "momentum; set that, or leave it out."
            )
        clients = dataclasses.replace(
            clients,
            sampling=clients.sampling or takes[0],
            weighting=clients.weighting
            or ("uniform" if private or alike or robust else "num_examples"),
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
        if clients.class_weights == BALANCED and (
            private or clients.dp_target_epsilon is not None
        ):
            raise errors.ConfigError(
                f"--class_weights={BALANCED} counts the labels of clients, "
                "which no noise protects; with differential privacy, name a "
                "weight for each class that you know beforehand, such as "
                "--class_weights=1,3.5."
            )

    def groups(self) -> tuple[fields.Group, ...]:
        """Returns all groups of fields, the optimizers' too."""
        return (
            self.data,
            self.data.model,
            self.clients,
            self.clients.optimizer,
            self.server,
            self.server.optimizer,
            self.algorithm,
            self.aggregation,
            self.compression,
            self.pruning,
            self.privacy,
            self.devices,
            self.secure_aggregation,
            self.attack,
            self.run,
        )

    def flags(self, identity_only: bool = False) -> dict[str, Any]:
        """Returns the values that are set: flag name -> value.

        Args:
          identity_only: Whether to leave out the flags that a resumed run may
            change, such as --output_dir.

        Returns:
          The values, in the groups' order.
        """
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
        if identity_only and self.run.runtime in SAME_BITS:
            values["runtime"] = SAME_BITS[0]
        return values

    def flagfile(self) -> str:
        """Returns a flagfile's text that repeats the run in another folder."""
        values = {**self.flags(), "output_dir": None}
        files = {
            **self.data.files(),
            **self.algorithm.files(),
            **self.devices.files(),
        }
        for flag, path in files.items():
            values[flag] = os.path.abspath(path)
        for flag in ("init_from", "init_adapter"):
            place = values.get(flag)
            if place is not None and not place.startswith("pypi:"):
                values[flag] = os.path.abspath(place)
        return "".join(
            f"--{flag}={fields.in_flagfile(value)}\n"
            for flag, value in values.items()
            if value is not None
        )

    def to_json(self) -> str:
        """Returns the configuration as JSON, with a line break at its end."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ExperimentConfig":
        """Reads a configuration.

        Args:
          text: Text that `to_json` wrote.

        Raises:
          ConfigError: If it is anything else.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise errors.ConfigError(
                f"The configuration is not JSON: {error}."
            ) from None
        return _from_dict(cls, values, "configuration")


def _from_dict(cls: type, values: Any, where: str) -> Any:
    """Builds a dataclass from nested dicts of JSON values.

    Args:
      cls: The dataclass.
      values: Dict from names of fields to their values; a field that is a
        dataclass again has a dict.
      where: Words for the outermost object, for errors.

    Returns:
      A `cls`.

    Raises:
      ConfigError: If a field is unknown or missing, or its value is not
        allowed.
    """
    if not isinstance(values, dict):
        raise errors.ConfigError(
            f"The {where} must be an object, not {values!r}."
        )
    known = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise errors.ConfigError(
            f"The {where} has unknown fields: {', '.join(unknown)}; known "
            f"are: {', '.join(known)}."
        )
    arguments = {
        name: _from_dict(type(known[name].default), value, f"{where}.{name}")
        if dataclasses.is_dataclass(known[name].default)
        else value
        for name, value in values.items()
    }
    for name, field in known.items():
        if field.default is dataclasses.MISSING and name not in arguments:
            raise errors.ConfigError(f"The {where}.{name} is missing.")
    return cls(**arguments)
