"""Tasks on users of Stack Exchange: tags of questions, and next words.

After Reddi et al. 2021, appendix C, and `tff.simulation.baselines`; the
vocabularies are counted over what the clients that train have to train on.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import sequences, stackexchange, words
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import (
    draw_clients,
    split,
    split_where,
)
from tff_pipeline.datasets.stackexchange import Post
from tff_pipeline.models import bag_of_words, recurrent
from tff_pipeline.objectives import multi_label, outputs, sequence
from tff_pipeline.tasks import text_generation, text_serving
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

_WORDS = 10_000
_TAGS = 500
_LONGEST_QUESTION = 1_000
_LENGTH = 20
_BEGIN, _END = _WORDS + 2, _WORDS + 3

_DATA_FOLDER = f"the folder of {stackexchange.FILE}.gz"


def stackexchange_tags(options: DataConfig, seed: int) -> Task:
    """Returns the task of predicting 500 tags from 10,000 words.

    The model is a logistic regression of each tag; 5,000,500 parameters. The
    loss is the cross-entropy summed over tags, the mean over questions;
    recall@5 counts tags, as in TFF. (TFF's loss is the mean over tags, summed
    over questions: its rate for a batch of B is B / 500 of the one here.)

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "stackexchange_tags"
    data_dir = options.required_data_dir(_DATA_FOLDER)
    posts = [
        post
        for post in stackexchange.load(data_dir, name)
        if post.tags is not None
    ]
    if not any(post.tags for post in posts):
        raise errors.DataError(
            f"--data_dir={data_dir} has no question with a tag, which "
            f"--task={name} is to learn; give a file that has."
        )
    texts = words.WordTexts.from_texts([post.text for post in posts])
    owners = np.array([post.client for post in posts])
    tested = stackexchange.held_out(owners)
    counted = _counted(owners, tested, options, seed)
    vocabulary = texts.vocabulary(counted, _WORDS)
    tags = words.most_frequent(
        np.array(
            [
                tag
                for post, use in zip(posts, counted)
                if use
                for tag in post.tags or ()
            ]
        ),
        _TAGS,
    )
    examples = Examples(_padded(texts.ids(vocabulary)), _labels(posts, tags))
    data = split_where(tested, examples, options, seed, owners=owners)
    return Task(
        name,
        **vars(data),
        model_fn=functools.partial(
            bag_of_words.logistic_regression,
            len(vocabulary) + words.FIRST_WORD,
            len(tags),
        ),
        loss_fn=multi_label.LabelCrossEntropy,
        metrics_fn=lambda: [multi_label.RecallAtK(5)],
        outputs_fn=functools.partial(outputs.named_label_outputs, tags),
        serving_fn=lambda model: text_serving.text_model(
            text_serving.WholeText(model, text_serving.WordIds(vocabulary))
        ),
    )


def stackexchange_next_word(options: DataConfig, seed: int) -> Task:
    """Returns the word LSTM of Reddi et al. 2021, appendix C.

    A post's words, begun and ended, are cut into windows of 20. "accuracy" is
    over all tokens but padding, "word_accuracy" over those that are words of
    the vocabulary. 4,050,748 parameters, or with tied embeddings 3,090,364:
    --model_fn=tff_pipeline.models.recurrent:next_word_tied.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    name = "stackexchange_next_word"
    posts = stackexchange.load(options.required_data_dir(_DATA_FOLDER), name)
    texts = words.WordTexts.from_texts([post.text for post in posts])
    owners = np.array([post.client for post in posts])
    tested = stackexchange.held_out(owners)
    vocabulary = texts.vocabulary(
        _counted(owners, tested, options, seed), _WORDS
    )
    ids = texts.ids(vocabulary)
    (train, train_owners), (test, test_owners) = (
        sequences.client_windows(
            (
                (owners[i], [np.r_[_BEGIN, ids[i], _END].astype(np.int32)])
                for i in np.flatnonzero(part)
            ),
            _LENGTH,
        )
        for part in (~tested, tested)
    )
    data = split(
        train, test, options, seed, owners=train_owners, test_owners=test_owners
    )
    no_words = (words.PADDING, words.UNKNOWN, _END)
    names = [b"", b"", *(word.encode() for word in vocabulary)]
    names += [b""] * (recurrent.WORD_IDS - len(names))
    return Task(
        name,
        **vars(data),
        model_fn=recurrent.next_word,
        loss_fn=sequence.TokenCrossEntropy,
        padding_label=sequences.PADDING,
        metrics_fn=lambda: [
            sequence.TokenAccuracy(),
            sequence.TokenAccuracy("word_accuracy", left_out=no_words),
        ],
        outputs_fn=functools.partial(outputs.next_symbol_outputs, names),
        serving_fn=lambda model: text_serving.text_model(
            text_serving.NextToken(
                model, text_serving.WordIds(vocabulary, _BEGIN), _LENGTH
            )
        ),
        generate_fn=lambda model: text_generation.Generator(
            model,
            text_serving.WordIds(vocabulary, _BEGIN),
            _LENGTH,
            names,
            separator=" ",
            ends=[_END],
        ),
    )


def _counted(
    owners: Array, tested: Array, options: DataConfig, seed: int
) -> Array:
    """Returns true for posts that make the vocabulary, bool [posts]."""
    if options.partition != "natural":
        return ~tested
    unseen = draw_clients(owners, options.unseen_clients or 0, seed)
    return ~tested & ~np.isin(owners, unseen)


def _padded(ids: Sequence[Array]) -> Array:
    """Returns texts as rows, int32 [texts, most words]; longer ones are cut."""
    rows = np.full([len(ids), _LONGEST_QUESTION], words.PADDING, np.int32)
    for row, text in zip(rows, ids):
        row[: len(text)] = text[:_LONGEST_QUESTION]
    return rows


def _labels(posts: Sequence[Post], tags: Sequence[str]) -> Array:
    """Returns 1 where a question has a tag, float32 [questions, tags]."""
    numbers = {tag: number for number, tag in enumerate(tags)}
    labels = np.zeros([len(posts), len(tags)], np.float32)
    for row, post in zip(labels, posts):
        row[[numbers[tag] for tag in post.tags or () if tag in numbers]] = 1
    return labels
