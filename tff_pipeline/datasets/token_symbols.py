"""Text that each token of a tokenizer stands for, as bytes of UTF-8."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Bytes of UTF-8 that continue a character.
_CONTINUING = bytes(range(0x80, 0xC0))
# What SentencePiece writes for a space, and for a byte of a rare character.
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# The bytes that byte-level BPE writes as the character of the same number.
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))


def byte_characters() -> dict[str, int]:
    r"""Returns the characters by which byte-level BPE writes bytes.

    Radford et al. 2019 (GPT-2): a printable byte is itself, and the others, in
    order, are the characters from 256 on.

    Example:
      >>> characters = byte_characters()
      >>> characters["A"], characters["\u0120"], len(characters)
      (65, 32, 256)

    Returns:
      Character -> byte.
    """
    others = [byte for byte in range(256) if byte not in _PRINTABLE]
    return {
        **{chr(byte): byte for byte in _PRINTABLE},
        **{chr(256 + place): byte for place, byte in enumerate(others)},
    }


def symbols(
    description: Mapping[str, Any], vocabulary: Mapping[str, int]
) -> list[bytes]:
    """Returns the text of each id.

    Example:
      >>> model = {"type": "WordPiece", "continuing_subword_prefix": "##"}
      >>> symbols({"model": model}, {"play": 0, "##ing": 1})
      [b'play', b'ing']

    Args:
      description: The content of a `tokenizer.json`.
      vocabulary: Token -> id, of all tokens.

    Returns:
      For each id up to the largest the bytes that it stands for, which for
      byte-level BPE may be part of a character; b"" for special tokens and for
      ids without a token.
    """
    added = {
        token["content"]: token.get("special", False)
        for token in description.get("added_tokens") or ()
    }
    spell = _spelling(description)
    texts = [b""] * (max(vocabulary.values(), default=-1) + 1)
    for token, number in vocabulary.items():
        if token not in added:
            texts[number] = spell(token)
        elif not added[token]:
            texts[number] = token.encode()
    return texts


def characters(texts: Sequence[bytes]) -> Array:
    r"""Counts the characters that begin in each token.

    A character is a Unicode code point, and belongs to the token that has its
    first byte. So the sum over the tokens of a text is the text's length.

    Example:
      >>> characters([b"the", b"\xe2\x82", b"\xac", b""]).tolist()
      [3, 1, 0, 0]

    Args:
      texts: The bytes of each id, as `symbols` returns them.

    Returns:
      int32 [ids].
    """
    return np.array(
        [len(text.translate(None, _CONTINUING)) for text in texts], np.int32
    )


def _spelling(description: Mapping[str, Any]) -> Any:
    """Returns the function from a token to its bytes."""
    decoder = description.get("decoder") or {}
    if "ByteLevel" in _types(decoder):
        return _of_bytes
    model = description.get("model") or {}
    pieces = model.get("type") == "WordPiece"
    prefix = (model.get("continuing_subword_prefix") or "") if pieces else ""
    suffix = model.get("end_of_word_suffix") or ""
    marked = _SPACE in json.dumps(decoder, ensure_ascii=False)

    def spell(token: str) -> bytes:
        match = _BYTE.fullmatch(token) if model.get("byte_fallback") else None
        if match:
            return bytes([int(match[1], 16)])
        if prefix and token.startswith(prefix):
            token = token[len(prefix) :]
        if suffix and token.endswith(suffix):
            token = token[: -len(suffix)]
        return (token.replace(_SPACE, " ") if marked else token).encode()

    return spell


def _types(part: Mapping[str, Any]) -> Iterator[str]:
    """Yields the types of a decoder and of those that it is made of."""
    yield part.get("type", "")
    for inner in part.get("decoders") or ():
        yield from _types(inner)


_BYTES = byte_characters()


def _of_bytes(token: str) -> bytes:
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError:
        # A token that a user added; it is matched before bytes are written.
        return token.encode()
