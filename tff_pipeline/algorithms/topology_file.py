"""A file that says which clients are neighbours, and with which weights.

A CSV file in UTF-8 with a line for each pair of neighbours, either `a,b` or
`a,b,weight`, and no header:

    hospital 1,hospital 2
    hospital 2,hospital 3

Without weights they are those of `topology.metropolis`. With them, all lines
have one, and the lines are the mixing matrix beside its diagonal: each client
keeps for itself what its neighbours leave of 1.
"""

import csv
import math
from collections.abc import Sequence

import numpy as np

from tff_pipeline import errors
from tff_pipeline.algorithms import topology
from tff_pipeline.config.algorithm import TOPOLOGIES
from tff_pipeline.files import storage

# Sums of weights may be above 1 by so much, which is rounding.
_ROUNDING = 1e-9


def read(path: str, client_ids: Sequence[str]) -> topology.Matrix:
    """Reads a mixing matrix.

    Args:
      path: The file, the value of `--gossip_topology`.
      client_ids: The ids of all clients.

    Returns:
      W, float64 [n, n], in the order of `client_ids`; symmetric, connected,
      and with rows that sum to 1.

    Raises:
      DataError: If it cannot be read, or is no such matrix; the sentence names
        the line, and no client.
    """
    places = {client_id: place for place, client_id in enumerate(client_ids)}
    n = len(client_ids)
    weights = np.zeros([n, n])
    edges = np.zeros([n, n], np.bool_)
    lengths = set()
    for number, cells in _lines(path):
        lengths.add(len(cells))
        a, b = _pair(cells, places, path, number)
        weight = 1.0 if len(cells) == 2 else _weight(cells[2], path, number)
        if edges[a, b] and weights[a, b] != weight:
            raise errors.DataError(
                f"{path}, line {number}, has another weight for two clients "
                "than a line above; mixing is symmetric, so give each pair one "
                "weight."
            )
        edges[a, b] = edges[b, a] = True
        weights[a, b] = weights[b, a] = weight
    if len(lengths) > 1:
        raise errors.DataError(
            f"{path} has weights on some of its lines only; give all lines one "
            "or none."
        )
    if (count := topology.parts(edges)) > 1:
        raise errors.DataError(
            f"{path} is not connected: its edges leave the {n} clients in "
            f"{count} parts that never hear of each other; add edges between "
            "them."
        )
    if lengths != {3}:
        return topology.metropolis(edges)
    return _checked(weights, path)


def _lines(path: str) -> list[tuple[int, list[str]]]:
    """Reads the lines that are not empty, with their numbers from 1."""
    try:
        text = storage.read_text(path).removeprefix("\ufeff")
        reader = csv.reader(text.splitlines(), strict=True)
        lines = [(reader.line_num, cells) for cells in reader if any(cells)]
    except OSError as error:
        raise errors.DataError(
            f"--gossip_topology={path} is none of "
            f"{', '.join(TOPOLOGIES)}, and as a file it cannot be read "
            f"({error.strerror or error}); name one of them, or a CSV file of "
            "edges."
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise errors.DataError(
            f"{path} is no CSV file in UTF-8 with lines such as a,b of two "
            "clients' ids; save it as such."
        ) from None
    return lines


def _pair(
    cells: Sequence[str], places: dict[str, int], path: str, number: int
) -> tuple[int, int]:
    """Finds the two clients of a line."""
    if len(cells) not in (2, 3):
        raise errors.DataError(
            f"{path}, line {number}, has {len(cells)} values; give two "
            "clients' ids, or these and a weight."
        )
    ids = [cell.strip() for cell in cells[:2]]
    unknown = [place for place, each in enumerate(ids, 1) if each not in places]
    if unknown:
        raise errors.DataError(
            f"{path}, line {number}: value {unknown[0]} is no id of one of "
            f"the {len(places)} clients that train; correct it or take the "
            "line out."
        )
    a, b = (places[each] for each in ids)
    if a == b:
        raise errors.DataError(
            f"{path}, line {number}, joins a client with itself; take it out, "
            "for each client keeps the weight that its neighbours leave."
        )
    return a, b


def _weight(cell: str, path: str, number: int) -> float:
    """Reads the weight of a line."""
    try:
        weight = float(cell)
    except ValueError:
        weight = math.nan
    if not 0 < weight <= 1:
        raise errors.DataError(
            f"{path}, line {number}, has a weight that is not a number above 0 "
            "and at most 1; correct it."
        )
    return weight


def _checked(weights: topology.Matrix, path: str) -> topology.Matrix:
    """Completes a matrix of weights, of which something must be left to self.

    Raises:
      DataError: If clients' weights are too large.
    """
    largest = weights.sum(axis=1).max()
    if largest > 1 + _ROUNDING:
        raise errors.DataError(
            f"{path}: the weights of a client's neighbours sum to "
            f"{largest:.6g}, and at most 1 is allowed; lower them."
        )
    weights = topology.with_rest_to_self(weights)
    if topology.spectral_gap(weights) < topology.NO_GAP:
        raise errors.DataError(
            f"{path}: with these weights clients swap their models and never "
            "agree (the spectral gap is 0); lower them, so that each keeps a "
            "part of its own."
        )
    return weights
