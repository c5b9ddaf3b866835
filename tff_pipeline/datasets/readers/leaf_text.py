"""Puts LEAF's windows of text together again.

LEAF cuts a user's text into windows of 80 characters, each a character after
the one before, with the character that follows as its label.
"""

from collections.abc import Sequence

from tff_pipeline import errors
from tff_pipeline.datasets.readers import json_files, json_values, leaf
from tff_pipeline.datasets.readers.json_files import File


def read(files: Sequence[File]) -> dict[str, dict[str, list[str]]]:
    """Reads all users' texts.

    Args:
      files: Files of LEAF.

    Returns:
      The user -> the split -> the texts; where windows do not follow each
      other, another text begins.

    Raises:
      DataError: If a file is damaged, or its examples are no text.
    """
    texts: dict[str, dict[str, list[str]]] = {}
    for file in files:
        content = json_files.content(file.path)
        if not leaf.is_leaf(content):
            raise errors.DataError(
                f"{file.path} is no file of LEAF, which has users and "
                "user_data; take it out of the folder."
            )
        for user in leaf.users(content, file.path):
            for x, y in zip(user.x, user.y):
                if not (isinstance(x, str) and isinstance(y, str) and x and y):
                    raise errors.DataError(
                        f"{user.where} has an example that is no text with the "
                        "character that follows; numbers are for prepare-data."
                    )
            of_user = texts.setdefault(user.name, {})
            of_user.setdefault(file.split, []).extend(
                json_values.label(text, user.where) for text in _joined(user)
            )
    return texts


def _joined(user: leaf.User) -> list[str]:
    """Returns a user's texts.

    >>> _joined(leaf.User("u", ["ab", "bc", "xy"], ["c", "d", "z"], ""))
    ['abcd', 'xyz']
    """
    texts: list[list[str]] = []
    expected = None
    for x, y in zip(user.x, user.y):
        if x == expected:
            texts[-1].append(y)
        else:
            texts.append([x, y])
        expected = (x + y)[len(y) :]
    return ["".join(parts) for parts in texts]
