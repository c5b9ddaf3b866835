"""Posts of Stack Exchange sites, each user of each site a client.

Questions and answers as in the sites' published dumps (CC BY-SA), a stand-in
of the same shape for TFF's Stack Overflow.
"""

import dataclasses
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.readers import json_lines, packed

Array = npt.NDArray[Any]

FILE = "stackexchange_users.jsonl"
_TEST_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Post:
    """A post; `tags` is `None` for an answer, which has neither it nor a title.

    Attributes:
      client: Who wrote it, such as "beer.stackexchange.com/7".
      text: The title, if it has one, and the text, on lines.
      tags: What a question is about.
    """

    client: str
    text: str
    tags: Optional[list[str]]


def load(data_dir: str, task: str) -> list[Post]:
    """All posts, users in the file's order, each one's by date.

    Args:
      data_dir: Folder of `stackexchange_users.jsonl.gz`, a line a user: an
        object with "client" and "posts", objects with "text" and, if they are
        questions, "title" and "tags".
      task: Who asks, for the errors.

    Raises:
      DataError: If the file is missing or damaged; it is named.
    """
    remedy = f"--data_dir of --task={task} must name the folder that holds it"
    path = packed.find(data_dir, FILE, remedy)
    posts = []
    for user in json_lines.read(path, {"client": str, "posts": list}):
        client = user["client"]
        for number, value in enumerate(user["posts"], start=1):
            where = f"post {number} of {client}"
            json_lines.check(value, {"text": str}, path, where)
            if "tags" not in value:
                posts.append(Post(client, value["text"], None))
                continue
            json_lines.check(value, {"title": str, "tags": list}, path, where)
            if not all(isinstance(tag, str) for tag in value["tags"]):
                json_lines.refuse(path, where, "has a tag that is no text")
            text = f"{value['title']}\n{value['text']}"
            posts.append(Post(client, text, value["tags"]))
    if not posts:
        json_lines.refuse(path, "the file", "has no posts")
    return posts


def held_out(owners: Array) -> Array:
    """Which posts are for testing: each user's last fifth.

    Args:
      owners: Of shape [posts], whose each is; a user's in order of time.

    Returns:
      bool, of shape [posts]; a fifth rounded down but at least one, unless it
      is the user's only post.
    """
    tested = np.zeros(len(owners), bool)
    for name in np.unique(owners):
        own = np.flatnonzero(owners == name)
        if len(own) > 1:
            tested[own[-max(1, int(_TEST_SHARE * len(own))) :]] = True
    return tested
