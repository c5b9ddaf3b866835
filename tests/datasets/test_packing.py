"""Windows of tokens: nothing is lost, and nothing counts twice."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tff_pipeline.datasets import packing
from tff_pipeline.datasets.packing import Cut, Document

PADDING, END = 90, 91
# Of ids below 90; 89 and those from 90 on stand for no character.
CHARACTERS = np.r_[np.arange(1, 90), 0, 0, 0]
CHARACTERS[89] = 0


def document(ids, weights=None):
    weights = np.ones(len(ids)) if weights is None else weights
    return Document(np.array(ids, np.int32), np.array(weights, np.float32))


TOKENS = st.lists(
    st.tuples(st.integers(0, 89), st.sampled_from([0.0, 0.5, 1.0])), max_size=12
)
DOCUMENTS = st.lists(
    TOKENS.map(
        lambda pairs: document([i for i, _ in pairs], [w for _, w in pairs])
    ),
    max_size=5,
)
LENGTHS = st.integers(1, 7)


def pack(documents, length, end=None):
    return packing.pack(
        documents, length, characters=CHARACTERS, padding=PADDING, end=end
    )


def rows(documents, length):
    return packing.one_a_row(
        documents, length, characters=CHARACTERS, padding=PADDING
    )


def joined(documents, end):
    """Writes what is to be packed, token by token."""
    stream = []
    for each in documents:
        if len(each) and stream and end is not None:
            stream.append((end, 1.0))
        stream += zip(each.ids.tolist(), each.weights.tolist())
    return stream


def targets(examples):
    """(id, weight, characters) of all that is to be predicted, in order."""
    weights = examples.y[:, :, 0]
    used = weights > 0
    return [
        *zip(
            examples.x[:, 1:][used].tolist(),
            weights[used].tolist(),
            examples.y[:, :, 1][used].tolist(),
        )
    ]


@hypothesis.given(DOCUMENTS, LENGTHS, st.sampled_from([None, END]))
def test_every_token_is_predicted_once(documents, length, end):
    examples = pack(documents, length, end)
    stream = joined(documents, end)
    assert targets(examples) == [
        (token, weight, CHARACTERS[token])
        for token, weight in stream[1:]
        if weight
    ]
    # Where nothing is to be predicted nothing is counted.
    assert examples.y[examples.y[:, :, 0] == 0].sum() == 0
    assert examples.x.shape[1:] == (length + 1,)
    assert examples.y.shape == (len(examples.x), length, 2)
    assert (examples.x.dtype, examples.y.dtype) == (np.int32, np.float32)
    assert np.all(examples.y[:, :, 0].any(axis=1))


@hypothesis.given(DOCUMENTS, LENGTHS)
def test_windows_overlap_by_one_token(documents, length):
    documents = [document(each.ids) for each in documents]
    examples = pack(documents, length)
    stream = [token for token, _ in joined(documents, None)]
    if len(stream) < 2:
        assert len(examples) == 0
        return
    assert len(examples) == -(-(len(stream) - 1) // length)
    assert examples.x[1:, 0].tolist() == examples.x[:-1, -1].tolist()
    read = [*examples.x[0], *examples.x[1:, 1:].ravel()]
    assert read[: len(stream)] == stream
    assert {*read[len(stream) :]} <= {PADDING}
    total = sum(CHARACTERS[token] for token in stream[1:])
    assert examples.y[:, :, 1].sum() == total


@hypothesis.given(DOCUMENTS, LENGTHS)
def test_a_row_holds_one_document(documents, length):
    examples, cut = rows(documents, length)
    kept = [each for each in documents if each.weights[1 : length + 1].any()]
    assert cut.left_out == len(documents) - len(kept)
    lost = [max(0, len(each) - length - 1) for each in kept]
    assert (cut.documents, cut.tokens) == (np.count_nonzero(lost), sum(lost))
    assert len(examples) == len(kept)
    for x, each in zip(examples.x, kept):
        ids = each.ids[: length + 1].tolist()
        assert x.tolist() == ids + [PADDING] * (length + 1 - len(ids))
    assert targets(examples) == [
        (token, weight, CHARACTERS[token])
        for each in kept
        for token, weight in joined([each], None)[1 : length + 1]
        if weight
    ]


def test_a_prompt_that_fills_the_window_leaves_its_answer_out():
    long = document(range(6), [0, 0, 0, 0, 1, 1])
    assert packing.truncate([long], 3) == ([], Cut(left_out=1))
    kept, cut = packing.truncate([long], 4)
    assert kept[0].ids.tolist() == [0, 1, 2, 3, 4]
    assert cut == Cut(documents=1, tokens=1)
    kept, cut = packing.truncate([long], 5)
    assert (len(kept[0]), cut) == (6, Cut())


def test_windows_of_prompts_alone_are_left_out():
    chat = document(range(7), [0, 0, 0, 0, 0, 1, 1])
    assert pack([chat], 2).x.tolist() == [[4, 5, 6]]


def test_ids_and_weights_are_pairs():
    with pytest.raises(ValueError, match=r"\(2,\) but weights of \(3,\)"):
        document([1, 2], [1, 1, 1])


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (Cut(), ""),
        (Cut(1, 1), "1 text lost 1 word that did not fit."),
        (Cut(0, 0, 1), "1 text is left out."),
        (Cut(0, 0, 2), "2 texts are left out."),
        (
            Cut(1, 4) + Cut(1, 0, 3),
            "2 texts lost 4 words that did not fit, and 3 are left out.",
        ),
    ],
)
def test_what_did_not_fit_is_said(cut, words):
    assert cut.describe("text", "word") == words
