"""Describes what, besides its flags, determines a run's results.

That is software, machine and data.
"""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Optional

import tff_pipeline
from tff_pipeline import errors
from tff_pipeline.config import fields
from tff_pipeline.files import storage

_PACKAGES = (
    "tff-pipeline",
    "tensorflow",
    "tensorflow-federated",
    "tensorflow-privacy",
    "keras",
    "numpy",
    "scipy",
    "pandas",
    "jax",
    "scikit-learn",
)
# Variables that change what is computed, or on how many threads.
_VARIABLES = ("OMP_", "MKL_", "TF_", "XLA_", "CUDA_", "OPENBLAS_")
_BLOCK = 1 << 20


def describe() -> dict[str, Any]:
    """Describes this process's software and machine, as JSON."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "processor": _processor("model name"),
        "processor_flags": _processor("flags"),
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_VARIABLES)
        },
        "command": sys.argv,
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Says in what two environments differ that may change a run's bits.

    Args:
      one: What `describe` gave for the earlier run.
      other: What it gave for the later one.

    Returns:
      A phrase for each difference.

    >>> differences({"python": "3.9.1"}, {"python": "3.11.7"})
    ['python: 3.9.1, now 3.11.7']
    """
    keys = ("python", "packages", "commit", "processor_flags", "variables")
    lines = []
    for key in keys:
        ours, theirs = one.get(key), other.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            lines += fields.differences(ours, theirs)
        elif ours != theirs:
            shown = (
                "differ"
                if key == "processor_flags"
                else f"{ours}, now {theirs}"
            )
            lines.append(f"{key}: {shown}")
    return lines


def hashes(path: Optional[str]) -> dict[str, str]:
    """Computes SHA-256 of a file, or of all files in a folder.

    Args:
      path: The file or folder, such as --data_dir names.

    Returns:
      Name -> SHA-256 in hexadecimal, names of a folder's files relative to it;
      empty if `path` is `None` or does not exist.

    Raises:
      DataError: If a file cannot be read.
    """
    if path is None or not storage.exists(path):
        return {}
    if not storage.file_system(path).is_folder(path):
        return {os.path.basename(path): _sha256(path)}
    return {
        name: _sha256(os.path.join(path, name)) for name in _files(path, "")
    }


def _files(root: str, below: str) -> Iterator[str]:
    files = storage.file_system(root)
    for name in files.names(os.path.join(root, below)):
        inner = os.path.join(below, name)
        if files.is_folder(os.path.join(root, inner)):
            yield from _files(root, inner)
        else:
            yield inner


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    try:
        if not storage.is_local(path):
            digest.update(storage.file_system(path).read(path))
            return digest.hexdigest()
        # By blocks, for data may be larger than memory.
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror or error}); make it "
            "readable, or move it elsewhere."
        ) from None
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> Optional[str]:
    """Returns the commit of the checkout that holds this package, if any."""
    folder = os.path.dirname(os.path.abspath(tff_pipeline.__file__))

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return done.stdout.strip()

    try:
        # Not the commit of whatever holds a virtual environment.
        if git("ls-files", "__init__.py") != "__init__.py":
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor(name: str) -> Optional[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == name:
                    return value.strip()
    except OSError:
        pass
    return None
