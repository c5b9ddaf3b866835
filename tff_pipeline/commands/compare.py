"""Compares saved runs, on the screen and in files."""

import os
from collections.abc import Sequence
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import durable, storage
from tff_pipeline.reporting import (
    comparison,
    comparison_page,
    comparison_text,
    read_run,
)
from tff_pipeline.reporting.comparison import Comparison
from tff_pipeline.reporting.read_run import Run


def compare(paths: Sequence[str], metric: Optional[str] = None) -> Comparison:
    """Compares the runs that lie in folders.

    A run that cannot be read is left out, which is one of the notes.

    Args:
      paths: Run directories, or folders that hold some.
      metric: The metric that tells which is best; see `comparison.compare`.

    Returns:
      The comparison.

    Raises:
      ConfigError: If there are not two runs to compare, or they cannot be
        compared.
    """
    runs, notes = readable(read_run.find(paths))
    if len(runs) < 2:
        raise errors.ConfigError(
            f"{len(runs)} of the runs in {', '.join(paths)} can be read, and a "
            f"comparison needs two. {' '.join(notes)}".strip()
        )
    return comparison.compare(runs, metric, notes)


def readable(paths: Sequence[str]) -> tuple[list[Run], list[str]]:
    """Reads the runs that can be read.

    Args:
      paths: Run directories.

    Returns:
      (the runs, a sentence for each folder that is left out).
    """
    runs, notes = [], []
    for path in paths:
        try:
            runs.append(read_run.read(path))
        except errors.PipelineError as error:
            notes.append(f"{path} is left out: {error}")
    return runs, notes


def write(
    result: Comparison,
    folder: str,
    title: str,
    warnings: Sequence[str] = (),
) -> list[str]:
    """Writes a comparison into a folder.

    Args:
      result: The comparison.
      folder: The folder; files of an earlier comparison are replaced.
      title: The heading of the page.
      warnings: Sentences that stand out on the page.

    Returns:
      The paths of the files: the page, a CSV file of the settings and one of
      the runs.

    Raises:
      RunDirectoryError: If one cannot be written.
    """
    with durable.explained(folder):
        storage.file_system(folder).make_folder(folder)
    files = {
        "comparison.html": comparison_page.page(result, title, warnings),
        "settings.csv": comparison_text.settings_csv(result),
        "runs.csv": comparison_text.runs_csv(result),
    }
    paths = []
    for name, text in files.items():
        paths.append(os.path.join(folder, name))
        durable.write_text(paths[-1], text)
    return paths
