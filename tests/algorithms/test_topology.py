"""Graphs of gossip: golden matrices and gaps, closed forms, refused files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tff_pipeline import errors, randomness
from tff_pipeline.algorithms import topology, topology_file

IDS = ["a", "b", "c", "d"]


def regular(n, degree, seed=0):
    draw = randomness.generator(seed, "gossip")
    return topology.random_regular(n, degree, draw)


@st.composite
def graphs(draw):
    """(the graph, the degree that all have if it is known)."""
    n = draw(st.integers(1, 40))
    name = draw(st.sampled_from([*topology.BY_SIZE, "random_regular"]))
    try:
        if name == "random_regular":
            degree = draw(st.integers(2, 9))
            return regular(n, degree, draw(st.integers(0, 99))), degree
        return topology.BY_SIZE[name](n), None
    except errors.ConfigError:
        return topology.ring(n), None


@settings(deadline=None, derandomize=True)
@given(graphs(), st.randoms(use_true_random=False))
def test_matrices_are_doubly_stochastic_whoever_is_silent(graph, random):
    edges, degree = graph
    weights = topology.metropolis(edges)
    heard = np.array([random.random() < 0.7 for _ in weights], bool)
    if degree is not None:
        assert (edges.sum(axis=0) == degree).all()
    assert topology.parts(edges) == 1
    for matrix in (weights, topology.without_silent(weights, heard)):
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_allclose(matrix.sum(axis=0), 1, rtol=0, atol=1e-14)
        assert matrix.min() >= -1e-16
        # Lazy: models never swing between two sides.
        assert np.linalg.eigvalsh(matrix).min() > -1e-12
    # A silent client has its own model alone, and nobody else has it.
    silent = topology.without_silent(weights, heard)[~heard]
    np.testing.assert_array_equal(silent, np.eye(len(weights))[~heard])
    assert topology.spectral_gap(weights) > topology.NO_GAP


@pytest.mark.parametrize("n", [4, 5, 9, 20])
def test_the_gap_of_a_ring_is_known(n):
    # A circulant matrix: eigenvalues 1/2 + 1/2 cos(2 pi k / n).
    gap = topology.spectral_gap(topology.metropolis(topology.ring(n)))
    assert gap == pytest.approx((1 - np.cos(2 * np.pi / n)) / 2, abs=1e-12)


def test_the_ring_of_four_has_gap_one_half():
    weights = topology.metropolis(topology.ring(4))
    assert topology.spectral_gap(weights) == pytest.approx(0.5, abs=1e-12)


def test_a_torus_is_a_product_of_rings():
    # 4 neighbours of 1/8: the sums of half the eigenvalues of two rings.
    weights = topology.metropolis(topology.torus(20))
    expected = (1 - np.cos(2 * np.pi / 5)) / 4
    assert topology.spectral_gap(weights) == pytest.approx(expected, abs=1e-12)


def test_in_a_complete_graph_one_round_is_the_mean():
    weights = topology.metropolis(topology.complete(7))
    np.testing.assert_array_equal(weights, np.full([7, 7], 1 / 7))
    assert topology.spectral_gap(weights) == pytest.approx(1, abs=1e-12)


def test_one_client_has_itself():
    weights = topology.metropolis(topology.ring(1))
    np.testing.assert_array_equal(weights, [[1]])
    assert topology.spectral_gap(weights) == 1


def test_random_graphs_are_drawn_from_the_seed():
    np.testing.assert_array_equal(regular(20, 4, 1), regular(20, 4, 1))
    assert (regular(20, 4, 1) != regular(20, 4, 2)).any()


def test_all_cubic_graphs_of_six_clients_are_drawn_alike():
    # 60 of the prism (in which neighbours have triangles) and 10 of K_3,3.
    triangles = [
        np.trace(np.linalg.matrix_power(regular(6, 3, seed).astype(int), 3))
        for seed in range(700)
    ]
    assert 60 <= triangles.count(0) <= 140  # 100 are expected, sd 9.3.


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: topology.torus(7), "torus with 7 clients"),
        (lambda: regular(4, 4), "at most 3 neighbours"),
        (lambda: regular(5, 3), "one must be even"),
    ],
)
def test_what_no_graph_has_is_refused(make, words):
    with pytest.raises(errors.ConfigError, match=words):
        make()


def written(tmp_path, text):
    path = tmp_path / "edges.csv"
    path.write_bytes(text.encode())
    return str(path)


def test_a_file_of_edges_is_read(tmp_path):
    text = '\ufeffa,b\r\nb, c\n\n"c",d\nd,a\nb,a\n'
    np.testing.assert_array_equal(
        topology_file.read(written(tmp_path, text), IDS),
        topology.metropolis(topology.ring(4)),
    )


def test_a_file_of_weights_is_the_matrix(tmp_path):
    text = "a,b,0.5\nb,c,0.25\nc,b,0.25\nc,d,0.75\n"
    np.testing.assert_array_equal(
        topology_file.read(written(tmp_path, text), IDS),
        [
            [0.5, 0.5, 0, 0],
            [0.5, 0.25, 0.25, 0],
            [0, 0.25, 0, 0.75],
            [0, 0, 0.75, 0.25],
        ],
    )


@pytest.mark.parametrize(
    "text, words",
    [
        ("a,b\nc,d\n", "not connected: .* 2 parts"),
        ("a,b\nb,c\n", "not connected: .* 2 parts"),
        ("", "not connected: .* 4 parts"),
        ("a,b\nb,secret\n", "line 2: value 2 is no id of one of the 4"),
        ("from,to\na,b\n", "line 1: value 1 is no id"),
        ("a\n", "line 1, has 1 values"),
        ("a,b,.5,x\n", "line 1, has 4 values"),
        ("a,a\n", "joins a client with itself"),
        ("a,b,-0.5\n", "line 1, has a weight that is not"),
        ("a,b,0\n", "line 1, has a weight that is not"),
        ("a,b,nan\n", "line 1, has a weight that is not"),
        ("a,b,much\n", "line 1, has a weight that is not"),
        ("a,b,.5\nb,a,.25\n", "line 2, has another weight .* symmetric"),
        ("a,b,.5\nb,c\nc,d\n", "on some of its lines only"),
        ("a,b,.5\nb,c,.6\nc,d,.1\n", "sum to 1.1"),
        ('a,"b\n', "no CSV file in UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(text, words, tmp_path):
    with pytest.raises(errors.DataError, match=words) as refused:
        topology_file.read(written(tmp_path, text), IDS)
    assert "secret" not in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_weights_by_which_clients_only_swap_are_refused(tmp_path):
    path = written(tmp_path, "a,b,1\n")
    with pytest.raises(errors.DataError, match="never agree"):
        topology_file.read(path, ["a", "b"])


def test_a_name_that_is_no_file_is_told_the_names():
    with pytest.raises(errors.DataError, match="rign is none of ring, torus"):
        topology_file.read("rign", IDS)
