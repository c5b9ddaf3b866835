"""Tells whether the best of several settings is better by more than chance.

Two settings are compared on the seeds that both have: a seed fixes first
weights, partition and cohorts, so that the differences by seed vary less than
the results. The test is Student's paired t-test, two-sided; where the best is
held against several others, p is corrected by Holm (1979).
"""

import math
from collections.abc import Mapping

FEWEST_PAIRS = 3
LEVEL = 0.05


def p_value(differences: list[float]) -> float:
    """Returns the p of the paired t-test.

    >>> round(p_value([1.0, 2.0, 3.0]), 4)
    0.0742

    Args:
      differences: One a pair, at least two.

    Returns:
      The probability of a mean this far from zero, if it is zero. Where all
      differences are the same it is 0, or 1 where they are zero.
    """
    # Imported here, since it takes long and most comparisons need no test.
    from scipy import stats

    count = len(differences)
    mean = math.fsum(differences) / count
    squares = math.fsum((each - mean) ** 2 for each in differences)
    error = math.sqrt(squares / (count - 1) / count)
    # What rounding leaves of equal differences is no spread.
    if error <= 1e-12 * abs(mean):
        return 0.0 if mean else 1.0
    return float(2 * stats.t.sf(abs(mean) / error, count - 1))


def holm(values: list[float]) -> list[float]:
    """Corrects the p of several tests, so that none is small by their number.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Args:
      values: The p of each test.

    Returns:
      The corrected p, in the same order.
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    order = sorted(range(len(values)), key=values.__getitem__)
    for place, index in enumerate(order):
        highest = max(highest, (len(values) - place) * values[index])
        corrected[index] = min(1.0, highest)
    return corrected


def verdict(
    results: Mapping[str, Mapping[int, float]], column: str, lower: bool
) -> list[str]:
    """Says which setting is best, and how sure that is.

    Args:
      results: Setting -> seed -> its last value, of runs that ended.
      column: The column of metrics.csv that the values are of.
      lower: Whether small values are good.

    Returns:
      A sentence on the best setting, and one on each that is held against it.
    """
    means = {
        name: math.fsum(values.values()) / len(values)
        for name, values in results.items()
        if values
    }
    if not means:
        return [f"No run has ended with {column}: nothing can be said."]
    order = sorted(means, key=lambda name: means[name] * (1 if lower else -1))
    best, *others = order
    if not others:
        return [
            f"Only {best} has runs that ended: there is nothing to hold "
            "against it."
        ]
    lines = [
        f"{best} has the {'lowest' if lower else 'highest'} mean of {column}, "
        f"{means[best]:.4g} (n={len(results[best])}) against "
        f"{means[others[0]]:.4g} of {others[0]} (n={len(results[others[0]])})."
    ]
    pairs = {
        other: [
            results[best][seed] - results[other][seed]
            for seed in sorted(results[best].keys() & results[other].keys())
        ]
        for other in others
    }
    tested = [each for each in others if len(pairs[each]) >= FEWEST_PAIRS]
    corrected = holm([p_value(pairs[each]) for each in tested])
    winner = len(tested) == len(others) and max(corrected) < LEVEL
    if winner:
        lines.append(f"{best} is the winner.")
    else:
        lines.append("No setting is proven to be the winner.")
    for other, p in zip(tested, corrected):
        mean = math.fsum(pairs[other]) / len(pairs[other])
        lines.append(
            f"{best} against {other}: {mean:+.4g} on {len(pairs[other])} "
            f"seeds in common; paired t-test, p={p:.2g}"
            f"{' (Holm)' if tested[1:] else ''}"
            f"{'' if p < LEVEL else ', which chance may explain'}."
        )
    untested = [each for each in others if each not in tested]
    if untested:
        lines.append(
            f"{best} against {', '.join(untested)}: fewer than {FEWEST_PAIRS} "
            "seeds in common, which a test needs; nothing can be said."
        )
    return lines
