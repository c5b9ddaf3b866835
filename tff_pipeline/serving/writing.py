"""Finds out whether a served model writes, and how it is asked to."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.datasets import text_files

# The signatures that write: from ids to ids, and from text to text.
OF_IDS, OF_TEXT = "generate_ids", "generate"


@dataclasses.dataclass(frozen=True)
class Writing:
    """How a model is asked to write.

    Attributes:
      signature: The name of the function that writes.
      language: What turns text into its ids and back; `None` if it takes text.
    """

    signature: str
    language: Optional[text_files.Language] = None

    @property
    def chats(self) -> bool:
        """True if it can be asked by messages."""
        return self.language is not None and self.language.chat is not None


def read(folder: str, signatures: Mapping[str, Any]) -> Optional[Writing]:
    """Reads what lies beside a SavedModel that writes.

    Args:
      folder: The SavedModel.
      signatures: Its functions by name.

    Returns:
      How it is asked; `None` if it does not write, or, with a warning, if what
      is there cannot be read: it can be asked by ids even so.
    """
    if OF_IDS not in signatures:
        return Writing(OF_TEXT) if OF_TEXT in signatures else None
    extra = os.path.join(folder, "assets.extra")
    try:
        return Writing(OF_IDS, text_files.read(extra))
    except errors.PipelineError as error:
        print(
            f"warning: The model cannot be asked to write text: {error}",
            file=sys.stderr,
        )
        return None
