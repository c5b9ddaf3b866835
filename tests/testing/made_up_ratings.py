"""Made-up ratings in the shape of MovieLens 100k, and what is to be beaten.

943 users rate 20 to 700 of 1,682 films; a few films are rated by most users,
and many by a handful. As their factors are known, so is the floor.
"""

import dataclasses

import numpy as np

MEAN, USER_BIAS, ITEM_BIAS, RANK, NOISE = 3.5, 0.42, 0.5, 8, 0.85


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """Ratings with what they are made of.

    `expected` are the ratings without noise and rounding, clipped to 1 to 5.
    """

    users: np.ndarray
    items: np.ndarray
    stars: np.ndarray
    expected: np.ndarray

    def write(self, folder):
        """Writes u.data, in whose names the places of users and items are."""
        rows = zip(self.users, self.items, self.stars)
        (folder / "u.data").write_text(
            "".join(f"{u:04d}\t{i:04d}\t{s:g}\t0\n" for u, i, s in rows)
        )


def make(seed=0, users=943, items=1682, product=0.45):
    """Draws ratings; `product` is the deviation of the factors' products."""
    draw = np.random.default_rng(seed)
    counts = np.exp(draw.normal(4.2, 0.95, users)).round()
    counts = np.clip(counts, 20, min(700, items // 2)).astype(int)
    popularity = draw.normal(0, 1.5, items)
    tastes = draw.normal(0, 1, [users, RANK])
    traits = draw.normal(0, product / np.sqrt(RANK), [items, RANK])
    user_bias = draw.normal(0, USER_BIAS, users)
    item_bias = draw.normal(0, ITEM_BIAS, items)
    user = np.repeat(np.arange(users), counts)
    # The largest of popularity + Gumbel noise are a draw without replacement.
    item = np.concatenate(
        [
            np.argsort(-popularity - draw.gumbel(size=items))[:count]
            for count in counts
        ]
    )
    expected = MEAN + user_bias[user] + item_bias[item]
    expected += np.sum(tastes[user] * traits[item], axis=1)
    stars = np.round(expected + draw.normal(0, NOISE, len(expected)))
    return MadeUp(user, item, np.clip(stars, 1, 5), np.clip(expected, 1, 5))


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


def errors_without_factors(train, test):
    """Root mean squared test errors of the mean, and of ridge-fitted biases.

    The biases are those of the least sum of squared errors + ridge * (sum of
    squared biases), in closed form; of several ridges the one that is best on
    the test ratings counts, which favours the biases.

    Args:
      train: The examples of the task that are trained on, as (pairs, stars).
      test: Those that are tested on.
    """
    (pairs, stars), (test_pairs, truth) = train, test
    users, items = 1 + np.concatenate([pairs, test_pairs]).max(axis=0)
    count = users + items
    after_users = np.array([0, users])
    rows = pairs + after_users
    normal = np.zeros([count, count])
    for one in range(2):
        for other in range(2):
            np.add.at(normal, (rows[:, one], rows[:, other]), 1)
    mean = stars.mean()
    target = np.zeros(count)
    for side in range(2):
        np.add.at(target, rows[:, side], stars - mean)
    errors = []
    for ridge in (2.0, 4.0, 8.0):
        biases = np.linalg.solve(normal + ridge * np.eye(count), target)
        known = mean + biases[test_pairs + after_users].sum(axis=1)
        errors.append(root_mean_square(np.clip(known, 1, 5) - truth))
    return root_mean_square(mean - truth), min(errors)
