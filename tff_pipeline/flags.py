"""Command-line flags; the only module that touches absl's flags.

The flags are the fields of `config`, one for one, so a flag's name, default,
check and help text are written once, there. A script calls `run(main)`; in
`main`, `experiment_config()` gives the flags' `ExperimentConfig`.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Optional

from absl import app, flags

from tff_pipeline import config, errors
from tff_pipeline.runtime import silence

FLAGS = flags.FLAGS
_SIDES = ("client", "server")


def _define(name: str, field: Any, default: Any, optional: bool) -> None:
    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }[field.metadata["allowed"].kind]
    define(name, None if optional else default, field.metadata["help"])


def define_experiment_flags() -> None:
    """Defines the flags of all of `ExperimentConfig`'s fields."""
    for group in config.ExperimentConfig().groups():
        if isinstance(group, config.OptimizerConfig):
            _define_optimizer_flags(group)
            continue
        for name, field in group.options():
            _define(name, field, field.default, field.default is None)
    flags.DEFINE_boolean(
        "overwrite", False, "Delete the run that --output_dir holds, if any."
    )


def _define_optimizer_flags(group: config.OptimizerConfig) -> None:
    fields = {field.name: field for _, field in group.options()}
    for name in ("name", "learning_rate"):
        flag = config.optimizer_flag(group.side, name, group.name)
        _define(flag, fields[name], getattr(group, name), optional=False)
    for optimizer, options in config.OPTIMIZER_OPTIONS.items():
        for name in options:
            flag = config.optimizer_flag(group.side, name, optimizer)
            _define(flag, fields[name], None, optional=True)


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


def experiment_config() -> config.ExperimentConfig:
    """The flags as a config; raises `ConfigError`, naming the flag."""

    def group(cls: type, **nested: Any) -> Any:
        values = {
            field.name: FLAGS[name].value for name, field in cls().options()
        }
        return cls(**values, **nested)

    client_optimizer, server_optimizer = map(_optimizer, _SIDES)
    experiment = config.ExperimentConfig(
        data=group(config.DataConfig),
        clients=group(config.ClientConfig, optimizer=client_optimizer),
        server=group(config.ServerConfig, optimizer=server_optimizer),
        run=group(config.RunConfig),
    )
    if experiment.run.output_dir is None:
        raise errors.ConfigError(
            "--output_dir is not set; name the folder for this run's results."
        )
    return experiment


def define_run_dir_flags() -> None:
    """Defines the flags of scripts that look at a finished run."""
    flags.DEFINE_string("run_dir", None, "Folder of a run of train.py.")
    flags.DEFINE_integer(
        "round", None, "Round whose checkpoint to use; default: the last."
    )
    flags.DEFINE_string(
        "data_dir", None, "The task's data, if not where the run found it."
    )


def run(main: Callable[[], Optional[int]]) -> None:
    """Parses the flags, calls `main()` and exits with its status.

    A `PipelineError` is printed as one sentence; its class decides the exit
    status: 2 for usage, 1 for failure.
    """
    # So that --help shows our flags and not only the script's own.
    flags.adopt_module_key_flags(sys.modules[__name__])

    def parse(argv: Sequence[str]) -> Sequence[str]:
        try:
            arguments = FLAGS(argv)
        except (flags.Error, OSError, UnicodeDecodeError) as error:
            _exit(str(error), errors.ConfigError.exit_status)
        if len(arguments) > 1:
            _exit(
                f"{arguments[1]!r} is not a flag; flags are written "
                "--name=value, see --help.",
                errors.ConfigError.exit_status,
            )
        return arguments

    def start(_: Sequence[str]) -> Optional[int]:
        # absl's own flag: -1 is warnings and errors, 0 and above is more.
        if FLAGS.verbosity < 0:
            silence.silence()
        try:
            return main()
        except errors.PipelineError as error:
            return _exit(str(error), error.exit_status)

    app.run(start, flags_parser=parse)


def _exit(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
