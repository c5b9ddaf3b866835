"""The works of Shakespeare, each role in each play a client.

McMahan et al. 2017, section 3; Caldas et al. 2018, "LEAF", whose parser of
Project Gutenberg's text 100 gives the same roles and lines.
"""

import dataclasses

from tff_pipeline.datasets.readers import json_lines, packed

FILE = "shakespeare_roles.jsonl"
_TEST_SHARE = 0.2
_MOST_LINES_LEFT_OUT = 2


@dataclasses.dataclass(frozen=True)
class Role:
    """What someone says in a play; a speech is its lines, with newlines.

    Attributes:
      name: Such as "THE_TRAGEDY_OF_MACBETH_MACBETH".
      train: Speeches of the first 80% of the role's lines.
      test: Those of the other lines; a speech that lies across the cut is in
        either with its lines.
    """

    name: str
    train: list[str]
    test: list[str]


def load(data_dir: str, task: str) -> list[Role]:
    """The roles with more than two lines, of which there are 1,144.

    McMahan et al. have 1,146 "with at least two lines". In this text 1,201
    have at least two lines; more than two have 1,146 if names that differ in
    capitals alone are told apart, and 1,144 if not, as here and in LEAF.

    Args:
      data_dir: Folder of `shakespeare_roles.jsonl.gz`, a line a role: an
        object with "client" and "speeches", a list of lists of lines.
      task: Who asks, for the errors.

    Returns:
      The roles; the test part is the last fifth of the lines, rounded down,
      but at least one.

    Raises:
      DataError: If the file is missing, damaged or has no such role.
    """
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


def _role(name: str, speeches: list[list[str]], trained: int) -> Role:
    """Cuts a role's speeches after so many lines."""
    train: list[str] = []
    test: list[str] = []
    for lines in speeches:
        here = max(0, trained)
        for part, kept in ((train, lines[:here]), (test, lines[here:])):
            if kept:
                part.append("\n".join(kept))
        trained -= len(lines)
    return Role(name, train, test)
