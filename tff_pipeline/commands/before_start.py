"""Checks what can be checked of an experiment before TensorFlow is loaded.

The same is checked again where it is used; here, a mistake is answered within
a second or two.
"""

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator

from tff_pipeline import errors
from tff_pipeline.config import DataConfig, ExperimentConfig, column_names

_CKKS = "tff_pipeline.aggregators.encrypted.ckks"
_KEY_STREAM = "tff_pipeline.aggregators.private.key_stream"
_FLAGS_OF_COLUMNS = (
    "label_column",
    "client_column",
    "split_column",
    "feature_columns",
    "text_column",
    "categorical_columns",
)


def check(config: ExperimentConfig) -> None:
    """Checks the model function, packages, a table's columns and clients.

    Args:
      config: The experiment.

    Raises:
      ConfigError: If the model function does not exist, the aggregator's
        package is not installed, or there are fewer clients than a round takes.
      DataError: If the table cannot be read, or has no such column.
    """
    if config.data.model_fn is not None:
        check_model_fn(config.data.model_fn)
    # What they are made of is imported with them, and may not be there.
    if config.aggregation.last == "he_mean":
        importlib.import_module(_CKKS).library()
    if config.privacy.dp_secure_noise:
        importlib.import_module(_KEY_STREAM).library()
    if config.data.label_column is not None and config.data.data_dir:
        _check_table(config)


def check_model_fn(reference: str) -> None:
    """Checks that there is such a function, by reading its module's text.

    Args:
      reference: A value of `--model_fn`, "package.module:function".

    Raises:
      ConfigError: If the module is not found or not Python, or has no such
        function, or one that needs arguments.
    """
    module, _, name = reference.partition(":")
    place = f"--model_fn={reference}"
    if "" not in sys.path:
        sys.path.insert(0, "")  # As for `python -m`.
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # Whatever a package above it raises.
        spec = None
    if spec is None:
        raise errors.ConfigError(
            f"{place} names the module {module}, which Python does not find "
            "from here; run the command in the folder that holds "
            f"{module.partition('.')[0]}.py, or set PYTHONPATH to it."
        )
    if spec.origin is None or not spec.origin.endswith(".py"):
        return  # Compiled, or a package without text.
    try:
        with open(spec.origin, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{spec.origin}:{line}" if line else spec.origin
        raise errors.ConfigError(
            f"{place}: {where} is not Python ({error}); mend it."
        ) from None
    bound = list(_bound(tree))
    names = {each for each, _ in bound}
    if name not in names:
        if names & {"*", "__getattr__"}:
            return
        known = [each for each, node in bound if node is not None]
        near = difflib.get_close_matches(name, known, 3, 0.0)
        has = f"; it has {', '.join(near)}" if near else ""
        raise errors.ConfigError(
            f"{place}: {spec.origin} has no function {name}{has}."
        )
    for each, node in bound:
        if each == name and node is not None and _needs_arguments(node):
            raise errors.ConfigError(
                f"{place} needs arguments; it must take none: write a function "
                "that calls it with them."
            )


def _bound(
    node: ast.AST,
) -> "Iterator[tuple[str, ast.FunctionDef | None]]":
    """Yields the names that a module binds, with the function if it is one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield child.name, child
        elif isinstance(child, (ast.ClassDef, ast.AsyncFunctionDef)):
            yield child.name, None
        elif isinstance(child, ast.alias):
            yield (child.asname or child.name).partition(".")[0], None
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id, None
        elif not isinstance(child, ast.Lambda):
            yield from _bound(child)


def _needs_arguments(function: ast.FunctionDef) -> bool:
    if function.decorator_list:
        return False  # Which may give it some.
    takes = function.args
    positional = len(takes.posonlyargs) + len(takes.args)
    return positional > len(takes.defaults) or None in takes.kw_defaults


def _check_table(config: ExperimentConfig) -> None:
    """Checks the columns that flags name, and that a round has its clients."""
    # Only here: Arrow and pandas are not needed for other tasks.
    from tff_pipeline.datasets.federation import hold_out
    from tff_pipeline.datasets.readers.table import Table

    data = config.data
    table = Table(str(data.data_dir))
    for flag in _FLAGS_OF_COLUMNS:
        for name in _names(data, flag, table.names):
            table.require(name, flag)
    if data.client_column is None or data.partition != "natural":
        return
    table.load([data.client_column])
    clients = table.codes(data.client_column)
    if clients.missing.any():
        return  # Which is refused with its row, later.
    there = len(clients.categories or ()) - (data.unseen_clients or 0)
    held_out = ""
    if data.unseen_clients:
        held_out = f" and --unseen_clients={data.unseen_clients} leaves"
    if data.validation_by == "clients" and there > 0:
        fraction = data.validation_fraction or 0.0
        there -= hold_out.size_of_share(there, fraction)
        held_out += f" and --validation_fraction={fraction} leaves"
    if there < config.clients.clients_per_round:
        raise errors.ConfigError(
            f"--clients_per_round={config.clients.clients_per_round} is more "
            f"than the {there} clients that the column {data.client_column!r} "
            f"names{held_out}; lower it to at most {max(there, 1)}."
        )


def _names(data: DataConfig, flag: str, known: list[str]) -> list[str]:
    value = getattr(data, flag)
    if value is None:
        return []
    several = flag.endswith("_columns") or (
        flag == "label_column" and data.task_type == "regression"
    )
    if value in known or not several:
        return [value]
    return column_names.listed(value)
