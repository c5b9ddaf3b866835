"""Clients' texts as windows of tokens, to the last character."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.testing import tiny_tokenizers
from tff_pipeline.datasets import characters, language
from tff_pipeline.datasets.character_tokenizer import CharacterTokenizer
from tff_pipeline.datasets.packing import Cut
from tff_pipeline.datasets.shakespeare import Role
from tff_pipeline.datasets.stackexchange import Post

pytest.importorskip("tokenizers")

TOKENIZERS = {
    "bpe": tiny_tokenizers.byte_pair_tokenizer(),
    "bpe with a begin": tiny_tokenizers.byte_pair_tokenizer(begin=1, end=2),
    "reddi": CharacterTokenizer(characters.reddi()),
    "bytes": CharacterTokenizer(characters.utf8_bytes()),
}


@hypothesis.given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.lists(st.text(), max_size=3)),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([*TOKENIZERS]),
    st.integers(1, 9),
)
def test_all_characters_that_can_be_predicted_count_once(texts, name, length):
    tokenizer = TOKENIZERS[name]
    documents = language.text_documents(texts, tokenizer)
    windows, owners = language.client_windows(documents, tokenizer, length)
    assert len(windows) == len(owners)
    total = sum(len(text) for _, own in texts for text in own)
    if tokenizer.begin is None:
        # The first token of a client has nothing before it.
        firsts = [
            next(iter(filter(len, tokenizer.encode_batch(own))), [])[:1]
            for _, own in texts
        ]
        total -= sum(
            tokenizer.characters[first].sum() for first in firsts if len(first)
        )
    assert windows.y[:, :, 1].sum() == total


def test_ends_part_documents_and_begins_are_only_read():
    tokenizer = TOKENIZERS["bpe with a begin"]
    (_, documents), _ = language.text_documents(
        [("ann", ["a", "b"]), ("bob", [])], tokenizer
    )
    a, b = tokenizer.encode("a")[0], tokenizer.encode("b")[0]
    assert [each.ids.tolist() for each in documents] == [[1, a], [1, b]]
    assert [each.weights.tolist() for each in documents] == [[0, 1], [0, 1]]
    clients = [("ann", documents), ("bob", [])]
    windows, owners = language.client_windows(clients, tokenizer, 6)
    assert owners.tolist() == ["ann"]
    assert windows.x.tolist() == [[1, a, 2, 1, b, 2, 2]]
    assert windows.y[0, :, 0].tolist() == [1, 1, 0, 1, 0, 0]
    assert windows.y[0, :, 1].tolist() == [1, 0, 0, 1, 0, 0]
    windows, _ = language.client_windows(clients, tokenizer, 3, ends=False)
    assert windows.x.tolist() == [[1, a, 1, b]]


def test_rows_are_counted_over_all_clients():
    tokenizer = TOKENIZERS["bytes"]
    documents = language.text_documents(
        [("ann", ["abc", ""]), ("bob", ["a"]), ("cy", ["abcd"])], tokenizer
    )
    windows, owners, cut = language.client_rows(documents, tokenizer, 2)
    assert owners.tolist() == ["ann", "bob", "cy"]
    assert windows.x.tolist() == [[257, 98, 99], [257, 98, 0], [257, 98, 99]]
    assert cut == Cut(documents=2, tokens=3, left_out=1)
    windows, owners, cut = language.client_rows([("ann", [])], tokenizer, 2)
    assert windows.x.shape == (0, 3)
    assert windows.y.shape == (0, 2, 2)
    assert (owners.tolist(), cut) == ([], Cut())


def test_a_role_is_one_text_and_a_post_is_one():
    roles = [Role("A", ["x\ny", "z"], ["w"]), Role("B", ["v"], [])]
    assert language.role_texts(roles, "train") == [
        ("A", ["x\ny\nz"]),
        ("B", ["v"]),
    ]
    assert language.role_texts(roles, "test") == [("A", ["w"])]
    posts = [Post("u", "one", []), Post("u", "two", None), Post("v", "3", None)]
    assert language.post_texts(posts) == [("u", ["one", "two"]), ("v", ["3"])]


def test_owners_are_those_of_windows():
    tokenizer = TOKENIZERS["bytes"]
    documents = language.text_documents(
        [("long name", ["ab"]), ("b", ["abcdef"])], tokenizer
    )
    windows, owners = language.client_windows(documents, tokenizer, 2)
    assert owners.tolist() == ["long name", "b", "b", "b"]
    assert np.array_equal(windows.take(owners == "b").x[0], [257, 98, 99])


def test_the_space_between_prompt_and_continuation_stays():
    class Words:
        """Decodes as Llama 2's: a text begins without its first space."""

        def decode(self, ids):
            return "".join(f" w{number}" for number in ids)[1:]

    assert language.decoded(Words(), [1, 2], [3, 4]) == " w3 w4"
    assert language.decoded(Words(), [], [3]) == "w3"
