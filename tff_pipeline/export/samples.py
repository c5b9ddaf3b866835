"""Texts that a model writes, for its model card.

The prompts are this package's own and nobody's data; each token is the
likeliest, so that anyone who has the model gets the same text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.language import TextTokenizer, decoded
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.models.transformer.text_writer import TextWriter
from tff_pipeline.tasks.language_model import ends_of
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

PROMPTS = ("The", "Once upon a time", "To be")
LENGTH = 20

Sample = dict[str, str]


def prompts(tokenizer: TextTokenizer) -> tuple[Array, Array]:
    """Returns the prompts as a batch of ids.

    Args:
      tokenizer: The tokenizer.

    Returns:
      (int32 [prompts, longest], filled up by zeros; the number of ids of each,
      int32 [prompts]).
    """
    rows = [_ids(tokenizer, prompt) for prompt in PROMPTS]
    counts = np.array([len(row) for row in rows], np.int32)
    batch = np.zeros([len(rows), counts.max()], np.int32)
    for place, row in enumerate(rows):
        batch[place, : len(row)] = row
    return batch, counts


def length_for(task: Task, counts: Array) -> int:
    """Returns how many tokens can be added to the prompts.

    Args:
      task: The task of a pretrained model.
      counts: What `prompts` returned.
    """
    assert task.base is not None
    room = task.base.architecture.max_length - int(counts.max())
    return max(0, min(LENGTH, room))


def _ids(tokenizer: TextTokenizer, prompt: str) -> list[int]:
    begin = [] if tokenizer.begin is None else [tokenizer.begin]
    return [*begin, *map(int, tokenizer.encode(prompt))]


def replayed(
    task: Task, replay: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[Sample]:
    """Takes the texts out of what was recorded for an exported model.

    Args:
      task: Whose model it is.
      replay: What `replay.record` gave.

    Returns:
      `prompt` and the `text` that goes on from it, of each prompt; empty for
      models that write no text.
    """
    if "generate" in replay:
        texts = replay["generate"]["outputs"]["text"]
        return [
            {"prompt": prompt, "text": text.decode(errors="replace")}
            for prompt, text in zip(PROMPTS, texts)
        ]
    if "generate_ids" not in replay or task.tokenizer is None:
        return []
    outputs = replay["generate_ids"]["outputs"]
    added = [
        ids[:count] for ids, count in zip(outputs["ids"], outputs["counts"])
    ]
    return _samples(task.tokenizer, added)


def written(network: Transformer, task: Task) -> list[Sample]:
    """Has a model write the texts.

    Args:
      network: The trained transformer.
      task: The task that it was trained for.

    Returns:
      As `replayed`.
    """
    if task.tokenizer is None or task.base is None:
        return []
    rows = [_ids(task.tokenizer, prompt) for prompt in PROMPTS]
    writer = TextWriter(
        network, task.tokenizer, ends=ends_of(task.tokenizer, task.base)
    )
    length = length_for(task, np.array([len(row) for row in rows]))
    added = writer.ids(rows, length=length, temperature=0.0)
    return _samples(task.tokenizer, added)


def _samples(
    tokenizer: TextTokenizer, added: Sequence[Sequence[int]]
) -> list[Sample]:
    return [
        {
            "prompt": prompt,
            "text": prompt + decoded(tokenizer, _ids(tokenizer, prompt), ids),
        }
        for prompt, ids in zip(PROMPTS, added)
    ]
