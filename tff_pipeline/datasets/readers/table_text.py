"""Opens the text of a CSV or TSV file, and finds its line of names.

Programs write such files in several encodings, pack them, end lines as they
like, and put lines of their own above the names.
"""

import csv
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from typing import IO

from tff_pipeline import errors
from tff_pipeline.datasets.readers import quotes

# Separators between cells, and words for them.
SEPARATORS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "pipes",
    "^": "carets",
    "~": "tildes",
    " ": "blanks",
}
# How much of a file is looked at before it is read.
_START = 1 << 16
_QUOTED = re.compile(rb'"(?:[^"]|"")*(?:"|$)')
# Excel's own line above the names.
_SEP = re.compile(rb'"?sep=(.)"?', re.IGNORECASE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# Characters that nobody sees, and that no flag would have.
_NO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_SPACED_QUOTE = re.compile(rb'(^|[,;|\t]) +"', re.MULTILINE)
# What stands at the start of files that are no text of a table.
_NO_TABLES = (
    (rb"PK\x03\x04", "a ZIP archive or a spreadsheet; save the table as CSV"),
    (rb"\xd0\xcf\x11\xe0", "an old spreadsheet; save the table as CSV"),
    (rb"PAR1", "a Parquet file; let its name end in .parquet"),
    (rb"%PDF", "a PDF file; get the table as CSV"),
    (
        rb"(?i)\s*<(!doctype|html|\?xml)",
        "a web page, perhaps one to sign in; fetch the file itself",
    ),
    (
        rb"version https://git-lfs",
        "a pointer to a file in Git LFS; run git lfs pull",
    ),
    (
        rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd",
        "packed; unpack it, or pack it by gzip",
    ),
)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file's text makes a table.

    Attributes:
      names: The columns' names in the file's order, without spaces around them;
        those after the last one that has a name are left out.
      written: The same names as they are written.
      delimiter: What parts two cells.
      skipped: The number of lines above the names.
    """

    names: list[str]
    written: list[str]
    delimiter: str
    skipped: int


def opened(path: str) -> IO[bytes]:
    """Opens a file as UTF-8 with usual ends of lines, whatever it is stored in.

    Args:
      path: The file; packed by gzip or not, whatever its name says.

    Raises:
      DataError: If it is no text of a table; the sentence says what it is.
      OSError, EOFError, zlib.error: If it cannot be read.
    """
    start = _unpacked(path).read(_START)
    for pattern, what in _NO_TABLES:
        if re.match(pattern, start):
            raise errors.DataError(f"{path} is {what}.")
    file = _unpacked(path)
    if start[:2] in _UTF_16:
        text = file.read().decode("utf-16").encode()
        return io.BytesIO(re.sub(rb"\r*\n|\r", b"\n", text))
    first = start.partition(b"\n")[0]
    odd_ends = b"\r\r\n" in start or (b"\r" in start and b"\n" not in start)
    if odd_ends or _SPACED_QUOTE.search(first):
        text = re.sub(rb"\r*\n|\r", b"\n", file.read())
        # Readers take a quote for one only at the start of a cell.
        return io.BytesIO(_SPACED_QUOTE.sub(rb'\1"', text))
    return file


def layout(path: str) -> Layout:
    """Finds a file's line of names, and what parts its cells.

    Blank lines, comments that start with `#`, and Excel's `sep=;` above the
    names are skipped.

    Args:
      path: A CSV or TSV file; the ending decides where a line alone does not.

    Raises:
      DataError: If the file cannot be read, is empty, or its first line is none
        of names.
    """
    try:
        with opened(path) as file:
            skipped, said, lines = _above(path, file)
        delimiter = said or _delimiter(path, lines)
        with opened(path) as file:
            for _ in range(skipped):
                file.readline()
            text = (line.decode("utf-8-sig") for line in file)
            written = next(csv.reader(text, delimiter=delimiter))
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise unreadable(path, error) from None
    names = [" ".join(name.translate(_NO_WIDTH).split()) for name in written]
    while names and not names[-1]:
        names.pop()
    _check_is_names(path, names, skipped, lines)
    return Layout(names, written[: len(names)], delimiter, skipped)


def check_quotes(path: str) -> None:
    """Reads a whole file to see that its quotes are closed.

    Args:
      path: A CSV or TSV file.

    Raises:
      DataError: If the file cannot be read, or a quote is not closed.
    """
    delimiter = layout(path).delimiter
    try:
        with opened(path) as file:
            quotes.check(path, file, delimiter)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from None


def empty_lines_at_the_end(path: str) -> int:
    """Counts the last lines of a file that hold separators and nothing else.

    Args:
      path: A CSV or TSV file.
    """
    separator = layout(path).delimiter.encode()
    count = 0
    with opened(path) as file:
        for line in file:
            cells = line.strip().split(separator)
            # An empty line is no row to begin with.
            if len(cells) > 1 or cells[0]:
                count = 0 if any(map(bytes.strip, cells)) else count + 1
    return count


def _unpacked(path: str) -> IO[bytes]:
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed or path.lower().endswith(".gz"):
        return gzip.open(path)  # type: ignore[return-value]
    return open(path, "rb")


def _above(path: str, file: IO[bytes]) -> tuple[int, str, list[bytes]]:
    """Returns what is above the names, and the lines from the names on.

    The lines above are (their number, what they say parts cells); of those from
    the names on, some are looked at.
    """
    lines = file.read(_START).removeprefix(b"\xef\xbb\xbf").splitlines()
    said = ""
    for number, line in enumerate(lines):
        sep = _SEP.fullmatch(line.strip())
        if sep:
            said = sep.group(1).decode()
        elif line.strip() and not line.startswith(b"#"):
            return number, said, [each for each in lines[number:] if each]
    raise errors.DataError(
        f"{path} is empty; a table starts with a line of column names."
    )


def _delimiter(path: str, lines: list[bytes]) -> str:
    """Returns the most frequent separator in the names, outside of quotes.

    If two are as frequent, the file's ending decides. Blanks part cells where
    nothing else does, and as many in every line.
    """
    names = _QUOTED.sub(b"", lines[0])
    usual = "," if ".csv" in path.lower()[-len(".csv.gz") :] else "\t"
    found = max(
        (each for each in SEPARATORS if each != " "),
        key=lambda each: (names.count(each.encode()), each == usual),
    )
    counts = {len(_QUOTED.sub(b"", line).split()) for line in lines[:20]}
    if found.encode() not in names and len(counts) == 1 and counts != {1}:
        return " "
    return found


def _check_is_names(
    path: str, names: list[str], skipped: int, lines: list[bytes]
) -> None:
    """Raises `DataError` for a title, or a line that names nothing."""
    if len(names) < 2 and len(lines) > 1:
        below = _QUOTED.sub(b"", lines[1])
        cells = 1 + max(below.count(each.encode()) for each in ",;\t|")
        if cells > 1:
            raise errors.DataError(
                f"{path}: line {skipped + 1} is no line of names: it has "
                f"{len(names)} where the next has {cells} cells; take out what "
                "stands above the names."
            )


def unreadable(path: str, error: Exception) -> errors.DataError:
    """Makes the error for a file that cannot be read."""
    reason = str(error).strip().rstrip(".")
    return errors.DataError(
        f"{path} cannot be read ({reason}); it may be damaged or only half "
        "there: fetch or write it again."
    )


def not_utf8(path: str) -> errors.DataError:
    """Makes the error that names the first line that is not UTF-8."""
    for number, position, line in _lines(path):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            return errors.DataError(
                f"{path}: line {number} has the byte 0x{line[error.start]:02x} "
                f"(byte {position + error.start} of the file), which is not "
                "UTF-8; save the whole file as UTF-8."
            )
    return errors.DataError(f"{path} is not UTF-8; save it as UTF-8.")


def _lines(path: str) -> Iterator[tuple[int, int, bytes]]:
    """Yields the lines with their numbers from 1, and where they begin."""
    position = 0
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            yield number, position, line
            position += len(line)
