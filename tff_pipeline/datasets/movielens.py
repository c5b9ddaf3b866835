"""Reads ratings of films, MovieLens 100k or 1M, or draws them from a model.

Harper and Konstan 2015, "The MovieLens Datasets". Drawn ratings follow Koren,
Bell and Volinsky 2009, "Matrix Factorization Techniques for Recommender
Systems", equation 4; as their factors are known, so is the least error that a
model can reach.
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
# (file, separator between its values); the first that exists is read.
_FILES = (("u.data", "\t"), ("ratings.dat", "::"))
_COLUMNS = ("user", "item", "rating", "timestamp")
_USERS, _ITEMS, _RATINGS_EACH, _RANK = 200, 100, 60, 4
_MEAN, _BIAS, _FACTOR, _NOISE = 3.5, 0.4, 0.35, 0.4


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings of items by users.

    Attributes:
      pairs: int32 [n, 2], the place of the user in `users` and of the item in
        `items`.
      stars: float32 [n, 1], from 1 to 5.
      users: The users' names.
      items: The items' names.
    """

    pairs: Array
    stars: Array
    users: tuple[str, ...]
    items: tuple[str, ...]


def load(data_dir: str) -> Ratings:
    """Reads all ratings of MovieLens.

    Args:
      data_dir: The folder of `u.data` (100k) or `ratings.dat` (1M).

    Returns:
      The ratings in the file's order.

    Raises:
      DataError: If there is neither file, or it is damaged.
    """
    files = [
        (os.path.join(data_dir, name), separator)
        for name, separator in _FILES
        if os.path.exists(os.path.join(data_dir, name))
    ]
    if not files:
        raise errors.DataError(
            f"{data_dir} has neither u.data (MovieLens 100k) nor ratings.dat "
            "(MovieLens 1M); --data_dir must name the folder of one of them."
        )
    path, separator = files[0]
    frame = delimited.read(path, _COLUMNS, separator=separator)
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
    """Draws 200 users' ratings of 60 of 100 items each, from rank 4.

    Example:
      >>> ratings, expected = generate(seed=0)
      >>> ratings.stars.shape, np.unique(ratings.stars).tolist()
      ((12000, 1), [1.0, 2.0, 3.0, 4.0, 5.0])

    A rating is 3.5 plus a bias of the user and a bias of the item (deviation
    0.4 each), plus the product of their factors (deviation 0.7), plus noise
    (deviation 0.4), rounded to whole stars from 1 to 5.

    Args:
      seed: The experiment's seed.

    Returns:
      (ratings, expected): float32 [n, 1], the ratings without noise and
      rounding, clipped to 1 to 5. No model can know more than these, so their
      error is the least that a model can reach.
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
    """Clips stars [n] to 1 to 5, and returns them as float32 [n, 1]."""
    return np.clip(stars, _LOWEST, _HIGHEST)[:, np.newaxis].astype(np.float32)
