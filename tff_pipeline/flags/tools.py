"""Flags of init, prepare_data, privacy, serve and supervise."""

import dataclasses
import os
import re
from typing import Any, Optional

from tff_pipeline import config, errors
from tff_pipeline.config import fields
from tff_pipeline.config.fields import Allowed
from tff_pipeline.config.serving import ServingConfig
from tff_pipeline.flags import parsing

_PREPARE_OPTIONS = (
    "client_column",
    "label_column",
    "feature_columns",
    "categorical_columns",
    "min_category_count",
    "missing_values",
    "decimal_mark",
    "task_type",
    "split_column",
    "categories_file",
    "column_bounds_file",
)
_INIT_OPTIONS = ("client_column", "label_column", "task_type")
_IMAGE_SIZE = Allowed(
    str,
    "height x width in pixels, such as 32x32",
    lambda v: re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", v) is not None,
)


def define_init_flags() -> None:
    """Defines the flags of scripts/init.py."""
    for name, help_text in (
        (
            "data_dir",
            "Names the table's file, or a folder of its parts; it may stand "
            "first, without --data_dir=.",
        ),
        (
            "output",
            "Names the flagfile to write. Default: the table's name, with "
            ".flags for its ending, in the current folder.",
        ),
    ):
        parsing.define_flag("Files", name, fields.PATH, help_text)
    parsing.define_switch(
        "Files",
        "templates",
        "Writes files of columns, categories and bounds too, to be filled in, "
        "which a private run needs.",
    )
    parsing.define_switch(
        "Files", "overwrite", "Replaces files that are there."
    )
    options = dict(config.DataConfig().options())
    for name in _INIT_OPTIONS:
        metadata = options[name].metadata
        parsing.define_flag(
            "Not to be guessed", name, metadata["allowed"], metadata["help"]
        )


@dataclasses.dataclass(frozen=True)
class InitQuestion:
    """Holds the flags of scripts/init.py.

    Attributes:
      path: The table's file, or a folder of its parts.
      output: The flagfile to write.
      templates: Whether to write files beside it in which columns are
        described.
      overwrite: Whether to replace files that are there.
      guesses: `client`, `label` and `task_type`, each `None` if it is to be
        guessed.
    """

    path: str
    output: str
    templates: bool
    overwrite: bool
    guesses: dict[str, Any]


def init_question() -> InitQuestion:
    """Returns the flags of scripts/init.py, checked.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    path, output = (
        parsing.FLAGS[name].value for name in ("data_dir", "output")
    )
    if path is None:
        raise errors.ConfigError(
            "No table is named; give its file, as in: init data.csv."
        )
    if output is None:
        name = os.path.basename(os.path.abspath(path))
        output = f"{name.partition('.')[0] or name}.flags"
    options = dict(config.DataConfig().options())
    values = {name: parsing.FLAGS[name].value for name in _INIT_OPTIONS}
    for name, value in values.items():
        if value is not None:
            options[name].metadata["allowed"].check(name, value)
    return InitQuestion(
        path,
        output,
        bool(parsing.FLAGS["templates"].value),
        bool(parsing.FLAGS["overwrite"].value),
        {
            "client": values["client_column"],
            "label": values["label_column"],
            "task_type": values["task_type"],
        },
    )


def define_prepare_flags() -> None:
    """Defines the flags of scripts/prepare_data.py."""
    for name, allowed, help_text in (
        ("input", fields.PATH, "Names the file or folder to read."),
        ("output", fields.PATH, "Names the SQLite file to write."),
        (
            "image_size",
            _IMAGE_SIZE,
            "Resizes images to this height x width in pixels, such as 32x32; "
            "says that vectors of JSON are images of this size. Default: all "
            "must have the size of the first.",
        ),
        (
            "num_clients",
            fields.COUNT,
            "Deals images to this many clients, every class in equal parts, "
            "where no folder names clients.",
        ),
    ):
        parsing.define_flag("Files", name, allowed, help_text)
    parsing.define_switch(
        "Files", "overwrite", "Replaces the file --output, if it is there."
    )
    options = dict(config.DataConfig().options())
    for name in _PREPARE_OPTIONS:
        metadata = options[name].metadata
        parsing.define_flag(
            "Labels and tables", name, metadata["allowed"], metadata["help"]
        )


def prepare_question() -> tuple[
    str, str, dict[str, Any], tuple[Optional[list[int]], Optional[int]]
]:
    """Returns the flags of scripts/prepare_data.py, checked.

    Returns:
      --input; --output; fields of `DataConfig` that are set, by name; and for
      images (their height and width in pixels, or `None`; --num_clients).

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    paths = {name: parsing.FLAGS[name].value for name in ("input", "output")}
    for name, value in paths.items():
        if value is None:
            raise errors.ConfigError(f"--{name} is not set; name a file.")
    if os.path.exists(paths["output"]) and not parsing.FLAGS["overwrite"].value:
        raise errors.ConfigError(
            f"--output={paths['output']} exists; give another, or --overwrite "
            "to replace it."
        )
    options = {
        name: parsing.FLAGS[name].value
        for name in _PREPARE_OPTIONS
        if parsing.FLAGS[name].value is not None
    }
    clients = parsing.FLAGS["num_clients"].value
    if clients is not None:
        fields.COUNT.check("num_clients", clients)
    text = parsing.FLAGS["image_size"].value
    size = None
    if text is not None:
        _IMAGE_SIZE.check("image_size", text)
        size = list(map(int, text.split("x")))
    return paths["input"], paths["output"], options, (size, clients)


_PRIVACY_FLAGS: tuple[tuple[str, Allowed, Any, str], ...] = (
    (
        "mechanism",
        fields.TEXT,
        "gaussian",
        "Chooses the mechanism: gaussian, discrete_gaussian (that of "
        "--dp_secure_noise), tree, tree_restart, matrix, local or distributed.",
    ),
    (
        "sampling",
        fields.TEXT,
        None,
        "Chooses how cohorts are drawn: poisson, uniform, shuffled or "
        "min_separation. Default: the first that --mechanism takes.",
    ),
    (
        "population",
        fields.COUNT,
        None,
        "Sets how many clients there are in all.",
    ),
    (
        "cohort_size",
        fields.COUNT,
        None,
        "Sets how many clients take part in a round.",
    ),
    ("rounds", fields.COUNT, None, "Sets how many rounds are trained."),
    (
        "min_separation",
        fields.COUNT,
        None,
        "Sets the fewest rounds from one participation of a client to its "
        "next. Only for --sampling=min_separation.",
    ),
    (
        "noise_multiplier",
        fields.NOT_NEGATIVE,
        None,
        "Sets the noise's standard deviation over the sensitivity, which is a "
        "clip, or two with --sampling=uniform. Or set --target_epsilon.",
    ),
    (
        "target_epsilon",
        fields.POSITIVE,
        None,
        "Computes the noise multiplier for this epsilon.",
    ),
    (
        "mean_noise",
        fields.POSITIVE,
        None,
        "Computes the smallest cohort that keeps --target_epsilon with this "
        "noise on the mean, in clips.",
    ),
    (
        "delta",
        fields.FRACTION,
        None,
        "Sets the probability with which the guarantee may fail. Default: 1 / "
        "population^1.1, where that is at most 0.01.",
    ),
    (
        "dp_allow_large_delta",
        fields.SWITCH,
        False,
        "Takes a delta of 1 / population or more, or above 0.01; the answer is "
        "then no privacy.",
    ),
    (
        "accountant",
        fields.TEXT,
        None,
        "Chooses how epsilon is computed: pld, rdp, rdp_classic or zcdp. "
        "Default: the one that gives the smallest epsilon.",
    ),
    (
        "format",
        fields.known({"text": "", "json": ""}),
        "text",
        "Chooses the format of the answer.",
    ),
    (
        "curve",
        fields.PATH,
        None,
        "Names a PNG file, to which epsilon over the rounds is drawn.",
    ),
)


def define_privacy_flags() -> None:
    """Defines the flags of scripts/privacy.py."""
    for name, allowed, default, help_text in _PRIVACY_FLAGS:
        parsing.define_flag("Setting", name, allowed, help_text, default)


def privacy_question() -> dict[str, Any]:
    """Returns the flags of scripts/privacy.py by name, each checked alone.

    Raises:
      ConfigError: If one is missing or out of range; the message names it.
    """
    values = {name: parsing.FLAGS[name].value for name, *_ in _PRIVACY_FLAGS}
    for name, allowed, *_ in _PRIVACY_FLAGS:
        if values[name] is not None:
            allowed.check(name, values[name])
    if values["cohort_size"] is None and values["mean_noise"] is not None:
        values["cohort_size"] = values["population"]
    for name in ("population", "cohort_size", "rounds"):
        if values[name] is None:
            raise errors.ConfigError(f"--{name} is not set; give a number.")
    return values


def define_serve_flags() -> None:
    """Defines the flags of scripts/serve.py: the fields of `ServingConfig`."""
    for field in dataclasses.fields(ServingConfig):
        parsing.define_flag(
            "Serving",
            field.name,
            field.metadata["allowed"],
            field.metadata["help"],
            field.default,
        )


def serve_settings() -> ServingConfig:
    """Returns the settings of scripts/serve.py.

    Raises:
      ConfigError: If one is missing or not allowed; the message names it.
    """
    return ServingConfig(
        **{
            field.name: parsing.FLAGS[field.name].value
            for field in dataclasses.fields(ServingConfig)
        }
    )


_SUPERVISE_FLAGS: tuple[tuple[str, Allowed, Any, str], ...] = (
    (
        "max_restarts",
        fields.NATURAL,
        10,
        "Sets how often in a row the run is started again without having saved "
        "a checkpoint since its last start.",
    ),
    (
        "hang_seconds",
        fields.NOT_NEGATIVE,
        0.0,
        "Kills the run and starts it again if it wrote no round for so many "
        "seconds; more than its start, a round with its evaluation, and the "
        "export take. 0 waits for ever.",
    ),
)


def define_supervise_flags() -> None:
    """Defines the flags of scripts/supervise.py."""
    for name, allowed, default, help_text in _SUPERVISE_FLAGS:
        parsing.define_flag("Supervision", name, allowed, help_text, default)


def supervise_settings() -> dict[str, Any]:
    """Returns the flags of scripts/supervise.py by name.

    Raises:
      ConfigError: If one is not allowed; the message names it.
    """
    values = {name: parsing.FLAGS[name].value for name, *_ in _SUPERVISE_FLAGS}
    for name, allowed, *_ in _SUPERVISE_FLAGS:
        allowed.check(name, values[name])
    return values
