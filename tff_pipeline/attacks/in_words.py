"""Says who attacks, and how often a round holds more than a rule withstands."""

from collections.abc import Iterable, Mapping
from typing import Any, Optional

import scipy.stats

# The column that counts the clients of a cohort that attack.
ATTACKERS = "attackers"


def before(
    name: str,
    attackers: int,
    population: int,
    cohort: int,
    withstands: Optional[int],
) -> str:
    """Describes an attack before the first round.

    >>> before("ipm", 4, 20, 10, 2)
    '4 of 20 clients attack (ipm). A cohort of 10, drawn uniformly, holds more \
than --byzantine_clients=2 of them in 29% of rounds.'

    Args:
      name: The attack's name.
      attackers: The number of clients that attack.
      population: The number of all clients.
      cohort: The number of clients in a round.
      withstands: The number of attackers that the aggregator is told to
        withstand, or `None`.
    """
    text = f"{attackers} of {population} clients attack ({name})."
    if withstands is None:
        return text
    more = scipy.stats.hypergeom.sf(withstands, population, attackers, cohort)
    return (
        f"{text} A cohort of {cohort}, drawn uniformly, holds more than "
        f"--byzantine_clients={withstands} of them in {more:.0%} of rounds."
    )


def after(rows: Iterable[Mapping[str, Any]], withstands: int) -> str:
    """Says in how many rounds more attackers came than a rule withstands.

    >>> after([{"attackers": 1}, {"attackers": 3}, {}], 2)
    'In 1 of 2 rounds more attackers came than --byzantine_clients=2.'

    Args:
      rows: The rows of metrics.csv.
      withstands: The number of attackers that the aggregator was told to
        withstand.

    Returns:
      A sentence; empty if there was no such round.
    """
    counts = [row[ATTACKERS] for row in rows if ATTACKERS in row]
    more = sum(count > withstands for count in counts)
    if not more:
        return ""
    return (
        f"In {more} of {len(counts)} rounds more attackers came than "
        f"--byzantine_clients={withstands}."
    )
