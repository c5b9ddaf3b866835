"""Command-line flags; the only module that touches absl's flags.

The flags are the fields of `config`, one for one, so a flag's name, default,
check and help text are written once, there. A script calls `run(main)`; in
`main`, `experiment_config()` gives the flags' `ExperimentConfig`.
"""

import dataclasses
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Optional

from absl import flags
from absl import logging as absl_logging  # noqa: F401  (--verbosity)

from tff_pipeline import config, errors, fields
from tff_pipeline.fields import Allowed
from tff_pipeline.runtime import silence

FLAGS = flags.FLAGS
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
        "Run",
    )
    groups = config.ExperimentConfig().groups()
    for title, group in zip(titles, groups):
        if isinstance(group, config.OptimizerConfig):
            _define_optimizer_flags(title, group)
            continue
        for name, field in group.options():
            _define(title, name, field, field.default)
    _define_switch(
        "Run", "overwrite", "Delete the run that --output_dir holds, if any."
    )
    _define_switch(
        "Run", "profile", "Say where the time went, and trace a few rounds."
    )


def _define(title: str, name: str, field: Any, default: Any) -> None:
    allowed = field.metadata["allowed"]
    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }[allowed.kind]
    help_text = field.metadata["help"]
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


def _define_switch(title: str, name: str, help_text: str) -> None:
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


def define_run_dir_flags() -> None:
    """Defines the flags of scripts that look at a run."""
    flags.DEFINE_string("run_dir", None, "Folder of a run of train.py.")
    flags.DEFINE_integer("round", None, "Which checkpoint; default: the last.")
    flags.DEFINE_string(
        "data_dir", None, "The task's data, if not where the run found it."
    )
    _SECTIONS["Run"] = ["run_dir", "round", "data_dir"]


def define_export_flags() -> None:
    """Defines where and how scripts/export.py writes."""
    flags.DEFINE_string("output", None, "Folder to write the model to.")
    _SECTIONS["Export"] = ["output"]
    _define_switch(
        "Export", "overwrite", "Replace what --output holds, if anything."
    )


# What scripts/prepare_data.py takes of `config.DataConfig`.
_PREPARE_OPTIONS = (
    "client_column",
    "label_column",
    "feature_columns",
    "categorical_columns",
    "task_type",
    "split_column",
)
_IMAGE_SIZE = Allowed(
    str,
    "height x width in pixels, such as 32x32",
    lambda v: re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", v) is not None,
)


def define_prepare_flags() -> None:
    """Defines the flags of scripts/prepare_data.py."""
    flags.DEFINE_string("input", None, "File or folder to read.")
    flags.DEFINE_string("output", None, "SQLite file to write.")
    flags.DEFINE_string(
        "image_size",
        None,
        "Make images of this height x width, such as 32x32 (default: they must "
        "all have the size of the first).",
    )
    _SECTIONS["Files"] = ["input", "output", "image_size"]
    _define_switch(
        "Files", "overwrite", "Replace what --output holds, if anything."
    )
    options = dict(config.DataConfig().options())
    for name in _PREPARE_OPTIONS:
        _define("Labels and tables", name, options[name], None)


def prepare_question() -> tuple[str, str, dict[str, Any], Optional[list[int]]]:
    """(--input, --output, options of `DataConfig`, image height and width).

    Raises:
      ConfigError: If one is missing or not allowed; it is named.
    """
    paths = {name: FLAGS[name].value for name in ("input", "output")}
    for name, value in paths.items():
        if value is None:
            raise errors.ConfigError(f"--{name} is not set; name a file.")
    if os.path.exists(paths["output"]) and not FLAGS["overwrite"].value:
        raise errors.ConfigError(
            f"--output={paths['output']} exists; give another, or --overwrite "
            "to replace it."
        )
    options = {
        name: FLAGS[name].value
        for name in _PREPARE_OPTIONS
        if FLAGS[name].value is not None
    }
    size = FLAGS["image_size"].value
    if size is None:
        return paths["input"], paths["output"], options, None
    _IMAGE_SIZE.check("image_size", size)
    return (
        paths["input"],
        paths["output"],
        options,
        list(map(int, size.split("x"))),
    )


_FORMATS = fields.known({"text": "for people", "json": "for programs"})
_PRIVACY_FLAGS: tuple[tuple[str, Allowed, Any, str], ...] = (
    ("mechanism", fields.TEXT, "gaussian", "gaussian, tree or tree_restart."),
    (
        "sampling",
        fields.TEXT,
        "poisson",
        "poisson, uniform, shuffled or min_separation.",
    ),
    ("population", fields.COUNT, None, "Clients there are."),
    ("cohort_size", fields.COUNT, None, "Clients a round."),
    ("rounds", fields.COUNT, None, "Rounds."),
    (
        "min_separation",
        fields.COUNT,
        None,
        "Least rounds from one participation of a client to the next.",
    ),
    (
        "noise_multiplier",
        fields.NOT_NEGATIVE,
        None,
        "Noise over sensitivity: a clip, or two with --sampling=uniform.",
    ),
    ("target_epsilon", fields.POSITIVE, None, "Find the noise it needs."),
    (
        "mean_noise",
        fields.POSITIVE,
        None,
        "Find the smallest cohort that keeps --target_epsilon with this noise "
        "on the mean, in clips.",
    ),
    ("delta", fields.FRACTION, None, "Default: 1 / population^1.1."),
    (
        "accountant",
        fields.TEXT,
        None,
        "pld, rdp or rdp_classic; default: the tightest for the sampling.",
    ),
    (
        "format",
        fields.known({"text": "", "json": ""}),
        "text",
        "Of the answer.",
    ),
    ("curve", fields.TEXT, None, "PNG file to draw epsilon to, over rounds."),
)


def define_privacy_flags() -> None:
    """Defines the flags of scripts/privacy.py."""
    for name, allowed, default, help_text in _PRIVACY_FLAGS:
        metadata = {"allowed": allowed, "help": help_text}
        field = dataclasses.field(metadata=metadata)
        _define("Setting", name, field, default)


def privacy_question() -> Any:
    """The flags of scripts/privacy.py as an `answer.Question`.

    Raises:
      ConfigError: If one is missing or out of range; it is named.
    """
    from tff_pipeline.privacy import accounting, answer

    values = {name: FLAGS[name].value for name, *_ in _PRIVACY_FLAGS}
    for name, allowed, *_ in _PRIVACY_FLAGS:
        if values[name] is not None:
            allowed.check(name, values[name])
    if values["cohort_size"] is None and values["mean_noise"] is not None:
        values["cohort_size"] = values["population"]
    for name in ("population", "cohort_size", "rounds"):
        if values[name] is None:
            raise errors.ConfigError(f"--{name} is not set; give a number.")
    setting = accounting.Setting(
        **{
            f.name: values.pop(f.name)
            for f in dataclasses.fields(accounting.Setting)
        }
    )
    delta = values.pop("delta")
    if delta is None:
        delta = accounting.default_delta(setting.population)
    accountant = values.pop("accountant")
    return answer.Question(
        setting,
        delta,
        accountant or accounting.default_accountant(setting),
        as_json=values.pop("format") == "json",
        **values,
    )


def run_dir() -> tuple[str, Optional[int], Optional[str]]:
    """The flags --run_dir, --round and --data_dir, the first one checked."""
    if FLAGS.run_dir is None:
        raise errors.ConfigError(
            "--run_dir is not set; name a folder that scripts/train.py wrote."
        )
    return FLAGS.run_dir, FLAGS.round, FLAGS.data_dir


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
    try:
        arguments = FLAGS(argv)
    except UnicodeDecodeError as error:
        files = [a for a in argv if a.lstrip("-").startswith("flagfile")]
        raise errors.ConfigError(
            f"{' '.join(files)} is not a text file ({error})."
        ) from None
    except (flags.Error, OSError) as error:
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
