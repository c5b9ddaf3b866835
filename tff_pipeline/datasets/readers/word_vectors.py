"""Reads word vectors from a text file, a word and its numbers per line.

The format is that of GloVe, and of word2vec and fastText, whose first line is
the number of words and the vectors' size.

Pennington, Socher and Manning 2014, "GloVe: Global Vectors for Word
Representation".
"""

from collections.abc import Container
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors

Array = npt.NDArray[Any]


def read(path: str, words: Container[str], most: int) -> dict[str, Array]:
    """Reads the vectors of chosen words and of the file's first words.

    Such files start with the most frequent words.

    Args:
      path: The file, in UTF-8.
      words: Words in lower case whose vectors are read wherever they stand.
      most: The number of other words to read, from the start of the file.

    Returns:
      Word in lower case -> float32 [size]; the first vector of words that
      differ only in case.

    Raises:
      DataError: If the file cannot be read or has a line of another format;
        the message names the line.
    """
    vectors: dict[str, Array] = {}
    size = 0
    others = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                cells = line.decode("utf-8").rstrip("\r\n ").split(" ")
                if number == 1 and len(cells) == 2:
                    continue
                size = size or len(cells) - 1
                if len(cells) - 1 != size or not size:
                    raise errors.DataError(
                        f"{path}:{number} has {len(cells) - 1} numbers after "
                        f"its word, where the first has {size}; every line "
                        "needs a word and as many numbers, parted by a blank."
                    )
                word = cells[0].lower()
                if word in vectors:
                    continue
                if word not in words:
                    if others >= most:
                        continue
                    others += 1
                vectors[word] = _numbers(cells[1:], path, number)
    except OSError as error:
        raise errors.DataError(
            f"--word_vectors={path} cannot be read ({error.strerror}); give a "
            "text file with a word and its numbers a line."
        ) from None
    except UnicodeDecodeError:
        raise errors.DataError(
            f"{path}:{number} is not UTF-8; give a text file, not a binary one."
        ) from None
    if not vectors:
        raise errors.DataError(f"{path} holds no word vectors.")
    return vectors


def _numbers(cells: list[str], path: str, number: int) -> Array:
    try:
        vector = np.array(cells, np.float32)
    except ValueError:
        vector = np.array([np.nan], np.float32)
    if not np.isfinite(vector).all():
        raise errors.DataError(
            f"{path}:{number} has something other than finite numbers after "
            "its word; every line needs a word and its numbers."
        )
    return vector
