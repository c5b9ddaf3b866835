"""Flags of scripts that read a run: evaluate, export, report, audit, verify.

check_export's are here too.
"""

from typing import Any, Optional, Union

from tff_pipeline import errors, registry
from tff_pipeline.config import fields
from tff_pipeline.flags import parsing


def define_run_dir_flags() -> None:
    """Defines the flags of scripts that look at a run."""
    for name, allowed, help_text in (
        ("run_dir", fields.PATH, "Names the folder of a run of train.py."),
        (
            "round",
            fields.TEXT,
            "Chooses the checkpoint: the number of a saved round, or best. "
            "Default: the last.",
        ),
        (
            "data_dir",
            fields.PATH,
            "Names the task's data files, if they have moved since the run.",
        ),
    ):
        parsing.define_flag("Run", name, allowed, help_text)


def define_evaluation_flags() -> None:
    """Defines the flags of scripts/evaluate.py."""
    define_run_dir_flags()
    parsing.define_flag(
        "Evaluation",
        "threshold",
        fields.PROBABILITY,
        "Predicts the second of two classes above this probability. Default: "
        "0.5.",
    )


def evaluation_question() -> dict[str, Any]:
    """Returns the flags of scripts/evaluate.py, as `saved_runs.evaluate` takes.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    path, round_number, data_dir = run_dir()
    threshold = parsing.FLAGS["threshold"].value
    if threshold is not None:
        fields.PROBABILITY.check("threshold", threshold)
    return {
        "run_dir": path,
        "round_number": round_number,
        "data_dir": data_dir,
        "threshold": threshold,
    }


def define_export_flags() -> None:
    """Defines the flags by which scripts/export.py writes a model."""
    for name, allowed, help_text, default in (
        ("output", fields.PATH, "Names the folder or file to write.", None),
        (
            "format",
            fields.TEXT,
            "Chooses the formats to write, with commas between them, from: "
            f"{', '.join(registry.FORMATS)}.",
            "saved_model",
        ),
        (
            "client",
            fields.TEXT,
            "Exports the own model of this client, for algorithms in which "
            "clients have one. Default: the model of all.",
            None,
        ),
        (
            "version",
            fields.COUNT,
            "Writes the SavedModel into a folder of --output with this number, "
            "as TF Serving expects it. Default: into --output itself.",
            None,
        ),
    ):
        parsing.define_flag("Export", name, allowed, help_text, default)
    parsing.define_switch(
        "Export", "overwrite", "Replaces what --output names, if it is there."
    )


def export_question() -> dict[str, Any]:
    """Returns the flags of scripts/export.py, checked.

    Returns:
      `output`, `formats` (a list of keys of `registry.FORMATS`), `client`,
      `version` and `overwrite`, by name.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    values = {
        name: parsing.FLAGS[name].value
        for name in ("output", "format", "client", "version", "overwrite")
    }
    if values["output"] is None:
        raise errors.ConfigError(
            "--output is not set; name the folder or file to write."
        )
    formats = [name.strip() for name in values.pop("format").split(",")]
    for name in formats:
        if name not in registry.FORMATS or formats.count(name) > 1:
            raise errors.ConfigError(
                f"--format={','.join(formats)}: must be one or more of "
                f"{', '.join(registry.FORMATS)}, each once, with commas "
                "between them."
            )
    if values["version"] is not None:
        fields.COUNT.check("version", values["version"])
        if "saved_model" not in formats:
            raise errors.ConfigError(
                f"--version={values['version']} is for --format=saved_model; "
                "leave it out."
            )
    return {**values, "formats": formats}


def run_dir() -> tuple[str, Optional[Union[int, str]], Optional[str]]:
    """Returns --run_dir, --round and --data_dir.

    Returns:
      The run directory; the number of a saved round, "best" or `None` for the
      last; the folder of the data, or `None` for the one that the run had.

    Raises:
      ConfigError: If --run_dir is not set or --round is no round.
    """
    if parsing.FLAGS.run_dir is None:
        raise errors.ConfigError(
            "--run_dir is not set; name a folder that scripts/train.py wrote."
        )
    name = parsing.FLAGS["round"].value
    if name in (None, "best"):
        return parsing.FLAGS.run_dir, name, parsing.FLAGS.data_dir
    if not name.isdecimal():
        raise errors.ConfigError(
            f"--round={name}: must be the number of a saved round, or best."
        )
    return parsing.FLAGS.run_dir, int(name), parsing.FLAGS.data_dir


_MAX_EXAMPLES = "max_examples"


def define_audit_flags() -> None:
    """Defines the flags of scripts/audit.py."""
    define_run_dir_flags()
    parsing.define_flag(
        "Audit",
        _MAX_EXAMPLES,
        fields.COUNT,
        "Attacks at most this many training examples, and as many others.",
        10_000,
    )
    parsing.define_switch(
        "Audit", "per_class", "Attacks every class by itself as well."
    )


def audit_question() -> dict[str, Any]:
    """Returns the flags of scripts/audit.py, as `audit.audit` takes them.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    path, round_number, data_dir = run_dir()
    most = parsing.FLAGS[_MAX_EXAMPLES].value
    fields.COUNT.check(_MAX_EXAMPLES, most)
    return {
        "run_dir": path,
        "round_number": round_number,
        "data_dir": data_dir,
        "max_examples": most,
        "per_class": parsing.FLAGS["per_class"].value,
    }


def define_check_flags() -> None:
    """Defines the flags of scripts/check_export.py."""
    for name, allowed, help_text in (
        (
            "model",
            fields.PATH,
            "Names the file or folder that scripts/export.py wrote.",
        ),
        (
            "replay",
            fields.PATH,
            "Names an .npz file of inputs and expected outputs. Default: the "
            "one that lies with the model.",
        ),
        (
            "tolerance",
            fields.NOT_NEGATIVE,
            "Sets the largest relative difference that is allowed, such as "
            "0.001. Default: depends on the format.",
        ),
    ):
        parsing.define_flag("Check", name, allowed, help_text)


def check_question() -> tuple[str, Optional[str], Optional[float]]:
    """Returns --model, --replay and --tolerance.

    Raises:
      ConfigError: If --model is missing, or --tolerance is not allowed.
    """
    model = parsing.FLAGS["model"].value
    if model is None:
        raise errors.ConfigError(
            "--model is not set; name what scripts/export.py wrote."
        )
    tolerance = parsing.FLAGS["tolerance"].value
    if tolerance is not None:
        fields.NOT_NEGATIVE.check("tolerance", tolerance)
    return model, parsing.FLAGS["replay"].value, tolerance


def define_report_flags() -> None:
    """Defines the flags of scripts/report.py."""
    for name, help_text in (
        ("run_dir", "Names the folder of a run of train.py."),
        (
            "data_dir",
            "Names the task's data files, if they have moved since the run.",
        ),
    ):
        parsing.define_flag("Run", name, fields.PATH, help_text)


def report_question() -> tuple[str, Optional[str]]:
    """Returns --run_dir and --data_dir.

    Raises:
      ConfigError: If --run_dir is missing.
    """
    run_dir = parsing.FLAGS["run_dir"].value
    if run_dir is None:
        raise errors.ConfigError(
            "--run_dir is not set; name a folder that scripts/train.py wrote."
        )
    return run_dir, parsing.FLAGS["data_dir"].value


def define_verify_flags() -> None:
    """Defines the flags of scripts/verify.py."""
    define_report_flags()
    parsing.define_flag(
        "Run",
        "public_key",
        fields.PATH,
        "Names a PEM file of the public key that must have signed the log.",
    )
    parsing.define_switch(
        "Run", "rerun", "Trains once more, elsewhere, and compares every bit."
    )


def verify_question() -> tuple[str, Optional[str], Optional[str], bool]:
    """Returns --run_dir, --data_dir, --public_key and --rerun.

    Raises:
      ConfigError: If --run_dir is missing.
    """
    run_dir, data_dir = report_question()
    public_key = parsing.FLAGS["public_key"].value
    return run_dir, data_dir, public_key, parsing.FLAGS["rerun"].value
