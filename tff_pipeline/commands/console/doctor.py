"""Checks whether this machine can train, and says what to do if it cannot.

python scripts/doctor.py

Prints a line a check. Exit status 0 if everything needed is there, else 1.
Needs no installed package itself, so that it can say which one is missing.

Each check returns "ok", "warn" or "fail", what it found, and what to do.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator

_PYTHONS = ((3, 9), (3, 10), (3, 11))
_VERSIONS = {
    "tensorflow": "2.14.",
    "tensorflow-federated": "0.87.0",
    "tensorflow-privacy": "0.9.0",
}
_INSTALL = "run `make install`, or the pip commands of README.md"
_GIB = 2**30


def check_python() -> tuple[str, str, str]:
    """Checks the version of this Python."""
    version = platform.python_version()
    if sys.version_info[:2] in _PYTHONS:
        return "ok", f"Python {version}", ""
    return "fail", f"Python {version}", "install Python 3.9, 3.10 or 3.11"


def check_platform() -> tuple[str, str, str]:
    """Checks the operating system, the processor and the C library."""
    libc, version = platform.libc_ver()
    shown = f"{platform.system()} {platform.machine()}, {libc} {version}"
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    if (
        platform.system() == "Linux"
        and platform.machine() == "x86_64"
        and libc == "glibc"
        and numbers >= [2, 31]
    ):
        return "ok", shown, ""
    advice = "TFF's wheel is for Linux x86_64 with glibc 2.31 or newer"
    return "fail", shown, advice


def check_packages() -> Iterator[tuple[str, str, str]]:
    """Checks the versions of the packages that cannot be others."""
    for package, needed in _VERSIONS.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield "fail", f"{package} is not installed", _INSTALL
            continue
        if version.startswith(needed):
            yield "ok", f"{package} {version}", ""
        else:
            advice = f"{needed.rstrip('.')} is needed; {_INSTALL}"
            yield "fail", f"{package} {version}", advice


def check_gpu() -> tuple[str, str, str]:
    """Counts the GPUs that TensorFlow sees; training needs none."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
    except ImportError as error:
        return "fail", f"TensorFlow cannot be imported ({error})", _INSTALL
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "ok", "no GPU visible", "training runs on the CPU"
    advice = "used as TensorFlow places it; not with --runtime=local"
    return "ok", f"{len(gpus)} GPU visible", advice


def check_proxy() -> tuple[str, str, str]:
    """Says whether the environment names a proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
    proxies = [
        name
        for name in names
        if os.environ.get(name) or os.environ.get(name.upper())
    ]
    if not proxies:
        return "ok", "no proxy in the environment", ""
    return (
        "ok",
        f"{', '.join(proxies)} set",
        "no harm here; TFF as shipped hangs for ever with it unless "
        "no_proxy=localhost,127.0.0.1",
    )


def check_memory() -> tuple[str, str, str]:
    """Checks that 2 GiB of memory are available."""
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(
            int(line.split()[1]) * 1024
            for line in file
            if line.startswith("MemAvailable")
        )
    return _room("memory", available, 2 * _GIB, "close other programs")


def check_disk() -> tuple[str, str, str]:
    """Checks that 1 GiB of the disk with the current folder is free."""
    free = shutil.disk_usage(".").free
    return _room("disk here", free, _GIB, "make room for checkpoints")


def _room(
    what: str, free: int, needed: int, advice: str
) -> tuple[str, str, str]:
    """Compares bytes that are free with bytes that are needed."""
    shown = f"{free / _GIB:.1f} GiB of {what} free"
    if free >= needed:
        return "ok", shown, ""
    return "warn", shown, f"less than {needed // _GIB} GiB; {advice}"


def main() -> int:
    """Prints a line a check; returns 1 if one failed, else 0."""
    results = [check_python(), check_platform(), *check_packages()]
    results.append(check_gpu())
    results += [check_proxy(), check_memory(), check_disk()]
    for verdict, shown, advice in results:
        print(f"{verdict:<5}{shown}{': ' + advice if advice else ''}")
    return 1 if any(verdict == "fail" for verdict, _, _ in results) else 0
