"""Reads ratings of films, MovieLens in any size, or draws them from a model.

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
import pandas as pd

from tff_pipeline import errors, randomness
from tff_pipeline.datasets.readers import delimited

Array = npt.NDArray[Any]

_HIGHEST = 5
_WHOLE, _HALF = 1.0, 0.5  # Steps of ratings, and the lowest ones.
# The first that exists is read.
_FILES = ("u.data", "ratings.dat", "ratings.csv")
_SEPARATORS = ("::", "\t", ",")
_COLUMNS = ("user", "item", "rating", "timestamp")
# Names in a file's first line, small and without "_".
_NAMES = {
    **dict.fromkeys(("userid", "user"), "user"),
    **dict.fromkeys(("movieid", "movie", "itemid", "item"), "item"),
    "rating": "rating",
}
_USERS, _ITEMS, _RATINGS_EACH, _RANK = 200, 100, 60, 4
_MEAN, _BIAS, _FACTOR, _NOISE = 3.5, 0.4, 0.35, 0.4


@dataclasses.dataclass(frozen=True)
class Ratings:
    """Ratings of items by users.

    Attributes:
      pairs: int32 [n, 2], the place of the user in `users` and of the item in
        `items`.
      stars: float32 [n, 1], from `step` to 5.
      users: The users' names.
      items: The items' names.
      step: The least difference of ratings, and the lowest: 1 or 0.5.
    """

    pairs: Array
    stars: Array
    users: tuple[str, ...]
    items: tuple[str, ...]
    step: float = _WHOLE


def load(data_dir: str) -> Ratings:
    """Reads all ratings of MovieLens.

    Args:
      data_dir: One of the files of `_FILES`, or its folder: `u.data` (100k),
        `ratings.dat` (1M, 10M) or `ratings.csv` (the newer ones).

    Returns:
      The ratings in the file's order; in steps of half a star if one is not
      whole.

    Raises:
      DataError: If there is no such file, or it is damaged.
    """
    places = [os.path.join(data_dir, name) for name in _FILES]
    if os.path.isfile(data_dir):
        places = [data_dir]
    path = next(filter(os.path.isfile, places), None)
    if path is None:
        raise errors.DataError(
            f"{data_dir} has none of {', '.join(_FILES)} (MovieLens 100k; 1M "
            "or 10M; the newer ones); --data_dir must name the folder of one "
            "of them."
        )
    frame = _frame(path)
    stars = delimited.numbers(path, frame, ["rating"])
    step = _WHOLE if (stars == np.rint(stars)).all() else _HALF
    wrong = (stars < step) | (stars > _HIGHEST) | (stars % step != 0)
    if wrong.any():
        line = frame.index[np.argmax(wrong[:, 0])]
        raise errors.DataError(
            f"{path}, line {line}, has {frame['rating'][line]} stars; there "
            f"are {step:g} to {_HIGHEST} in steps of {step:g}: leave out lines "
            "that are no ratings, and bring other scales to this one."
        )
    names, places_of = [], []
    for column in ("user", "item"):
        known, place = np.unique(
            frame[column].to_numpy(str), return_inverse=True
        )
        names.append(tuple(known.tolist()))
        places_of.append(place)
    return Ratings(
        np.stack(places_of, axis=1).astype(np.int32),
        stars.astype(np.float32),
        users=names[0],
        items=names[1],
        step=step,
    )


def _frame(path: str) -> pd.DataFrame:
    """Reads user, item and rating of each line; its form tells how."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            first = file.readline()
    except (OSError, UnicodeDecodeError):
        first = ""  # `delimited` says what is wrong.
    separator = next((each for each in _SEPARATORS if each in first), "\t")
    values = [value.strip() for value in first.split(separator)]
    if not any(value[:1].isalpha() for value in values[2:3]):
        # Without a line of names; a time may be missing.
        columns = _COLUMNS[: max(3, len(values))]
        return delimited.read(
            path, columns, separator=separator, encoding="utf-8-sig"
        )
    frame = delimited.read(path, separator=separator, encoding="utf-8-sig")
    meant = {name: _NAMES.get(name.lower().replace("_", "")) for name in frame}
    for column in _COLUMNS[:3]:
        if list(meant.values()).count(column) != 1:
            raise errors.DataError(
                f"{path} has no column of its own for the {column}; name its "
                "columns userId,movieId,rating."
            )
    return frame.rename(columns={k: v for k, v in meant.items() if v})


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
    return np.clip(stars, _WHOLE, _HIGHEST)[:, np.newaxis].astype(np.float32)
