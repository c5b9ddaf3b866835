"""Graphs of clients who are each other's neighbours, and their mixing matrices.

A mixing matrix W [n, n] says how much of each client's model goes into that of
each other: x_i <- sum_j w_ij x_j. Here it is symmetric and its rows sum to 1,
so its columns do too: it is doubly stochastic, and the mean of all models stays
what it was.

Without weights of their own, neighbours i and j of degrees d_i and d_j have

    w_ij = 1 / (2 max(d_i, d_j)),   w_ii = 1 - sum_j w_ij

the lazy Metropolis weights (Olshevsky 2014, "Linear time average consensus on
fixed graphs and implications for decentralized optimization"). With them no
eigenvalue is negative, so models never swing between two sides of a ring or a
grid. Where all clients are neighbours, w_ij = 1 / n: a round makes all models
their mean, as federated averaging does.

With eigenvalues 1 = l_1 >= |l_2| >= ... the spectral gap is 1 - |l_2|: a round
of mixing leaves at most |l_2| of the models' distance from their mean.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy.sparse import csgraph

from tff_pipeline import errors

Matrix = npt.NDArray[np.float64]
Edges = npt.NDArray[np.bool_]

# Below it, a gap is that of a matrix by which clients would never agree.
NO_GAP = 1e-9
# Times that a random graph's edges are swapped.
_SWAPS_AN_EDGE = 10


def ring(n: int) -> Edges:
    """Makes the graph in which each client has the one before and after it.

    Args:
      n: The number of clients.

    Returns:
      A symmetric bool array [n, n], true where two clients are neighbours.

    >>> ring(4).astype(int)
    array([[0, 1, 0, 1],
           [1, 0, 1, 0],
           [0, 1, 0, 1],
           [1, 0, 1, 0]])
    """
    return _circulant(n, 1)


def torus(n: int) -> Edges:
    """Makes a grid, as square as n allows, whose opposite sides are joined.

    Args:
      n: The number of clients; they fill the grid row by row.

    Returns:
      As `ring`. In a grid of two rows the clients above and below are one.

    Raises:
      ConfigError: If n is a prime number above 2, which fills no grid.

    >>> torus(20).sum(axis=0).tolist() == [4] * 20
    True
    """
    rows = next(r for r in range(math.isqrt(n), 0, -1) if n % r == 0)
    if rows == 1 and n > 2:
        raise errors.ConfigError(
            f"--gossip_topology=torus with {n} clients: they fill no grid of "
            "at least two rows; choose ring or random_regular, or another "
            "number of clients."
        )
    places = np.arange(n).reshape(rows, n // rows)
    edges = np.zeros([n, n], np.bool_)
    for axis in (0, 1):
        edges[places, np.roll(places, 1, axis)] = True
    return _symmetric(edges)


def complete(n: int) -> Edges:
    """Makes the graph in which all clients are neighbours.

    Args:
      n: The number of clients.

    Returns:
      As `ring`.
    """
    return ~np.eye(n, dtype=np.bool_)


def random_regular(n: int, degree: int, draw: np.random.Generator) -> Edges:
    """Draws a connected graph in which each client has `degree` neighbours.

    Two random edges a-b and c-d become a-d and c-b, where these are new, over
    and over, which leaves all degrees as they are and in the limit draws all
    such graphs alike (Cooper, Dyer and Greenhill 2007, "Sampling regular graphs
    and a peer-to-peer network").

    Args:
      n: The number of clients.
      degree: The number of neighbours of each, at least 2.
      draw: The generator.

    Returns:
      As `ring`.

    Raises:
      ConfigError: If there is no such graph.
    """
    if degree >= n or degree * n % 2:
        why = "of them both one must be even"
        if degree >= n:
            why = f"a client has at most {n - 1} neighbours"
        raise errors.ConfigError(
            f"--gossip_degree={degree} with {n} clients: {why}; choose another "
            "--gossip_degree."
        )
    edges = _circulant(n, degree // 2)
    if degree % 2:
        places = np.arange(n)
        edges[places, (places + n // 2) % n] = True
    while True:
        edges = _swapped(edges, draw)
        if parts(edges) == 1:
            return edges


def _circulant(n: int, reach: int) -> Edges:
    """Joins each client with the `reach` before it and after it in a ring."""
    places = np.arange(n)
    edges = np.zeros([n, n], np.bool_)
    for step in range(1, reach + 1):
        edges[places, (places + step) % n] = True
    return _symmetric(edges)


def _symmetric(edges: Edges) -> Edges:
    """Makes neighbours mutual, and nobody a neighbour of its own."""
    return (edges | edges.T) & complete(len(edges))


def _swapped(edges: Edges, draw: np.random.Generator) -> Edges:
    """Swaps the ends of random pairs of edges."""
    ends = [(a, b) for a, b in np.argwhere(np.triu(edges)).tolist()]
    known = {*ends, *((b, a) for a, b in ends)}
    count = _SWAPS_AN_EDGE * len(ends)
    pairs = draw.integers(len(ends), size=[count, 2]).tolist()
    turned = draw.integers(2, size=count).tolist()
    for (first, second), turn in zip(pairs, turned):
        (a, b), (c, d) = ends[first], ends[second]
        if turn:
            c, d = d, c
        if a == d or b == c or (a, d) in known or (c, b) in known:
            continue
        known -= {(a, b), (b, a), (c, d), (d, c)}
        known |= {(a, d), (d, a), (c, b), (b, c)}
        ends[first], ends[second] = (a, d), (c, b)
    swapped = np.zeros_like(edges)
    swapped[tuple(np.transpose(ends))] = True
    return _symmetric(swapped)


# Graphs that need no more than the number of clients, by --gossip_topology.
BY_SIZE: Mapping[str, Callable[[int], Edges]] = {
    "ring": ring,
    "torus": torus,
    "complete": complete,
}


def parts(edges: Edges) -> int:
    """Counts the parts of a graph that no edge joins; 1 if it is connected.

    Args:
      edges: As `ring` makes them.

    >>> parts(ring(5)), parts(np.zeros([3, 3], bool))
    (1, 3)
    """
    count, _ = csgraph.connected_components(edges, directed=False)
    return int(count)


def metropolis(edges: Edges) -> Matrix:
    """Makes the mixing matrix of a graph: the lazy Metropolis weights.

    Args:
      edges: As `ring` makes them.

    Returns:
      W, float64 [n, n]; 1 / n everywhere if all clients are neighbours.

    >>> metropolis(ring(4))
    array([[0.5 , 0.25, 0.  , 0.25],
           [0.25, 0.5 , 0.25, 0.  ],
           [0.  , 0.25, 0.5 , 0.25],
           [0.25, 0.  , 0.25, 0.5 ]])
    """
    n, degrees = len(edges), edges.sum(axis=0)
    if np.array_equal(edges, complete(n)):
        return np.full([n, n], 1 / n)
    # A client without neighbours has no weights that this would divide by 0.
    larger = np.maximum(1, np.maximum.outer(degrees, degrees))
    return with_rest_to_self(edges / (2 * larger))


def with_rest_to_self(weights: Matrix) -> Matrix:
    """Gives each client the weight that its neighbours leave.

    Args:
      weights: Symmetric, float64 [n, n]; the diagonal does not matter.

    Returns:
      The matrix with a diagonal by which all rows sum to 1.
    """
    weights = weights.copy()
    np.fill_diagonal(weights, 0.0)
    np.fill_diagonal(weights, 1 - weights.sum(axis=1))
    return weights


def without_silent(weights: Matrix, heard: npt.NDArray[np.bool_]) -> Matrix:
    """Gives the weights of clients that are silent to their neighbours' selves.

    A silent client keeps its own model, so that the matrix stays doubly
    stochastic.

    Args:
      weights: W, float64 [n, n].
      heard: bool [n], false where a client is silent.

    Returns:
      The mixing matrix of a round with these silences.

    >>> without_silent(metropolis(ring(4)), np.array([1, 1, 1, 0], bool))
    array([[0.75, 0.25, 0.  , 0.  ],
           [0.25, 0.5 , 0.25, 0.  ],
           [0.  , 0.25, 0.75, 0.  ],
           [0.  , 0.  , 0.  , 1.  ]])
    """
    if heard.all():
        return weights
    return with_rest_to_self(weights * np.outer(heard, heard))


def spectral_gap(weights: Matrix) -> float:
    """Computes 1 - |l_2|, of the eigenvalue with the second largest modulus.

    Args:
      weights: W, symmetric, float64 [n, n].

    Returns:
      A number from 0 (some clients never agree) to 1 (all do at once); 1 if
      there is one client.

    >>> round(spectral_gap(metropolis(ring(4))), 12)
    0.5
    """
    if len(weights) == 1:
        return 1.0
    sizes = np.sort(np.abs(np.linalg.eigvalsh(weights)))
    return float(min(1.0, max(0.0, 1 - sizes[-2])))
