"""Flags that describe an experiment: the fields of `config`, one for one.

A flag's name, default, check and help text are written once, in `config`.
"""

import dataclasses
from typing import Any

from absl import flags

from tff_pipeline import config, errors
from tff_pipeline.flags import parsing

_SIDES = ("client", "server")
# What --help of train.py shows; --helpfull shows all.
_FIRST = (
    *("task", "data_dir", "model_fn", "partition", "num_clients"),
    *("client_column", "label_column", "feature_columns", "task_type"),
    *("clients_per_round", "client_epochs_per_round", "client_batch_size"),
    *("client_optimizer", "client_learning_rate"),
    *("server_optimizer", "server_learning_rate"),
    *("aggregator", "dp_clip", "dp_target_epsilon"),
    *("output_dir", "total_rounds", "seed", "overwrite"),
)


def define_experiment_flags() -> None:
    """Defines a flag for every field of `ExperimentConfig`."""
    titles = (
        "Task and data",
        "Pretrained and language models",
        "Clients",
        "Client optimizer",
        "Server",
        "Server optimizer",
        "Algorithm",
        "Aggregation",
        "Compression",
        "Pruning",
        "Differential privacy",
        "Devices",
        "Secure aggregation",
        "Attacks",
        "Run",
    )
    groups = config.ExperimentConfig().groups()
    for title, group in zip(titles, groups):
        if isinstance(group, config.OptimizerConfig):
            _define_optimizer_flags(title, group)
            continue
        for name, field in group.options():
            _define(title, name, field, field.default)
    parsing.define_switch(
        "Run",
        "overwrite",
        "Deletes the run that --output_dir holds, if there is one, first.",
    )
    parsing.define_switch(
        "Run",
        "profile",
        "Measures where the time goes (profile.txt), and traces a few rounds "
        "for TensorBoard.",
    )
    parsing.FIRST.update(_FIRST)


def _define(
    title: str,
    name: str,
    field: dataclasses.Field[Any],
    default: Any,
    more_help: str = "",
) -> None:
    """Defines the flag of a field of `config`."""
    metadata = field.metadata
    help_text = metadata["help"] + more_help
    parsing.define_flag(title, name, metadata["allowed"], help_text, default)


def _define_optimizer_flags(title: str, group: config.OptimizerConfig) -> None:
    fields = {field.name: field for _, field in group.options()}
    for name in config.SHARED_FIELDS:
        flag = config.optimizer_flag(group.side, name, group.name)
        _define(title, flag, fields[name], getattr(group, name))
    for optimizer, options in config.OPTIMIZER_OPTIONS.items():
        for name, default in options.items():
            flag = config.optimizer_flag(group.side, name, optimizer)
            # Not the flag's default: set, it is refused by other optimizers.
            more_help = f" Default: {default:g}."
            _define(title, flag, fields[name], None, more_help)


def _optimizer(side: str) -> config.OptimizerConfig:
    """Configuration of one side's optimizer, options of others refused."""
    name = parsing.FLAGS[f"{side}_optimizer"].value
    options: dict[str, Any] = {}
    for optimizer, names in config.OPTIMIZER_OPTIONS.items():
        for option in names:
            flag = config.optimizer_flag(side, option, optimizer)
            value = parsing.FLAGS[flag].value
            if value is None:
                continue
            if optimizer != name:
                raise errors.ConfigError(
                    f"--{flag}={value} is not used with "
                    f"--{side}_optimizer={name}; leave it out, or choose "
                    f"--{side}_optimizer={optimizer}."
                )
            options[option] = value
    for field in config.SHARED_FIELDS:
        flag = config.optimizer_flag(side, field, name)
        options[field] = parsing.FLAGS[flag].value
    return config.OptimizerConfig(side, **options)


def _group(cls: type, **nested: Any) -> Any:
    """A group of fields, filled from the flags."""
    values = {
        field.name: parsing.FLAGS[name].value for name, field in cls().options()
    }
    return cls(**values, **nested)


def _data() -> config.DataConfig:
    """Returns the options of the task, with those of its model."""
    return _group(config.DataConfig, model=_group(config.ModelConfig))


def experiment_config() -> config.ExperimentConfig:
    """Returns the configuration that the flags describe.

    Raises:
      ConfigError: If a flag's value is not allowed, or not with the others, or
        --output_dir is not set; the message names the flag.
    """
    client_optimizer, server_optimizer = map(_optimizer, _SIDES)
    experiment = config.ExperimentConfig(
        data=_data(),
        clients=_group(config.ClientConfig, optimizer=client_optimizer),
        server=_group(config.ServerConfig, optimizer=server_optimizer),
        algorithm=_group(config.AlgorithmConfig),
        aggregation=_group(config.AggregationConfig),
        compression=_group(config.CompressionConfig),
        pruning=_group(config.PruningConfig),
        privacy=_group(config.PrivacyConfig),
        devices=_group(config.DeviceConfig),
        secure_aggregation=_group(config.SecureAggregationConfig),
        attack=_group(config.AttackConfig),
        run=_group(config.RunConfig),
    )
    if experiment.run.output_dir is None:
        raise errors.ConfigError(
            "--output_dir is not set; name the folder for this run's results."
        )
    return experiment


def define_task_flags() -> None:
    """Defines the flags of scripts/check_model.py: as of inspect_data.py."""
    define_experiment_flags()
    data = parsing.SECTIONS["Task and data"]
    model = parsing.SECTIONS["Pretrained and language models"]
    parsing.SECTIONS.clear()
    parsing.FIRST.clear()
    parsing.SECTIONS["Task and data"] = [*data, *model, "seed"]


def define_inspection_flags() -> None:
    """Defines the flags of scripts/inspect_data.py.

    All of train.py's are taken, so that its flagfiles can be read; --help shows
    those that make a difference.
    """
    define_task_flags()
    flags.DEFINE_string(
        "output", "partition.png", "Names the PNG file to draw to."
    )
    parsing.SECTIONS["Picture"] = ["output"]


def task_config() -> config.ExperimentConfig:
    """Returns the configuration of a task: its data, model and seed.

    Raises:
      ConfigError: If one of these is not allowed; the message names it.
    """
    return config.ExperimentConfig(
        data=_data(),
        # At least one client exists, however small --num_clients is.
        clients=config.ClientConfig(clients_per_round=1),
        run=config.RunConfig(seed=parsing.FLAGS["seed"].value),
    )


def inspection() -> tuple[config.ExperimentConfig, str]:
    """Returns the configuration of scripts/inspect_data.py, and --output.

    Only the task, the data and the seed are taken from the flags.

    Raises:
      ConfigError: If one of these is not allowed; the message names it.
    """
    output = parsing.FLAGS["output"].value
    if not output.lower().endswith(".png"):
        raise errors.ConfigError(
            f"--output={output}: must end in .png, for it is a picture."
        )
    return task_config(), output
