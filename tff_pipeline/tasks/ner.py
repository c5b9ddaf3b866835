"""The task of named entities in sentences of those who wrote them."""

import collections
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tff_pipeline import errors, randomness
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    FederatedData,
)
from tff_pipeline.datasets.federation.mapped import MappedData
from tff_pipeline.datasets.federation.split import Split
from tff_pipeline.datasets.readers import word_vectors
from tff_pipeline.models import tagger
from tff_pipeline.objectives import tagging
from tff_pipeline.objectives.sequence import TokenAccuracy, TokenCrossEntropy
from tff_pipeline.tasks import tagged_sentences
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

# A word or character that the clients that train have less often is unknown,
# so that the model learns what unknown ones are like.
_LEAST_OFTEN = 2
# A word that no sentence has.
_NO_WORD = "-docstart-"
# Characters of a token that the model sees.
_WIDTH = 20
# Tokens that are evaluated at once; a token's characters take 10 KB.
_MOST_AT_ONCE = 8_000
# Words that a file of vectors adds to those of the clients.
_MOST_ADDED = 50_000

# The loss, the metric of training, and how tags are found, in a sentence.
_DECODERS = {
    "softmax": (
        TokenCrossEntropy,
        TokenAccuracy,
        "Tags found are each token's best, and a stray I- is read as B-, as "
        "seqeval does by default.",
    ),
    "crf": (
        tagging.CrfLoss,
        tagging.CrfAccuracy,
        "Tags found are the best legal sequence.",
    ),
}


def ner_tagger(options: DataConfig, seed: int) -> Task:
    """Returns the task of tagging entities in column files.

    The model is the char-CNN and BiLSTM of Ma and Hovy 2016. Clients are
    sections of the Broad Twitter Corpus (Derczynski et al. 2016), or documents
    of CoNLL-2003, joined until they have `--sentences_per_client`; see
    `conll.load`. Tags are BIO, whatever the files have. Words and characters
    are known if the clients that train have them twice, or if `--word_vectors`
    has the word.

    Args:
      options: The data files and how their examples are spread over clients.
      seed: The experiment's seed, which determines all draws.

    Raises:
      ConfigError: If flags contradict each other.
      DataError: If a file is missing or damaged.
    """
    # `DataConfig` settles it.
    assert options.tag_decoder is not None
    corpus, parts, tags, descriptions = tagged_sentences.read(options)
    tokens = sorted({token for part in parts for token in _flat(part.tokens)})
    length = max(len(each) for part in parts for each in part.tokens)
    examples = [
        Examples(
            _numbered(part.tokens, ["", *tokens], length),
            _numbered(part.tags, tags.names, length),
        )
        for part in parts
    ]
    data = tagged_sentences.spread(examples, parts, options, seed)
    counts = _counts(data.train, ["", *tokens])
    by_word = _by_word(counts)
    if "word" in descriptions.categories:
        # As if they were frequent, and all others did not occur.
        named = descriptions.categories["word"]
        by_word = _by_word(dict.fromkeys(named, _LEAST_OFTEN))
    words, vectors = _often(by_word), None
    if options.word_vectors is not None:
        words, vectors = _with_vectors(options.word_vectors, by_word, seed)
    characters = list(
        descriptions.categories.get("character", ())
    ) or _characters(counts)
    if not characters:
        raise errors.DataError(
            f"{options.data_dir} has no character that the clients that train "
            f"have {_LEAST_OFTEN} times, so that none is known; give more "
            "sentences."
        )
    # Characters suffice, but a vocabulary must not be empty.
    words = words or [_NO_WORD]
    to_ids = functools.partial(tagger.TokenIds, words, characters, _WIDTH)
    data = _with_ids(data, to_ids()(tf.constant([["", *tokens]])).numpy()[0])
    loss_fn, accuracy, notes = _DECODERS[options.tag_decoder]
    return Task(
        options.task,
        **vars(data),
        model_fn=functools.partial(
            tagger.bilstm,
            num_words=2 + len(words),
            num_characters=2 + len(characters),
            width=_WIDTH,
            legal=tags.legal,
            decoder=options.tag_decoder,
            word_vectors=vectors,
        ),
        loss_fn=loss_fn,
        metrics_fn=lambda: [accuracy()],
        set_metrics=tagging.tag_metrics(tags),
        set_output_fn=functools.partial(tagging.legal_tags, tags),
        outputs_fn=functools.partial(tagging.tag_outputs, tags),
        serving_fn=functools.partial(_serving, to_ids),
        most_at_once=max(1, _MOST_AT_ONCE // length),
        classes=tags.names,
        fitted_columns={
            column: "categories_file"
            for column in ("word", "character", "tag")
            if column not in descriptions.flags
        },
        padding_label=0,
        notes=f"{corpus.notes} {notes}",
    )


def _flat(sentences: Iterable[Sequence[str]]) -> Iterator[str]:
    return itertools.chain.from_iterable(sentences)


def _numbered(
    sentences: Sequence[Sequence[str]], names: Sequence[str], length: int
) -> Array:
    """Returns places in `names`, int32 [sentences, length]; 0 after the end."""
    number = {name: place for place, name in enumerate(names)}
    numbers = np.zeros([len(sentences), length], np.int32)
    for row, sentence in zip(numbers, sentences):
        row[: len(sentence)] = [number[name] for name in sentence]
    return numbers


def _counts(train: FederatedData, tokens: Sequence[str]) -> Mapping[str, int]:
    """Returns how often the clients that train have each of their tokens."""
    counts = np.zeros(len(tokens), np.int64)
    for client_id in train.client_ids:
        places = train.load(client_id).x.ravel()
        counts += np.bincount(places, minlength=len(tokens))
    # The first is padding.
    return {tokens[i]: int(counts[i]) for i in np.flatnonzero(counts) if i}


def _often(counts: Mapping[str, int]) -> list[str]:
    """Returns names that are frequent enough, the most frequent first."""
    known = [name for name in counts if counts[name] >= _LEAST_OFTEN]
    return sorted(known, key=lambda name: (-counts[name], name))


def _by_word(counts: Mapping[str, int]) -> collections.Counter[str]:
    words: collections.Counter[str] = collections.Counter()
    lowered = tagger.lower(tf.constant(list(counts))).numpy()
    for word, count in zip(lowered, counts.values()):
        words[word.decode()] += count
    return words


def _characters(counts: Mapping[str, int]) -> list[str]:
    characters: collections.Counter[str] = collections.Counter()
    for token, count in counts.items():
        for character in token[:_WIDTH]:
            characters[character] += count
    return _often(characters)


def _with_vectors(
    path: str, by_word: Mapping[str, int], seed: int
) -> tuple[list[str], Array]:
    """Returns the known words, and the embedding to begin with.

    Returns:
      The words of the clients that are frequent or have a vector, and those
      that the file adds; and vectors as `tagger.bilstm` takes them, random for
      words that the file lacks.
    """
    known = word_vectors.read(path, by_word, _MOST_ADDED)
    words = _often(by_word)
    words += [word for word in known if by_word.get(word, 0) < _LEAST_OFTEN]
    scale = np.std([*known.values()])
    size = len(next(iter(known.values())))
    draw = randomness.generator(seed, "word_vectors")
    vectors = draw.normal(scale=scale, size=[2 + len(words), size])
    for place, word in enumerate(words, start=2):
        if word in known:
            vectors[place] = known[word]
    return words, vectors.astype(np.float32)


def _with_ids(data: Split, ids: Array) -> Split:
    """Returns the split with each token's place replaced by its `ids`."""

    def examples(places: Examples) -> Examples:
        return Examples(ids[places.x], places.y)

    def clients(places: Optional[FederatedData]) -> Optional[FederatedData]:
        return None if places is None else MappedData(places, examples)

    return Split(
        MappedData(data.train, examples),
        examples(data.test),
        clients(data.test_clients),
        clients(data.unseen),
        None if data.validation is None else examples(data.validation),
    )


def _serving(
    to_ids: Callable[[], tagger.TokenIds], model: tf.keras.Model
) -> tf.keras.Model:
    """Makes the model of "tokens", string [batch, length], "" for padding."""
    tokens = tf.keras.Input([None], dtype="string", name="tokens")
    return tf.keras.Model(tokens, model(to_ids()(tokens)))
