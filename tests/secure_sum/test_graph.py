"""The neighbours of clients: regular, symmetric, connected."""

import os

import pytest

from tff_pipeline.secure_sum import graph


def neighbours(session, num_clients, k):
    return [
        set(graph.neighbourhood(session, num_clients, k, client)) - {client}
        for client in range(num_clients)
    ]


def is_connected(near, clients):
    seen, waiting = set(), [next(iter(clients))]
    while waiting:
        client = waiting.pop()
        if client not in seen:
            seen.add(client)
            waiting += near[client] & clients
    return seen == clients


@pytest.mark.parametrize("num_clients", [5, 6, 40, 101])
@pytest.mark.parametrize("k", [2, 4, 30])
def test_the_graph_is_regular_symmetric_and_connected(num_clients, k):
    near = neighbours(os.urandom(16), num_clients, k)
    assert {len(each) for each in near} == {min(k, num_clients - 1)}
    for client, others in enumerate(near):
        assert all(client in near[other] for other in others)
    assert is_connected(near, set(range(num_clients)))


def test_it_stays_connected_without_fewer_than_k_clients():
    near = neighbours(b"16 bytes of them", 20, 4)
    for first in range(20):
        # The hardest to lose: three neighbours of one.
        lost = set(sorted(near[first])[:3])
        assert is_connected(near, set(range(20)) - lost)


def test_the_order_is_the_sessions():
    assert neighbours(b"a", 50, 6) == neighbours(b"a", 50, 6)
    assert neighbours(b"a", 50, 6) != neighbours(b"b", 50, 6)


def test_each_pair_is_as_likely_as_any():
    draws = 2000
    together = sum(
        1 in graph.neighbourhood(number.to_bytes(2, "big"), 11, 4, 0)
        for number in range(draws)
    )
    # 4 of 10 others; five standard deviations.
    assert abs(together - 0.4 * draws) < 5 * (draws * 0.24) ** 0.5
