"""Small tokenizers, trained in a moment on text that is public."""

import functools
import json

from tff_pipeline.datasets import byte_pairs
from tff_pipeline.datasets.tokenizer import Tokenizer
from tff_pipeline.models.transformer.base import TokenizerSettings

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "To be, or not to be, that is the question.\nWhether 'tis nobler...",
    "user assistant system role content answer question the there them",
]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# SmolLM2's, but for the words of the system.
CHATML = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PIECES += ["play", "##ing", "##s", "the", "u", ".", "new", "york", "[", "]"]


@functools.cache
def content(size=340):
    """A `tokenizer.json` of byte-level BPE."""
    return byte_pairs.train_bpe(TEXTS * 3, size, SPECIAL)


def byte_pair_tokenizer(begin=None, end=0, padding=None, **changes):
    """A tokenizer of byte-level BPE; `changes` are of its description."""
    description = {**json.loads(content()), **changes}
    return Tokenizer(
        json.dumps(description).encode(),
        TokenizerSettings(begin, end, padding),
        source="tiny.json",
    )


def word_pieces():
    """A tokenizer of WordPiece, in lower case, which pads and truncates."""
    return Tokenizer(
        word_piece_content(),
        TokenizerSettings(begin=2, end=3, padding=0),
        source="pieces.json",
    )


def word_piece_content(pieces=PIECES):
    """A `tokenizer.json` of WordPiece; the first four pieces are special."""
    description = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 4,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 8},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, token in enumerate(pieces[:4])
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", 3],
            "cls": ["[CLS]", 2],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(pieces)},
        },
    }
    return json.dumps(description).encode()
