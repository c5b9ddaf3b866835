"""Who holds whose shares, and masks itself against whom.

Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead": instead of all others (Bonawitz et al. 2017), a client has k
neighbours. The clients stand in a random order around a ring, and each has the
k/2 next to it on either side: a Harary graph, which stays connected until k
clients leave it.
"""

import functools
import hashlib

import numpy as np


def neighbourhood(
    session: bytes, num_clients: int, neighbours: int, client: int
) -> tuple[int, ...]:
    """Lists a client's neighbours and the client itself, sorted.

    Args:
      session: The session's id, from which the order follows.
      num_clients: How many clients there are.
      neighbours: How many neighbours a client has, an even number; with as many
        as there are other clients, or more, all are neighbours.
      client: The client's number, from 0.

    Example:
      >>> neighbourhood(b"a session", 100, 200, 2) == tuple(range(100))
      True
      >>> len(neighbourhood(b"a session", 100, 4, 2))
      5
    """
    if neighbours >= num_clients - 1:
        return tuple(range(num_clients))
    order, places = _ring(session, num_clients)
    half = neighbours // 2
    near = np.arange(places[client] - half, places[client] + half + 1)
    return tuple(sorted(order[near % num_clients].tolist()))


@functools.lru_cache(maxsize=4)
def _ring(
    session: bytes, num_clients: int
) -> tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", list[int]]:
    """The clients in their order around the ring, and each one's place."""
    digest = hashlib.sha256(b"tff_pipeline secure sum graph" + session).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "big"))
    order = generator.permutation(num_clients)
    return order, np.argsort(order).tolist()
