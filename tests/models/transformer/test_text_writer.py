"""Text that a model writes, compared with decoding that keeps nothing."""

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import tiny_language_models, tiny_tokenizers
from tff_pipeline import errors
from tff_pipeline.datasets import characters
from tff_pipeline.datasets.character_tokenizer import CharacterTokenizer
from tff_pipeline.models.transformer import base as bases
from tff_pipeline.models.transformer import scoring
from tff_pipeline.models.transformer.architecture import character_model
from tff_pipeline.models.transformer.network import Transformer
from tff_pipeline.models.transformer.text_writer import (
    TextWriter,
    without_text,
)

PROMPTS = ("The quick brown", "To be, or not to be, that is", "x")


def network_of(architecture, seed=0):
    values = bases.Stacked(
        tiny_language_models.weights(architecture, seed), architecture
    )
    network = Transformer(
        architecture,
        initial={
            name[len(bases.PREFIX) :]: lambda value=value: tf.constant(value)
            for name, value in values.items()
        },
    )
    network.build([])
    return network


@pytest.fixture(scope="module")
def network():
    return network_of(tiny_language_models.LLAMA)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizers.byte_pair_tokenizer()


@pytest.fixture(scope="module")
def writer(network, tokenizer):
    return TextWriter(network, tokenizer)


@pytest.fixture(scope="module")
def prompts(tokenizer):
    return [tokenizer.encode(text) for text in PROMPTS]


def likeliest(network, ids, length, barred, ends):
    """The likeliest ids, one at a time, each from all that are before it."""
    ids, added = [int(number) for number in ids], []
    for _ in range(length):
        hidden = network(tf.constant([ids], tf.int32), training=False)
        logits = scoring.logits_of(hidden[:, -1], network.table).numpy()[0]
        logits[barred] = -np.inf
        number = int(logits.argmax())
        if number in ends:
            break
        ids.append(number)
        added.append(number)
    return added


def test_temperature_0_is_the_likeliest_without_a_cache(
    network, tokenizer, writer, prompts
):
    barred = without_text(network, tokenizer, [tokenizer.end])
    expected = [
        likeliest(network, ids, 24, barred, [tokenizer.end]) for ids in prompts
    ]
    # Prompts of different lengths, at once and each alone.
    assert writer.ids(prompts, length=24, temperature=0) == expected
    for prompt, each in zip(prompts, expected):
        assert writer.ids([prompt], length=24, temperature=0) == [each]
    assert len({tuple(each) for each in expected}) == 3
    # So narrow a share leaves the likeliest alone.
    assert (
        writer.ids(prompts, length=24, temperature=1.0, top_p=1e-6) == expected
    )


def test_the_same_seed_gives_the_same_text(writer):
    def text(seed, temperature=1.0):
        return writer.text(
            PROMPTS[0], length=16, temperature=temperature, seed=seed
        )

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(4)}) == 4
    assert text(3, temperature=0.0) == text(4, temperature=0.0)


def test_an_end_stops_one_text_and_not_the_others(network, tokenizer, prompts):
    endless = TextWriter(network, tokenizer, ends=[])
    whole = endless.ids(prompts, length=24, temperature=0)
    # The first text's fifth id, where the second text has it not.
    end = whole[0][4]
    assert end not in whole[0][:4]
    expected = [ids[: ids.index(end)] if end in ids else ids for ids in whole]
    assert {len(ids) for ids in expected} != {24}
    stopped = TextWriter(network, tokenizer, ends=[end])
    assert stopped.ids(prompts, length=24, temperature=0) == expected


def test_ids_without_text_are_never_drawn(network, tokenizer, writer, prompts):
    barred = set(without_text(network, tokenizer, []))
    # Special tokens, and what the model has beyond the tokenizer's.
    assert barred >= {0, 1, 2, *range(340, 344)}
    hot = writer.ids(prompts * 9, length=24, temperature=50.0)
    drawn = {number for ids in hot for number in ids}
    assert len(drawn) > 200
    assert not drawn & barred


def test_a_text_that_outgrows_the_positions_goes_on_with_half_of_them():
    tokenizer = CharacterTokenizer(characters.reddi())
    network = network_of(character_model(tokenizer.vocabulary_size, 8))
    writer = TextWriter(network, tokenizer, slides=True)
    barred = without_text(network, tokenizer, [tokenizer.end])

    def by_hand(ids, length):
        shown, added = [*ids], []
        while len(added) < length:
            shown = shown[-4:] if len(shown) >= 8 else shown
            new = likeliest(network, shown, 1, barred, [tokenizer.end])
            if not new:
                break
            shown += new
            added += new
        return added

    # Shorter than the positions, as long, and longer.
    prompts = [tokenizer.encode(text) for text in ("To", "To be, o", "a" * 21)]
    expected = [by_hand(ids, 12) for ids in prompts]
    assert writer.ids(prompts, length=12, temperature=0) == expected
    assert max(map(len, expected)) > 8


@pytest.mark.parametrize(("count", "length"), [(60, 5), (65, 1), (3, 62)])
def test_what_does_not_fit_the_positions_is_refused(writer, count, length):
    words = f"prompt of {count} tokens and --length={length} more .* 64 posit"
    with pytest.raises(errors.ConfigError, match=words):
        writer.ids([[5] * count], length=length, temperature=0)


def test_all_positions_can_be_used(writer):
    (ids,) = writer.ids([[5] * 60], length=4, temperature=0)
    assert len(ids) <= 4


def test_a_prompt_without_a_token_is_refused(writer):
    with pytest.raises(errors.ConfigError, match="no token"):
        writer.text("", length=3, temperature=0)
