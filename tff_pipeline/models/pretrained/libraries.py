"""Loads the packages that read checkpoints, which not everyone installs."""

import importlib
from typing import Any

from tff_pipeline import errors


def load(name: str, reads: str) -> Any:
    """Imports a module of a package that a reader needs.

    Args:
      name: The module; the package has the name of its first part.
      reads: The file that is to be read, with which the error begins.

    Returns:
      The module.

    Raises:
      ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        package = name.partition(".")[0]
        raise errors.ConfigError(
            f"{reads} is read by the package {package}, which is not "
            f"installed; run: pip install {package}."
        ) from None
