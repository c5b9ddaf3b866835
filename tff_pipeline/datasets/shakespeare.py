"""Reads the works of Shakespeare, where each role in each play is a client.

McMahan et al. 2017, section 3; Caldas et al. 2018, "LEAF", whose parser of
Project Gutenberg's text 100 gives the same roles and lines.
"""

import dataclasses
from collections.abc import Sequence

from tff_pipeline.datasets.readers import (
    json_files,
    json_lines,
    leaf_text,
    packed,
)
from tff_pipeline.datasets.readers.json_files import File

FILE = "shakespeare_roles.jsonl"
_TEST_SHARE = 0.2
_MOST_LINES_LEFT_OUT = 2


@dataclasses.dataclass(frozen=True)
class Role:
    """The speeches of a role, each its lines joined by newlines.

    Attributes:
      name: The play and the role, such as "THE_TRAGEDY_OF_MACBETH_MACBETH".
      train: Speeches of the first four fifths of the role's lines.
      test: Speeches of the other lines. A speech across the cut is divided.
    """

    name: str
    train: list[str]
    test: list[str]


def load(data_dir: str, task: str) -> list[Role]:
    """Reads the 1,144 roles with more than two lines.

    McMahan et al. 2017 have 1,146 roles "with at least two lines". In this text
    1,201 roles have at least two lines. More than two have 1,146 if names that
    differ only in case are different roles, and 1,144 if not, as here and in
    LEAF.

    Where that file is not, but LEAF's own are, its users' texts are read, each
    as one speech; their splits are those of the folders, or else the last fifth
    of a text is to test on.

    Args:
      data_dir: The folder of `shakespeare_roles.jsonl.gz`, with an object per
        role: "client", and "speeches", a list of lists of lines; or of LEAF's
        train/ and test/.
      task: The task's name, for errors.

    Returns:
      The roles. The last fifth of a role's lines, rounded down but at least
      one, is to test on.

    Raises:
      DataError: If the file is missing or damaged, or has no such role.
    """
    leaf = [file for file in json_files.find(data_dir) if _is_leaf(file.path)]
    if leaf:
        return _leaf_roles(leaf)
    remedy = f"--data_dir of --task={task} must name the folder that holds it"
    path = packed.find(data_dir, FILE, remedy)
    roles = []
    fields = {"client": str, "speeches": list}
    for number, value in enumerate(json_lines.read(path, fields), start=1):
        speeches = value["speeches"]
        if not all(
            isinstance(lines, list)
            and all(isinstance(line, str) for line in lines)
            for lines in speeches
        ):
            json_lines.refuse(
                path,
                f"role {number} ({value['client']})",
                'needs "speeches" that are lists of lines of text',
            )
        lines = sum(map(len, speeches))
        if lines > _MOST_LINES_LEFT_OUT:
            tested = max(1, int(_TEST_SHARE * lines))
            roles.append(_role(value["client"], speeches, lines - tested))
    if not roles:
        json_lines.refuse(
            path, "the file", "has no role of more than two lines"
        )
    return roles


def _is_leaf(path: str) -> bool:
    """Tells by its name alone: other files are large."""
    return path.lower().endswith((".json", ".json.gz"))


def _leaf_roles(files: Sequence[File]) -> list[Role]:
    has_test = any(file.split == "test" for file in files)
    roles = []
    for name, texts in leaf_text.read(files).items():
        train, test = texts.get("train", []), texts.get("test", [])
        if not has_test:
            cuts = [len(text) - int(_TEST_SHARE * len(text)) for text in train]
            test = [text[cut:] for text, cut in zip(train, cuts)]
            train = [text[:cut] for text, cut in zip(train, cuts)]
        roles.append(Role(name, train, test))
    if not any(role.train for role in roles):
        json_lines.refuse(files[0].path, "the file", "has no text to train on")
    return roles


def _role(name: str, speeches: list[list[str]], trained: int) -> Role:
    """Divides a role's speeches after `trained` lines."""
    train: list[str] = []
    test: list[str] = []
    for lines in speeches:
        here = max(0, trained)
        for part, kept in ((train, lines[:here]), (test, lines[here:])):
            if kept:
                part.append("\n".join(kept))
        trained -= len(lines)
    return Role(name, train, test)
