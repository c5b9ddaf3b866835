"""Reads the lines of a column file, in the encodings that such files have."""

import re

from tff_pipeline import errors

# A letter in five beyond ASCII: more than any language in Latin-1 has, fewer
# than any in another alphabet.
_MOST_BEYOND_ASCII = 0.2
# Control characters that no text has; other single-byte encodings have
# characters there.
_CONTROLS = re.compile("[\x80-\x9f]")
# What Windows has there in all its alphabets: quotes, dashes, the euro.
_MARKS = frozenset(
    "\x80\x82\x84\x85\x86\x87\x89\x8b\x91\x92\x93\x94\x95\x96\x97\x99\x9b"
)
_LETTER = re.compile(r"[^\W\d_]")
_BOM = "\ufeff"


def read_lines(path: str) -> tuple[list[str], str]:
    """Reads a file's lines.

    Args:
      path: The file, in UTF-8, in UTF-16 with its mark, or in Latin-1, in which
        the corpora of CoNLL-2002 are, or with Windows' quotes and dashes.

    Returns:
      (lines, encoding): the lines without their ends and without byte-order
      marks, which files that were joined have at any line's start; and "utf-8",
      "utf-16", "latin-1" or "windows-1252".

    Raises:
      DataError: If the file cannot be read or is not text.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read ({error.strerror}); fetch it again."
        ) from None
    text, encoding = _decoded(path, content)
    if "\0" in text:
        # NumPy and TensorFlow take a zero byte for the end of a word.
        where = text.count("\n", 0, text.index("\0")) + 1
        raise errors.DataError(
            f"{path}:{where} has a zero byte, which no text has; take it out."
        )
    # Not `splitlines`: tweets have other characters that it takes for ends.
    end = "\n" if "\n" in text else "\r"
    lines = [line.rstrip("\r").lstrip(_BOM) for line in text.split(end)]
    return lines, encoding


def _decoded(path: str, content: bytes) -> tuple[str, str]:
    """Returns the text and the name of its encoding."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16"), "utf-16"
        except UnicodeDecodeError:
            raise errors.DataError(
                f"{path} starts as UTF-16 but is not; convert it to UTF-8."
            ) from None
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        text, encoding = content.decode("latin-1"), "latin-1"
        controls = _CONTROLS.findall(text)
        if controls and _MARKS.issuperset(controls):
            text, encoding = content.decode("cp1252"), "windows-1252"
        letters = _LETTER.findall(text)
        beyond = sum(letter > "\x7f" for letter in letters)
        if not _CONTROLS.search(text) and (
            beyond <= _MOST_BEYOND_ASCII * len(letters)
        ):
            return text, encoding
        line = content.count(b"\n", 0, error.start) + 1
        raise errors.DataError(
            f"{path}:{line} is neither UTF-8 nor Latin-1: the file's byte "
            f"{error.start} is 0x{content[error.start]:02x}; convert it, say "
            "with iconv -f cp1251 -t utf-8, where cp1251 is its encoding."
        ) from None
