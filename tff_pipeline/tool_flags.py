"""The flags of tools beside training, but for those that look at a run."""

import dataclasses
import os
import re
from typing import Any, Optional

from tff_pipeline import config, errors, fields, flags
from tff_pipeline.fields import Allowed
from tff_pipeline.serving.settings import Settings

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
    for name, allowed, help_text in (
        ("input", fields.TEXT, "File or folder to read."),
        ("output", fields.TEXT, "SQLite file to write."),
        (
            "image_size",
            _IMAGE_SIZE,
            "Make images of this height x width, such as 32x32 (default: they "
            "must all have the size of the first).",
        ),
    ):
        flags.define_flag("Files", name, allowed, help_text)
    flags.define_switch(
        "Files", "overwrite", "Replace what --output holds, if anything."
    )
    options = dict(config.DataConfig().options())
    for name in _PREPARE_OPTIONS:
        metadata = options[name].metadata
        flags.define_flag(
            "Labels and tables", name, metadata["allowed"], metadata["help"]
        )


def prepare_question() -> tuple[str, str, dict[str, Any], Optional[list[int]]]:
    """(--input, --output, options of `DataConfig`, image height and width).

    Raises:
      ConfigError: If one is missing or not allowed; it is named.
    """
    paths = {name: flags.FLAGS[name].value for name in ("input", "output")}
    for name, value in paths.items():
        if value is None:
            raise errors.ConfigError(f"--{name} is not set; name a file.")
    if os.path.exists(paths["output"]) and not flags.FLAGS["overwrite"].value:
        raise errors.ConfigError(
            f"--output={paths['output']} exists; give another, or --overwrite "
            "to replace it."
        )
    options = {
        name: flags.FLAGS[name].value
        for name in _PREPARE_OPTIONS
        if flags.FLAGS[name].value is not None
    }
    size = flags.FLAGS["image_size"].value
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
    (
        "mechanism",
        fields.TEXT,
        "gaussian",
        "gaussian, tree, tree_restart, matrix, local or distributed.",
    ),
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
        "pld, rdp, rdp_classic or zcdp; default: the tightest there is.",
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
        flags.define_flag("Setting", name, allowed, help_text, default)


def privacy_question() -> Any:
    """The flags of scripts/privacy.py as an `answer.Question`.

    Raises:
      ConfigError: If one is missing or out of range; it is named.
    """
    from tff_pipeline.privacy import accounting, answer

    values = {name: flags.FLAGS[name].value for name, *_ in _PRIVACY_FLAGS}
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
            if f.name in values
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


_MAX_EXAMPLES = "max_examples"


def define_audit_flags() -> None:
    """Defines the flags of scripts/audit.py."""
    flags.define_run_dir_flags()
    flags.define_flag(
        "Audit",
        _MAX_EXAMPLES,
        fields.COUNT,
        "Members, and non-members, at most.",
        10_000,
    )
    flags.define_switch(
        "Audit", "per_class", "Attack every class by itself too."
    )


def audit_question() -> dict[str, Any]:
    """The flags of scripts/audit.py, as `audit.audit` takes them.

    Raises:
      ConfigError: If one is missing or not allowed; it is named.
    """
    run_dir, round_number, data_dir = flags.run_dir()
    most = flags.FLAGS[_MAX_EXAMPLES].value
    fields.COUNT.check(_MAX_EXAMPLES, most)
    return {
        "run_dir": run_dir,
        "round_number": round_number,
        "data_dir": data_dir,
        "max_examples": most,
        "per_class": flags.FLAGS["per_class"].value,
    }


def define_check_flags() -> None:
    """Defines the flags of scripts/check_export.py."""
    for name, allowed, help_text in (
        ("model", fields.TEXT, "What scripts/export.py wrote."),
        (
            "replay",
            fields.TEXT,
            "Inputs and outputs (.npz), if not those that lie with the model.",
        ),
        (
            "tolerance",
            fields.NOT_NEGATIVE,
            "Largest difference, relative (default: by the format).",
        ),
    ):
        flags.define_flag("Check", name, allowed, help_text)


def check_question() -> tuple[str, Optional[str], Optional[float]]:
    """--model, --replay and --tolerance.

    Raises:
      ConfigError: If the first is missing, or the last not allowed.
    """
    model = flags.FLAGS["model"].value
    if model is None:
        raise errors.ConfigError(
            "--model is not set; name what scripts/export.py wrote."
        )
    tolerance = flags.FLAGS["tolerance"].value
    if tolerance is not None:
        fields.NOT_NEGATIVE.check("tolerance", tolerance)
    return model, flags.FLAGS["replay"].value, tolerance


def define_verify_flags() -> None:
    """Defines the flags of scripts/verify.py."""
    for name, help_text in (
        ("run_dir", "Folder of a run of train.py."),
        ("data_dir", "The task's data, if not where the run found it."),
        ("public_key", "PEM file of the key that must have signed the log."),
    ):
        flags.define_flag("Run", name, fields.TEXT, help_text)
    flags.define_switch("Run", "rerun", "Train again and compare every bit.")


def verify_question() -> tuple[str, Optional[str], Optional[str], bool]:
    """--run_dir, --data_dir, --public_key and --rerun.

    Raises:
      ConfigError: If the first is missing.
    """
    run_dir = flags.FLAGS["run_dir"].value
    if run_dir is None:
        raise errors.ConfigError(
            "--run_dir is not set; name a folder that scripts/train.py wrote."
        )
    data_dir = flags.FLAGS["data_dir"].value
    public_key = flags.FLAGS["public_key"].value
    return run_dir, data_dir, public_key, flags.FLAGS["rerun"].value


def define_serve_flags() -> None:
    """Defines the flags of scripts/serve.py: the fields of `Settings`."""
    for field in dataclasses.fields(Settings):
        flags.define_flag(
            "Serving",
            field.name,
            field.metadata["allowed"],
            field.metadata["help"],
            field.default,
        )


def serve_settings() -> Settings:
    """The flags of scripts/serve.py.

    Raises:
      ConfigError: If one is missing or not allowed; it is named.
    """
    return Settings(
        **{
            field.name: flags.FLAGS[field.name].value
            for field in dataclasses.fields(Settings)
        }
    )
