"""Makes of a privacy statement a paper: what run, a verdict, a place to sign.

Names of the data's files are left out, for they may be those of clients. Needs
no TensorFlow.
"""

import datetime
import hashlib
import json
import textwrap
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline.privacy.delta import LARGEST
from tff_pipeline.runs.directory import RunDirectory

# The tiers of Ponomareva et al. 2023, "How to DP-fy ML", section 5.2.
_STRONG, _MODERATE = 1.0, 10.0
_MOST_LISTED = 8  # Hashes.
_COLUMNS = 78
_LINE = "_" * 40


def head(directory: RunDirectory) -> dict[str, Any]:
    """Returns what names the run and its data, as a JSON object.

    Args:
      directory: The run's folder, already claimed.

    Returns:
      `run`, the folder's name; `date`, today's in UTC; `data_files`, the number
      of files whose SHA-256 the run recorded when it began; `data_sha256`,
      these; `all_data_sha256`, the SHA-256 of their list, a line each.
    """
    data = directory.read_environment().get("data") or {}
    hashes = sorted(set(data.values()))
    listed = "".join(f"{each}\n" for each in hashes)
    return {
        "run": directory.path.rstrip("/").rsplit("/", 1)[-1],
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "data_files": len(data),
        "data_sha256": hashes[:_MOST_LISTED],
        "all_data_sha256": hashlib.sha256(listed.encode()).hexdigest()
        if hashes
        else None,
    }


def verdict(
    warning: Optional[str],
    epsilon: Optional[float],
    delta: float,
    unit: str,
) -> str:
    """Returns in plain words what a guarantee is worth.

    >>> verdict(None, 0.5, 1e-6, "client")[:6]
    'STRONG'

    Args:
      warning: The reason why there is no privacy, or `None`.
      epsilon: The epsilon spent, or `None` if it is infinite.
      delta: The probability with which it may fail.
      unit: The word for what is protected.
    """
    if warning is not None or epsilon is None:
        return (
            f"NO PRIVACY: nothing of this run may be called private. {warning}"
        )
    if epsilon <= 0:
        return f"NOTHING RELEASED yet of any one {unit}."
    fails = f"but for one case in {1 / delta:,.0f}"
    if epsilon <= _STRONG and delta <= LARGEST:
        return (
            f"STRONG: {fails}, whoever sees what was released can hardly tell "
            f"whether any one {unit} took part."
        )
    if epsilon <= _MODERATE:
        return (
            f"MODERATE: {fails}, what can be learned of any one {unit} is "
            "bounded, but not to almost nothing."
        )
    return (
        f"WEAK: the bound allows that any one {unit} is recognised; alone it "
        "is no reason to release anything."
    )


def in_words(stated: Mapping[str, Any]) -> str:
    """Returns the statement's head as text; it ends with an empty line.

    Args:
      stated: Holds `verdict`, and what `head` returns where a run is known.
    """
    lines = ["PRIVACY STATEMENT", ""]
    if "run" in stated:
        rows = [("run", stated["run"]), ("date", stated["date"])]
        rows += [("data", each) for each in _data(stated)]
        lines += [filled(f"{name:<12}{value}", 12) for name, value in rows]
    lines += [filled(f"{'verdict':<12}{stated['verdict']}", 12), "", ""]
    return "\n".join(lines)


def _data(stated: Mapping[str, Any]) -> list[str]:
    count = stated["data_files"]
    if not count:
        return ["no file was read, or none whose hash was recorded"]
    hashes = [f"SHA-256 {each}" for each in stated["data_sha256"]]
    if count > len(hashes):
        hashes.append(f"{count} files in all; environment.json has every one")
    if count > 1:
        hashes.append(f"SHA-256 {stated['all_data_sha256']} of the list")
    return hashes


def to_sign() -> str:
    """Returns the lines on which whoever is responsible signs."""
    rows = ("name", "office", "date", "signature")
    lines = [f"{row:<12}{_LINE}" for row in rows]
    return "\n\n".join(["Read and accepted by", *lines]) + "\n"


def filled(text: str, indent: int = 0) -> str:
    """Returns text in lines of up to 78 characters.

    Args:
      text: The text.
      indent: The number of blanks before all lines but the first.
    """
    return textwrap.fill(
        text, _COLUMNS, subsequent_indent=" " * indent, break_long_words=False
    )


def on_screen(text: str) -> str:
    """Returns the verdict and the guarantee of a statement, indented.

    Args:
      text: The text of privacy.json.
    """
    stated = json.loads(text)
    return "\n".join(
        textwrap.indent(filled(stated[name]), "  ")
        for name in ("verdict", "guarantee")
    )
