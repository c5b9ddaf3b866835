"""Reads posts of Stack Exchange sites, where each user of a site is a client.

Questions and answers are those of the sites' published dumps (CC BY-SA). They
have the same shape as TFF's Stack Overflow, and can stand in for it.
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
    """A question or an answer.

    Attributes:
      client: The user who wrote it, such as "beer.stackexchange.com/7".
      text: The title of a question, a newline, and the text.
      tags: The tags of a question; `None` for an answer.
    """

    client: str
    text: str
    tags: Optional[list[str]]


def load(data_dir: str, task: str) -> list[Post]:
    """Reads all posts.

    Args:
      data_dir: The folder of `stackexchange_users.jsonl.gz`, with an object per
        user: "client", and "posts", objects with "text" and, if they are
        questions, "title" and "tags".
      task: The task's name, for errors.

    Returns:
      The posts, users in the file's order and each user's posts by date.

    Raises:
      DataError: If the file is missing or damaged; the message names the place.
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
    """Holds out the last fifth of each user's posts for testing.

    Example:
      >>> held_out(np.array(["a", "a", "b"])).tolist()
      [False, True, False]

    Args:
      owners: The user of each post, of shape [posts]; a user's posts are in the
        order of time.

    Returns:
      bool of shape [posts], true for posts to test on: a fifth of a user's,
      rounded down but at least one, and none if the user has only one.
    """
    tested = np.zeros(len(owners), bool)
    for name in np.unique(owners):
        own = np.flatnonzero(owners == name)
        if len(own) > 1:
            tested[own[-max(1, int(_TEST_SHARE * len(own))) :]] = True
    return tested
