"""NumPy forms of the robust rules, from their papers' formulas.

They are written for clarity: n^2 loops, float64, ties by value.
"""

import numpy as np


def squared_distances(rows):
    rows = np.asarray(rows, np.float64)
    return ((rows[:, None] - rows[None]) ** 2).sum(-1)


def krum_scores(rows, f, neighbours=None, power=1):
    """Sums of the n - f - 2 least distances; others' faults by the options."""
    distances = squared_distances(rows) ** power
    count = neighbours or len(rows) - f - 2
    return np.array(
        [
            np.sort(np.delete(row, i))[:count].sum()
            for i, row in enumerate(distances)
        ]
    )


def krum(rows, f, **faults):
    return rows[np.argmin(krum_scores(rows, f, **faults))]


def multi_krum(rows, f, m):
    order = np.argsort(krum_scores(rows, f), kind="stable")
    return rows[order[:m]].mean(0)


def trimmed_mean(rows, f):
    return np.sort(rows, 0)[f : len(rows) - f].mean(0)


def weiszfeld(rows, iterations, nu, start):
    centre = start
    for _ in range(iterations):
        distances = np.linalg.norm(rows - centre, axis=1)
        pulls = 1 / np.maximum(distances, nu)
        centre = (pulls[:, None] * rows).sum(0) / pulls.sum()
    return centre


def centered_clip(rows, centre, tau, iterations):
    for _ in range(iterations):
        differences = rows - centre
        norms = np.linalg.norm(differences, axis=1)
        scales = np.minimum(1, tau / np.maximum(norms, 1e-30))
        centre = centre + (differences * scales[:, None]).mean(0)
    return centre


def bulyan(rows, f, at_once=False):
    """Repeated Krum; `at_once` is the fault of taking the best together."""
    left, picked = list(range(len(rows))), []
    for _ in range(len(rows) - 2 * f):
        among = rows[left]
        scores = krum_scores(among, f, max(1, len(left) - f - 2))
        best = min(range(len(left)), key=lambda i: (scores[i], tuple(among[i])))
        picked.append(left.pop(best))
    if at_once:
        order = np.argsort(krum_scores(rows, f), kind="stable")
        picked = order[: len(rows) - 2 * f]
    chosen = rows[picked]
    distances = np.abs(chosen - np.median(chosen, 0))
    order = np.argsort(distances, 0, kind="stable")[: len(chosen) - 2 * f]
    return np.take_along_axis(chosen, order, 0).mean(0)


def nnm(rows, f):
    return np.stack(
        [
            rows[np.argsort(row, kind="stable")[: len(rows) - f]].mean(0)
            for row in squared_distances(rows)
        ]
    )


# How far a rule's result may be from the honest mean, squared, over the honest
# variance (Allouah et al. 2023, table 1).
KAPPA = {
    "trimmed_mean": lambda n, f: 6 * f / (n - 2 * f) * (1 + f / (n - 2 * f)),
    "krum": lambda n, f: 6 * (1 + f / (n - 2 * f)),
    "geometric_median": lambda n, f: 4 * (1 + f / (n - 2 * f)) ** 2,
    "median": lambda n, f: 4 * (1 + f / (n - 2 * f)) ** 2,
}


def kappa_after_nnm(kappa, n, f):
    """The same bound where NNM comes first (Allouah et al. 2023, lemma 1)."""
    return 8 * f / (n - f) * (kappa + 1)


def hostile_rows(draw, n, f):
    """Draws n rows of 2 numbers of which f are hostile; the honest come first.

    Adversaries are far off together, copies of one honest client, a few
    standard deviations off, or far off each on its own.
    """
    honest = draw.normal(size=(n - f, 2)) * draw.choice([1e-3, 1, 1e3])
    if draw.random() < 0.5:
        honest *= draw.choice([0, 1, 10], size=(n - f, 1))
    mean = honest.mean(0)
    kind = draw.integers(4)
    if kind == 0:
        far = draw.normal(size=2)
        far *= 10 ** draw.uniform(-2, 8) / np.linalg.norm(far)
        sent = np.tile(mean + far, (f, 1))
    elif kind == 1:
        sent = np.tile(honest[draw.integers(n - f)], (f, 1))
    elif kind == 2:
        sent = np.tile(mean + draw.uniform(0, 4) * honest.std(0), (f, 1))
    else:
        size = 10 ** draw.uniform(-1, 6)
        sent = mean + size * draw.normal(size=(f, 2))
    return np.concatenate([honest, sent]).astype(np.float32)
