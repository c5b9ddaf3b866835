"""Flags of audit, verify and check_export, which look at what a run left."""

from typing import Any, Optional

from tff_pipeline import errors, fields, flags

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
