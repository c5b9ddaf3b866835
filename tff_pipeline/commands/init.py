"""Writes a commented flagfile for a table that was looked at."""

import os
from collections.abc import Sequence

from tff_pipeline import errors
from tff_pipeline.commands.first_look import FirstLook
from tff_pipeline.config import column_names, fields
from tff_pipeline.datasets.readers import (
    column_descriptions,
    column_guard,
    other_kinds,
)
from tff_pipeline.datasets.readers.table import FILE_NAME

_ROUNDS = 50
_MOST_CLIENTS_A_ROUND = 10
_MADE_CLIENTS = 5


def refuse_no_table(path: str) -> None:
    """Refuses what `init` cannot look at, and says what to do with it.

    Args:
      path: The file or folder.

    Raises:
      ConfigError: If its name, or those of most files in it, are those of
        arrays, SQLite, JSON, images or a corpus.
    """
    kind = other_kinds.kind_of(path)
    if kind is not None and kind != other_kinds.TABLE:
        raise errors.ConfigError(
            f"{path} holds {kind.words}; {kind.advice.format(path=path)}."
        )


def flagfile(
    found: FirstLook,
    output_dir: str,
    command: str,
    template_paths: Sequence[str] = (),
) -> str:
    """Returns the text of a flagfile that trains on a table.

    Args:
      found: The table, and what its columns seem to be.
      output_dir: The folder for the run's results.
      command: How the command is typed that made the flagfile.
      template_paths: The paths of --categories_file and --column_bounds_file,
        if they are written to be filled in.
    """
    label = found.named(found.label)
    lines = [
        f"# {os.path.basename(found.path)}: {found.rows:,} rows, "
        f"{len(found.columns)} columns; made by {command}.",
        "# What is guessed here is yours to change; lines with # do nothing.",
        "--task=csv",
        f"--data_dir={fields.in_flagfile(found.path)}",
        "",
        f"# What to predict, and from it {_type_in_words(found)}.",
        f"--label_column={fields.in_flagfile(found.label)}",
        f"--task_type={found.task_type}",
    ]
    if label.missing:
        lines.append(
            f"# {label.missing:.1%} of the rows have none: leave them out of "
            "the file first."
        )
    lines += ["", *_clients(found), "", *_features(found), ""]
    lines += [*_private(template_paths), ""]
    if found.split is not None:
        lines += [
            "# What says train or test in each row.",
            f"--split_column={fields.in_flagfile(found.split)}",
            "",
        ]
    clients = found.clients or _MADE_CLIENTS
    lines += [
        "# How long, and how a client trains in a round.",
        f"--clients_per_round={min(clients, _MOST_CLIENTS_A_ROUND)}",
        f"--total_rounds={_ROUNDS}",
        "--client_epochs_per_round=1",
        "--client_batch_size=16",
        "--client_learning_rate=0.05",
        "--rounds_per_eval=5",
        "",
        f"--output_dir={fields.in_flagfile(output_dir)}",
        "",
    ]
    return "\n".join(lines)


def _type_in_words(found: FirstLook) -> str:
    label = found.named(found.label)
    if found.task_type == "regression":
        return f"a number ({label.distinct:,} different ones)"
    return f"one of {label.distinct:,} classes"


def _clients(found: FirstLook) -> list[str]:
    if found.client is None:
        return [
            "# No column seems to name a hospital, a user or whose rows they "
            "are: clients",
            "# are made, with equal parts. If one does, put it in here in "
            "their place:",
            "# --client_column=...",
            "--partition=iid",
            f"--num_clients={_MADE_CLIENTS}",
        ]
    if found.client == FILE_NAME:
        return [
            "# Whose rows they are: each file's, unless a column says so.",
            f"--client_column={found.client}",
        ]
    return [
        f"# Whose rows they are: {found.clients:,} clients, of "
        f"{found.rows / found.clients:,.0f} rows on average.",
        f"--client_column={fields.in_flagfile(found.client)}",
    ]


def _features(found: FirstLook) -> list[str]:
    uses = [each.use for each in found.features()]
    lines = ["# To predict from; what becomes of each column:"]
    if uses:
        shown = column_guard.in_words(uses).splitlines()
        lines += [f"#   {line}".rstrip() for line in shown]
    inputs = [use.name for use in uses if use.is_input]
    lines += [
        "# To choose, with commas between:",
        f"# --feature_columns={column_names.in_flag(inputs)}",
    ]
    if codes := found.codes():
        lines += [
            "# Few different whole numbers: if they are codes, not amounts, "
            "take off the #:",
            f"# --categorical_columns={column_names.in_flag(codes)}",
        ]
    return lines


def templates(found: FirstLook) -> tuple[str, str]:
    """Returns the texts of --categories_file and --column_bounds_file.

    They have the names of columns and no cell, and are to be filled in.

    Args:
      found: The table, and what its columns seem to be.
    """
    categories = [
        each.name
        for each in found.features()
        if each.use.is_input and each.use.kind == "category"
    ]
    bounds = [
        each.name
        for each in found.features()
        if each.use.is_input and each.use.kind == "number"
    ]
    by_label = categories if found.task_type == "classification" else bounds
    by_label.append(found.label)
    return (
        column_descriptions.template(
            column_descriptions.CATEGORIES, categories
        ),
        column_descriptions.template(column_descriptions.BOUNDS, bounds),
    )


def paths_beside(flagfile_path: str) -> tuple[str, str]:
    """Returns the paths of the files that `templates` gives the texts of.

    Args:
      flagfile_path: The path of the flagfile, which they stand beside.
    """
    stem = os.path.splitext(flagfile_path)[0]
    return f"{stem}.categories.csv", f"{stem}.bounds.csv"


def refuse_to_replace(paths: Sequence[str], overwrite: bool) -> None:
    """Refuses to write files that are there, unless that is asked for.

    Args:
      paths: The files' paths.
      overwrite: Whether they may be replaced.

    Raises:
      ConfigError: If one is there, and may not.
    """
    for path in paths:
        if os.path.exists(path) and not overwrite:
            raise errors.ConfigError(
                f"{path} exists; name another by --output, or give --overwrite "
                "to replace it."
            )


def _private(paths: Sequence[str]) -> list[str]:
    if not paths:
        return [
            "# For differential privacy, `init --templates` writes two files "
            "to fill in.",
        ]
    first, second = paths
    return [
        "# For differential privacy (docs/privacy.md): fill in both files, "
        "from what is",
        "# known of the columns and not from the data, and take off the #:",
        f"# --categories_file={fields.in_flagfile(first)}",
        f"# --column_bounds_file={fields.in_flagfile(second)}",
    ]
