"""Writes and reads restarts.jsonl: how a supervisor kept a run going.

A line a note, as JSON. Each has its `time`, in UTC.

ended, round  the run ended so, for example by SIGKILL, and was started again
              after the round of its newest checkpoint
overwrites    a run that began then is to delete the one that is here; where it
              did, the note is gone with it
"""

import datetime
import json
from typing import Any

from tff_pipeline.files import durable, storage

Note = dict[str, Any]


def read(path: str) -> list[Note]:
    """Reads the notes, oldest first; none if the file is missing or damaged.

    Args:
      path: The file.

    Raises:
      RunDirectoryError: If it is there and cannot be read.
    """
    with durable.explained(path, "read"):
        try:
            lines = storage.read_text(path).splitlines()
            notes = [json.loads(line) for line in lines]
        except (FileNotFoundError, ValueError):
            return []
    return [note for note in notes if isinstance(note, dict)]


def add(path: str, **content: Any) -> None:
    """Adds a note.

    Args:
      path: The file; its folder must exist.
      **content: What it holds besides the time, as JSON.

    Raises:
      RunDirectoryError: If it cannot be written.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    note = {"time": now.isoformat(timespec="seconds"), **content}
    lines = [json.dumps(each) + "\n" for each in [*read(path), note]]
    durable.write_text(path, "".join(lines))
