"""A few tags of entities, for tests of taggers."""

import numpy as np

from tff_pipeline.datasets.tags import Tags

TAGS = Tags(["B-PER", "B-LOC", "O"])


def tag_numbers(*sentences):
    """Tags by number, padded, from strings such as "B-PER O"."""
    rows = [[TAGS.names.index(t) for t in s.split()] for s in sentences]
    length = max(map(len, rows))
    return np.array([row + [0] * (length - len(row)) for row in rows])
