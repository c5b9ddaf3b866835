"""Changes to the bytes of files, such as damage and malice make."""

import contextlib
import gzip
import io
import random
import re
import zipfile
from collections.abc import Sequence

# What readers stumble on: ends of ranges, other alphabets, other formats.
NUMBERS = (
    *(b"0", b"-0", b"-1", b"1e999", b"1e39", b"-1e-400", b"nan", b"inf"),
    *(b"255", b"65536", b"2147483647", b"2147483648", b"4294967296"),
    *(b"9223372036854775807", b"9223372036854775808", b"9" * 400, b"0x10"),
    *(b"1_000", b"1,5", b"\xd9\xa3", b"true", b"null", b"[]", b"{}", b'""'),
)
WORDS = (
    *(b"\x00", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r"),
    *(b"\n", b"\r\n", b"\n\n", b'"', b"'", b",", b";", b"\t", b" ", b"\\"),
    *(b"../../outside", b"/etc/passwd", b"/dev/zero", b"~/x", b"\xc2\x85"),
    *(b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"PK\x03\x04", b"\x1f\x8b\x08"),
    *(b"\x80\x04\x95", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"%s", b"{"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_HOW_MANY = (1, 1, 1, 2, 4)
_MOST_BYTES = 100_000


def mutated(
    content: bytes, draw: random.Random, words: Sequence[bytes] = ()
) -> bytes:
    """The content with one to four changes.

    Half of the time what is packed is changed and packed again, for else the
    sums of zip and gzip would refuse nearly all.

    Args:
      content: Of a file that is valid.
      draw: Decides all.
      words: Of the format, to put in beside `WORDS`.
    """
    inside = draw.random() < 0.5
    if inside and content.startswith(b"\x1f\x8b"):
        return gzip.compress(
            mutated(gzip.decompress(content), draw, words), mtime=0
        )
    if inside and content.startswith(b"PK"):
        return _packed_anew(content, draw, words)
    for _ in range(draw.choice(_HOW_MANY)):
        content = draw.choice(_CHANGES)(content, draw, words)[:_MOST_BYTES]
    return content


def _packed_anew(
    content: bytes, draw: random.Random, words: Sequence[bytes]
) -> bytes:
    """A zip file of which one member, and perhaps its name, is changed."""
    target = io.BytesIO()
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(zipfile.ZipFile(io.BytesIO(content)))
        made = stack.enter_context(zipfile.ZipFile(target, "w"))
        chosen = draw.choice(given.infolist())
        for info in given.infolist():
            member = given.read(info)
            if info is chosen:
                member = mutated(member, draw, words)
                if draw.random() < 0.1:
                    name = mutated(info.filename.encode(), draw, words)
                    info.filename = name.decode(errors="replace")[:1000]
            made.writestr(info, member)
    return target.getvalue()


def _span(content: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randint(0, len(content))
    return start, min(len(content), start + draw.choice((1, 2, 4, 8, 30, 200)))


def _bit(content: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    del words
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 8)) if content else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _byte(content: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    del words
    changed = bytearray(content)
    if content:
        value = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        changed[draw.randrange(len(changed))] = value
    return bytes(changed)


def _cut(content: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    del words
    return content[: draw.randint(0, len(content))]


def _left_out(
    content: bytes, draw: random.Random, words: Sequence[bytes]
) -> bytes:
    del words
    start, end = _span(content, draw)
    return content[:start] + content[end:]


def _twice(
    content: bytes, draw: random.Random, words: Sequence[bytes]
) -> bytes:
    del words
    start, end = _span(content, draw)
    place = draw.randint(0, len(content))
    times = draw.choice((1, 1, 2, 50))
    return content[:place] + content[start:end] * times + content[place:]


def _put_in(
    content: bytes, draw: random.Random, words: Sequence[bytes]
) -> bytes:
    start, end = _span(content, draw)
    noise = draw.randbytes(draw.choice((1, 4, 30)))
    word = draw.choice((*words, *words, *WORDS, noise))
    return content[:start] + word + content[draw.choice((start, end)) :]


def _number(
    content: bytes, draw: random.Random, words: Sequence[bytes]
) -> bytes:
    found = list(_NUMBER.finditer(content))
    if not found:
        return _put_in(content, draw, words)
    start, end = draw.choice(found).span()
    return content[:start] + draw.choice(NUMBERS) + content[end:]


def _line(content: bytes, draw: random.Random, words: Sequence[bytes]) -> bytes:
    """A line left out, doubled or moved."""
    del words
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    line = lines.pop(draw.randrange(len(lines)))
    for _ in range(draw.choice((0, 1, 2))):
        lines.insert(draw.randint(0, len(lines)), line)
    return b"".join(lines)


_CHANGES = (
    *(_bit, _byte, _cut, _left_out, _twice),
    *(_put_in, _put_in, _number, _number, _line),
)
