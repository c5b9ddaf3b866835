"""Loads the packages that read checkpoints, which not everyone installs."""

import importlib
from typing import Any

from tff_pipeline import errors


def load(name: str, reads: str) -> Any:
    """Imports a package that a reader needs.

    Args:
      name: The package, whose module has the same name.
      reads: What needs it, with which the error begins.

    Returns:
      Its module.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise errors.ConfigError(
            f"{reads} is read by the package {name}, which is not installed; "
            f"run: pip install {name}."
        ) from None
