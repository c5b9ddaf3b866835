"""Command-line flags; the only module that touches absl's flags.

The flags are the fields of `config`, one for one, so a flag's name, default,
check and help text are written once, there. A script calls `run(main)`; in
`main`, `experiment_config()` gives the flags' `ExperimentConfig`.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Optional

from absl import flags
from absl import logging as absl_logging  # noqa: F401  (--verbosity)

from tff_pipeline import config, errors, flagfile, silence
from tff_pipeline.config.fields import Allowed

FLAGS = flags.FLAGS
_LONGEST_NAME = 40
_SIDES = ("client", "server")
# Heading -> names of the flags below it, in the order of --help.
_SECTIONS: dict[str, list[str]] = {}


def define_experiment_flags() -> None:
    """Defines a flag for every field of `ExperimentConfig`."""
    titles = (
        "Task and data",
        "Clients",
        "Client optimizer",
        "Server",
        "Server optimizer",
        "Aggregation and privacy",
        "Run",
    )
    groups = config.ExperimentConfig().groups()
    for title, group in zip(titles, groups):
        if isinstance(group, config.OptimizerConfig):
            _define_optimizer_flags(title, group)
            continue
        for name, field in group.options():
            _define(title, name, field, field.default)
    define_switch(
        "Run", "overwrite", "Delete the run that --output_dir holds, if any."
    )
    define_switch(
        "Run", "profile", "Say where the time went, and trace a few rounds."
    )


def _define(title: str, name: str, field: Any, default: Any) -> None:
    """Defines the flag of a field of `config`."""
    metadata = field.metadata
    define_flag(title, name, metadata["allowed"], metadata["help"], default)


def define_flag(
    title: str, name: str, allowed: Allowed, help_text: str, default: Any = None
) -> None:
    """Defines a flag, shown by --help below the heading `title`."""
    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_boolean,
    }[allowed.kind]
    if allowed.names:
        help_text += f" ({', '.join(allowed.names)})"
    define(name, default, help_text)
    _SECTIONS.setdefault(title, []).append(name)


def _define_optimizer_flags(title: str, group: config.OptimizerConfig) -> None:
    fields = {field.name: field for _, field in group.options()}
    for name in ("name", "learning_rate"):
        flag = config.optimizer_flag(group.side, name, group.name)
        _define(title, flag, fields[name], getattr(group, name))
    for optimizer, options in config.OPTIMIZER_OPTIONS.items():
        for name in options:
            flag = config.optimizer_flag(group.side, name, optimizer)
            _define(title, flag, fields[name], None)


def define_switch(title: str, name: str, help_text: str) -> None:
    """Defines a flag that is there or not."""
    flags.DEFINE_boolean(name, False, help_text)
    _SECTIONS.setdefault(title, []).append(name)


def _optimizer(side: str) -> config.OptimizerConfig:
    name = FLAGS[f"{side}_optimizer"].value
    options = {}
    for optimizer, names in config.OPTIMIZER_OPTIONS.items():
        for option in names:
            flag = config.optimizer_flag(side, option, optimizer)
            value = FLAGS[flag].value
            if value is None:
                continue
            if optimizer != name:
                raise errors.ConfigError(
                    f"--{flag}={value} is not used with "
                    f"--{side}_optimizer={name}; leave it out, or choose "
                    f"--{side}_optimizer={optimizer}."
                )
            options[option] = value
    return config.OptimizerConfig(
        side, name, FLAGS[f"{side}_learning_rate"].value, **options
    )


def _group(cls: type, **nested: Any) -> Any:
    values = {field.name: FLAGS[name].value for name, field in cls().options()}
    return cls(**values, **nested)


def experiment_config() -> config.ExperimentConfig:
    """The flags as a config; raises `ConfigError`, naming the flag."""
    client_optimizer, server_optimizer = map(_optimizer, _SIDES)
    experiment = config.ExperimentConfig(
        data=_group(config.DataConfig),
        clients=_group(config.ClientConfig, optimizer=client_optimizer),
        server=_group(config.ServerConfig, optimizer=server_optimizer),
        aggregator=_group(config.AggregatorConfig),
        run=_group(config.RunConfig),
    )
    if experiment.run.output_dir is None:
        raise errors.ConfigError(
            "--output_dir is not set; name the folder for this run's results."
        )
    return experiment


def define_inspection_flags() -> None:
    """Defines the flags of scripts/inspect_data.py.

    All of train.py's are taken, so that its flagfiles can be read; --help shows
    those that make a difference.
    """
    define_experiment_flags()
    data = _SECTIONS["Task and data"]
    _SECTIONS.clear()
    _SECTIONS["Task and data"] = [*data, "seed"]
    flags.DEFINE_string("output", "partition.png", "PNG file to draw to.")
    _SECTIONS["Picture"] = ["output"]


def inspection() -> tuple[config.ExperimentConfig, str]:
    """The flags' config, of which the data and the seed hold, and --output.

    Raises:
      ConfigError: If one of these is not allowed; it is named.
    """
    experiment = config.ExperimentConfig(
        data=_group(config.DataConfig),
        # One is there, however few --num_clients there are.
        clients=config.ClientConfig(clients_per_round=1),
        run=config.RunConfig(seed=FLAGS["seed"].value),
    )
    output = FLAGS["output"].value
    if not output.lower().endswith(".png"):
        raise errors.ConfigError(
            f"--output={output}: must end in .png, for it is a picture."
        )
    return experiment, output


def run(main: Callable[[], Optional[int]]) -> None:
    """Parses the flags, calls `main()` and exits with its status.

    A `PipelineError` is printed as one sentence; its class decides the exit
    status: 2 for usage, 1 for failure.

    Not `absl.app.run`: TensorFlow, when imported after that has begun, enters
    graph mode (tensorflow/python/distribute/combinations.py asks for the GPUs
    too early), and scripts import it only when their flags hold.
    """
    try:
        _parse(sys.argv)
        if FLAGS.verbosity < 0:
            silence.silence()
        else:
            logging.basicConfig(level=logging.INFO)
        status = main()
        sys.stdout.flush()
    except errors.PipelineError as error:
        # One line, whatever a flag's value holds.
        print("error:", *str(error).split(), file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print(
            "error: interrupted; what was saved still stands.", file=sys.stderr
        )
        status = 130
    except BrokenPipeError:
        # Who read our output left. Python must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def _parse(argv: Sequence[str]) -> None:
    if {"--help", "-h"} & set(argv[1:]):
        print(_help(), flush=True)
        sys.exit(0)
    given = flagfile.expanded(argv[1:])
    for name in (each.partition("=")[0] for each in given):
        # absl would look for minutes which flag was meant.
        if name.startswith("-") and len(name) > _LONGEST_NAME:
            raise errors.ConfigError(
                f"{name[:_LONGEST_NAME]!r}... is not a flag; flags are written "
                "--name=value, see --help."
            )
    try:
        arguments = FLAGS([argv[0], *given])
    except flags.Error as error:
        raise errors.ConfigError(str(error).replace("ERROR:: ", "")) from None
    if len(arguments) > 1:
        raise errors.ConfigError(
            f"{arguments[1]!r} is not a flag; flags are written --name=value, "
            "see --help."
        )


def _help() -> str:
    lines = [sys.modules["__main__"].__doc__ or ""]
    for title, names in _SECTIONS.items():
        lines.append(f"{title}:")
        for name in names:
            default = FLAGS[name].default
            shown = "" if default is None or default is False else f"={default}"
            lines.append(f"  --{name + shown:<38} {FLAGS[name].help}")
        lines.append("")
    lines += [
        "Output:",
        f"  --{'verbosity=0':<38} Show what TensorFlow and TFF say.",
        f"  --{'flagfile=FILE':<38} Read flags from a file, one a line.",
    ]
    return "\n".join(lines)
