"""Ratings of films: MovieLens 100k or 1M, or drawn from known factors.

Harper and Konstan 2015, "The MovieLens Datasets". The drawn ones follow the
model of Koren, Bell and Volinsky 2009, "Matrix Factorization Techniques for
Recommender Systems", equation 4, and so tell how well it can be learned.
"""

import dataclasses
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline import errors, randomness
from tff_pipeline.datasets.readers import delimited

Array = npt.NDArray[Any]

_LOWEST, _HIGHEST = 1, 5
# (file, what stands between its values), in the order they are looked for.
_FILES = (("u.data", "\t"), ("ratings.dat", "::"))
_COLUMNS = ("user", "item", "rating", "timestamp")
_USERS, _ITEMS, _RATINGS_EACH, _RANK = 200, 100, 60, 4
_MEAN, _BIAS, _FACTOR, _NOISE = 3.5, 0.4, 0.35, 0.4


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Who gave what how many stars.

    Attributes:
      pairs: int32 [n, 2]: the places of a user in `users` and an item in
        `items`.
      stars: float32 [n, 1], 1 to 5.
      users: The users' names.
      items: The items' names.
    """

    pairs: Array
    stars: Array
    users: tuple[str, ...]
    items: tuple[str, ...]


def load(data_dir: str) -> Ratings:
    """All ratings of a MovieLens folder.

    Args:
      data_dir: Folder of `u.data` (100k) or `ratings.dat` (1M).

    Raises:
      DataError: If neither is there, or it is damaged.
    """
    found = [
        (os.path.join(data_dir, name), separator)
        for name, separator in _FILES
        if os.path.exists(os.path.join(data_dir, name))
    ]
    if not found:
        raise errors.DataError(
            f"{data_dir} has neither u.data (MovieLens 100k) nor ratings.dat "
            "(MovieLens 1M); --data_dir must name the folder of one of them."
        )
    path, separator = found[0]
    frame = delimited.read(path, _COLUMNS, separator)
    stars = delimited.numbers(path, frame, ["rating"])
    wrong = (stars[:, 0] < _LOWEST) | (stars[:, 0] > _HIGHEST)
    if wrong.any():
        line = frame.index[np.argmax(wrong)]
        raise errors.DataError(
            f"{path}, line {line}, has {frame['rating'][line]} stars; there "
            f"are {_LOWEST} to {_HIGHEST}."
        )
    names, places = [], []
    for column in ("user", "item"):
        known, place = np.unique(
            frame[column].to_numpy(str), return_inverse=True
        )
        names.append(tuple(known.tolist()))
        places.append(place)
    return Ratings(
        np.stack(places, axis=1).astype(np.int32),
        stars.astype(np.float32),
        *names,
    )


def generate(seed: int) -> tuple[Ratings, Array]:
    """200 users who rate 60 of 100 items each, from factors of rank 4.

    A rating is 3.5 plus a bias of the user and one of the item (deviation 0.4
    each), plus the product of their factors (deviation 0.7), plus noise (0.4),
    rounded to whole stars, 1 to 5.

    Returns:
      (the ratings, float32 [n, 1]: what each would be without noise and
      rounding, within 1 to 5). No model can know more than the latter, so its
      error is the floor.
    """
    draw = randomness.generator(seed, "ratings")
    user_bias = draw.normal(0, _BIAS, _USERS)
    item_bias = draw.normal(0, _BIAS, _ITEMS)
    tastes = draw.normal(0, 1, [_USERS, _RANK])
    traits = draw.normal(0, _FACTOR, [_ITEMS, _RANK])
    user = np.repeat(np.arange(_USERS), _RATINGS_EACH)
    item = np.concatenate(
        [draw.permutation(_ITEMS)[:_RATINGS_EACH] for _ in range(_USERS)]
    )
    expected = _MEAN + user_bias[user] + item_bias[item]
    expected += np.sum(tastes[user] * traits[item], axis=1)
    noisy = expected + draw.normal(0, _NOISE, len(expected))
    ratings = Ratings(
        np.stack([user, item], axis=1).astype(np.int32),
        _within(np.round(noisy)),
        tuple(f"user_{number:03d}" for number in range(_USERS)),
        tuple(f"item_{number:03d}" for number in range(_ITEMS)),
    )
    return ratings, _within(expected)


def _within(stars: Array) -> Array:
    """float32 [n, 1], within 1 to 5, of shape [n]."""
    return np.clip(stars, _LOWEST, _HIGHEST)[:, np.newaxis].astype(np.float32)
