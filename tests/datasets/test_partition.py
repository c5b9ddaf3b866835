"""Every way to spread examples keeps all of them, and its own promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.partition import partition

SEEDS = st.integers(0, 2**32 - 1)
SPREADS = [
    {"partition": "iid", "num_clients": 7},
    {"partition": "shards", "num_clients": 7, "shards_per_client": 3},
    {"partition": "dirichlet", "num_clients": 7, "dirichlet_alpha": 0.5},
    {"partition": "quantity", "num_clients": 7, "quantity_exponent": 1.0},
    {"partition": "label_k", "num_clients": 7, "labels_per_client": 2},
]
NAMES = [options["partition"] for options in SPREADS]


def split(labels, seed=0, owners=None, **options):
    """Client id -> the indices of its examples in `labels`."""
    labels = np.asarray(labels, np.int32)
    # Inputs that are their own index, to see where each went.
    numbered = Examples(np.arange(len(labels)), labels)
    data = partition(numbered, DataConfig(**options), seed, owners)
    clients = {name: data.load(name) for name in data.client_ids}
    assert len(clients) == len(data)
    for name, examples in clients.items():
        assert len(examples) == data.size(name)
        np.testing.assert_array_equal(examples.y, labels[examples.x])
    return {name: examples.x for name, examples in clients.items()}


def check_complete(clients, num_examples):
    """Every example is in exactly one client, and no client is empty."""
    everyone = np.concatenate(list(clients.values()))
    assert sorted(everyone.tolist()) == list(range(num_examples))
    assert all(len(indices) for indices in clients.values())


def as_lists(clients):
    return {name: indices.tolist() for name, indices in clients.items()}


def labels_of(num_examples, num_classes, seed=0):
    """Random labels in which every class occurs."""
    labels = np.arange(num_examples) % num_classes
    return np.random.default_rng(seed).permutation(labels)


@st.composite
def labels_and_counts(draw, most=1):
    """(labels, num_clients, up to `most` parts a client), enough for all."""
    per_client = draw(st.integers(1, most))
    labels = draw(
        st.lists(st.integers(0, 9), min_size=per_client, max_size=200)
    )
    num_clients = draw(st.integers(1, len(labels) // per_client))
    return labels, num_clients, per_client


@given(labels_and_counts(), SEEDS)
def test_iid_gives_all_examples_in_sizes_that_differ_by_at_most_one(
    counts, seed
):
    labels, num_clients, _ = counts
    clients = split(labels, seed, partition="iid", num_clients=num_clients)
    check_complete(clients, len(labels))
    assert len(clients) == num_clients
    sizes = [len(indices) for indices in clients.values()]
    assert max(sizes) - min(sizes) <= 1


@given(labels_and_counts(most=5), SEEDS)
def test_shards_gives_all_examples_and_few_labels_to_each(counts, seed):
    labels, num_clients, per_client = counts
    clients = split(
        labels,
        seed,
        partition="shards",
        num_clients=num_clients,
        shards_per_client=per_client,
    )
    check_complete(clients, len(labels))
    assert len(clients) == num_clients
    size = len(labels) // (num_clients * per_client)
    seen = 0
    for indices in clients.values():
        assert size * per_client <= len(indices) <= (size + 1) * per_client
        seen += len({labels[i] for i in indices})
    # A shard has one label, but for those in which a label ends.
    ends = len(set(labels)) - 1
    assert seen <= num_clients * per_client + ends


@given(
    st.integers(1, 5),
    st.integers(1, 10),
    st.floats(0.5, 1e6),
    st.integers(100, 300),
    SEEDS,
)
def test_dirichlet_gives_all_examples_and_leaves_no_client_empty(
    num_clients, num_classes, alpha, num_examples, seed
):
    clients = split(
        labels_of(num_examples, num_classes),
        seed,
        partition="dirichlet",
        num_clients=num_clients,
        dirichlet_alpha=alpha,
    )
    check_complete(clients, num_examples)
    assert len(clients) == num_clients


@given(labels_and_counts(), st.floats(0, 1e308), SEEDS)
def test_quantity_gives_all_examples_in_shares_that_fall_as_a_power(
    counts, exponent, seed
):
    labels, num_clients, _ = counts
    clients = split(
        labels,
        seed,
        partition="quantity",
        num_clients=num_clients,
        quantity_exponent=exponent,
    )
    check_complete(clients, len(labels))
    assert len(clients) == num_clients
    # One each, and of the rest what is in proportion, but for rounding.
    ranks = np.arange(1, num_clients + 1)
    shares = np.array([float(rank) ** -exponent for rank in ranks])
    wanted = 1 + shares / shares.sum() * (len(labels) - num_clients)
    sizes = np.array([len(indices) for indices in clients.values()])
    assert np.abs(sizes - wanted).max() <= 1


@pytest.mark.parametrize(
    ("exponent", "sizes"),
    [(1.0, [479, 240, 160, 121]), (0.0, [250] * 4), (1e308, [997, 1, 1, 1])],
)
def test_quantity_has_the_stated_sizes(exponent, sizes):
    clients = split(
        labels_of(1000, 10),
        partition="quantity",
        num_clients=4,
        quantity_exponent=exponent,
    )
    assert [len(indices) for indices in clients.values()] == sizes


def test_quantity_shuffles_and_so_is_skewed_in_sizes_only():
    labels = np.sort(labels_of(60000, 10))
    clients = split(
        labels, partition="quantity", num_clients=10, quantity_exponent=1.0
    )
    for indices in clients.values():
        shares = np.bincount(labels[indices], minlength=10) / len(indices)
        assert abs(shares - 0.1).max() < 0.03


@given(st.data(), st.integers(1, 12), st.integers(1, 8), SEEDS)
def test_label_k_gives_every_client_k_labels_in_equal_parts(
    data, num_clients, num_classes, seed
):
    # So many that all labels have a client.
    least = -(-num_classes // num_clients)
    k = data.draw(st.integers(least, num_classes))
    labels = np.concatenate(
        [
            # Classes of other sizes, with names that are no row of numbers.
            np.full(12 + 5 * label, 3 * label + 1)
            for label in range(num_classes)
        ]
    )
    labels = np.random.default_rng(0).permutation(labels)
    clients = split(
        labels,
        seed,
        partition="label_k",
        num_clients=num_clients,
        labels_per_client=k,
    )
    check_complete(clients, len(labels))
    assert len(clients) == num_clients
    held = {name: labels[indices] for name, indices in clients.items()}
    assert {len(set(mine.tolist())) for mine in held.values()} == {k}
    holders = []
    for label in np.unique(labels):
        parts = [(mine == label).sum() for mine in held.values()]
        parts = [part for part in parts if part]
        holders.append(len(parts))
        assert max(parts) - min(parts) <= 1
    assert max(holders) - min(holders) <= 1


def test_label_k_halves_each_digit_between_two_of_ten_clients():
    labels = labels_of(60000, 10)
    clients = split(
        labels, partition="label_k", num_clients=10, labels_per_client=2
    )
    for indices in clients.values():
        counts = np.bincount(labels[indices], minlength=10)
        assert sorted(counts.tolist()) == [0] * 8 + [3000] * 2


def test_label_k_pairs_labels_in_many_ways():
    # Dealt in a fixed order, ten labels would make five pairs only.
    labels = labels_of(10000, 10)
    clients = split(
        labels, partition="label_k", num_clients=100, labels_per_client=2
    )
    pairs = {tuple(np.unique(labels[i])) for i in clients.values()}
    assert len(pairs) > 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"num_clients": 5, "labels_per_client": 6},
            ["--labels_per_client=6", "5 labels there are", "lower it"],
        ),
        (
            {"num_clients": 2, "labels_per_client": 2},
            [
                "--num_clients=2",
                "--labels_per_client=2",
                "no room for all 5",
                "raise one",
            ],
        ),
        (
            {"num_clients": 15, "labels_per_client": 1},
            ["--num_clients=15", "3 of which have the label", "there are 2"],
        ),
    ],
)
def test_label_k_that_cannot_be_is_refused_in_one_sentence(options, words):
    with pytest.raises(errors.ConfigError) as caught:
        split(labels_of(10, 5), partition="label_k", **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["shards", "dirichlet", "label_k"])
def test_partitions_by_class_are_refused_where_labels_are_none(name):
    numbers = Examples(np.arange(300), np.zeros(300, np.float32))
    sequences = Examples(np.arange(300), np.zeros([300, 4], np.int32))
    for examples in (numbers, sequences):
        with pytest.raises(errors.ConfigError, match=f"--partition={name} is"):
            partition(examples, DataConfig(partition=name, num_clients=3), 0)
        iid = DataConfig(partition="quantity", num_clients=3)
        assert len(partition(examples, iid, 0)) == 3


OWNERS = st.lists(
    st.sampled_from(["ann", "bob", "cid", "writer_0007", "é"]),
    min_size=1,
    max_size=100,
)


@given(OWNERS, SEEDS)
def test_natural_gives_every_owner_exactly_its_own(owners, seed):
    labels = np.zeros(len(owners))
    clients = split(labels, seed, owners=np.array(owners), partition="natural")
    check_complete(clients, len(owners))
    assert as_lists(clients) == {
        name: [i for i, owner in enumerate(owners) if owner == name]
        for name in set(owners)
    }


def test_natural_names_numbered_owners_by_their_number():
    clients = split(
        [0, 1, 2], owners=np.array([30, 4, 30]), partition="natural"
    )
    assert as_lists(clients) == {"30": [0, 2], "4": [1]}


def test_natural_without_owners_is_refused():
    with pytest.raises(errors.ConfigError, match="--partition=natural"):
        split([0, 1], partition="natural")


@pytest.mark.parametrize("options", SPREADS, ids=NAMES)
def test_the_same_seed_gives_the_same_split_and_others_another(options):
    labels = labels_of(1000, 10)
    first = as_lists(split(labels, 0, **options))
    assert as_lists(split(labels, 0, **options)) == first
    for seed in range(1, 20):
        assert as_lists(split(labels, seed, **options)) != first


def test_natural_is_the_same_for_every_seed():
    owners = labels_of(100, 7, seed=1)
    first, second = (
        split(labels_of(100, 10), seed, owners=owners, partition="natural")
        for seed in (0, 1)
    )
    assert as_lists(first) == as_lists(second)


@pytest.mark.parametrize("options", SPREADS, ids=NAMES)
@pytest.mark.parametrize(
    ("num_clients", "first", "last"),
    [
        (1, "client_0", "client_0"),
        (10, "client_0", "client_9"),
        (12, "client_00", "client_11"),
        (101, "client_000", "client_100"),
    ],
)
def test_clients_are_numbered_so_that_their_names_sort(
    options, num_clients, first, last
):
    # Alpha is large, so that none is empty.
    options = {**options, "num_clients": num_clients}
    if "dirichlet_alpha" in options:
        options["dirichlet_alpha"] = 100.0
    if "labels_per_client" in options:
        # All, so that even one client has room for them.
        options["labels_per_client"] = 10
    names = list(split(labels_of(2000, 10), **options))
    assert names == sorted(names)
    assert (names[0], names[-1]) == (first, last)


def test_iid_clients_see_all_labels_of_mnist():
    labels = labels_of(60000, 10)
    clients = split(labels, partition="iid", num_clients=100)
    for indices in clients.values():
        assert len(indices) == 600
        assert len(set(labels[indices])) == 10


@pytest.mark.parametrize("seed", [0, 1])
def test_two_shards_of_mnist_are_600_examples_of_few_digits(seed):
    # Its true counts; no label's end is a shard's.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    labels = np.random.default_rng(0).permutation(
        np.repeat(np.arange(10), counts)
    )
    clients = split(
        labels,
        seed,
        partition="shards",
        num_clients=100,
        shards_per_client=2,
    )
    check_complete(clients, 60000)
    digits = [len(set(labels[indices])) for indices in clients.values()]
    assert {len(indices) for indices in clients.values()} == {600}
    assert max(digits) <= 4
    # McMahan et al. 2017, section 3: most clients see two digits only.
    assert np.median(digits) == 2


def test_shards_of_equal_classes_have_one_label_each():
    labels = labels_of(1000, 10)
    clients = split(
        labels, partition="shards", num_clients=20, shards_per_client=1
    )
    for indices in clients.values():
        assert len(indices) == 50
        assert len(set(labels[indices])) == 1


def test_dirichlet_with_large_alpha_is_near_the_labels_of_all():
    labels = labels_of(60000, 10)
    clients = split(
        labels, partition="dirichlet", num_clients=10, dirichlet_alpha=1000.0
    )
    for indices in clients.values():
        shares = np.bincount(labels[indices], minlength=10) / len(indices)
        # Each share of a class has a relative deviation of 3%.
        assert abs(shares - 0.1).max() < 0.02
        assert abs(len(indices) - 6000) < 600


def test_dirichlet_with_small_alpha_is_skewed_in_labels_and_sizes():
    labels = labels_of(60000, 10)
    clients = split(
        labels, partition="dirichlet", num_clients=10, dirichlet_alpha=0.05
    )
    sizes = [len(indices) for indices in clients.values()]
    most = [
        np.bincount(labels[indices]).max() / len(indices)
        for indices in clients.values()
    ]
    assert np.mean(most) > 0.5
    assert max(sizes) > 3 * min(sizes)


def test_dirichlet_shares_have_the_mean_and_variance_of_the_distribution():
    alpha, num_clients, num_classes = 2.0, 5, 10
    labels = labels_of(10000, num_classes)
    shares = np.array(
        [
            np.bincount(labels[indices], minlength=num_classes) / 1000
            for seed in range(40)
            for indices in split(
                labels,
                seed,
                partition="dirichlet",
                num_clients=num_clients,
                dirichlet_alpha=alpha,
            ).values()
        ]
    )
    # Dirichlet(alpha, ..., alpha): each share is Beta(alpha, (k - 1) alpha).
    mean = 1 / num_clients
    variance = mean * (1 - mean) / (num_clients * alpha + 1)
    assert shares.mean() == pytest.approx(mean)
    # 400 independent draws of 5 shares.
    assert shares.var() == pytest.approx(variance, rel=0.15)
    # No client is favoured for its place in the list.
    places = shares.reshape(40, num_clients, num_classes).mean(axis=(0, 2))
    deviation = np.sqrt(variance / 400)
    assert abs(places - mean).max() < 5 * deviation


def test_dirichlet_deals_the_examples_of_a_class_in_random_order():
    # Sorted by owner or difficulty, a class must not be cut in that order.
    first, second = split(
        np.zeros(1000),
        partition="dirichlet",
        num_clients=2,
        dirichlet_alpha=100.0,
    ).values()
    assert first.min() < 50 < 950 < first.max()
    assert second.min() < 50 < 950 < second.max()


@given(st.integers(1, 60), st.sampled_from(SPREADS), SEEDS)
def test_max_examples_keeps_that_many_of_the_same_client(most, options, seed):
    labels = labels_of(300, 10)
    whole = split(labels, seed, **options)
    cut = split(labels, seed, max_examples_per_client=most, **options)
    assert list(cut) == list(whole)
    for name, indices in cut.items():
        assert len(indices) == min(most, len(whole[name]))
        assert len(set(indices.tolist())) == len(indices)
        assert set(indices) <= set(whole[name])


def test_max_examples_are_drawn_at_random_from_the_seed():
    labels, owners = np.zeros(1000), np.array(["ann", "bob"]).repeat(500)
    kept = [
        as_lists(
            split(
                labels,
                seed,
                owners=owners,
                partition="natural",
                max_examples_per_client=10,
            )
        )
        for seed in (0, 0, 1)
    ]
    assert kept[0] == kept[1]
    assert kept[0]["ann"] != kept[2]["ann"]
    # Not the first ten, which may all be of one label.
    assert max(kept[0]["ann"]) >= 10


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"partition": "iid", "num_clients": 11}, ["--num_clients=11"]),
        (
            {"partition": "shards", "num_clients": 4, "shards_per_client": 3},
            ["--num_clients=4", "--shards_per_client=3"],
        ),
        ({"partition": "dirichlet", "num_clients": 11}, ["--num_clients=11"]),
        ({"partition": "quantity", "num_clients": 11}, ["--num_clients=11"]),
    ],
    ids=["iid", "shards", "dirichlet", "quantity"],
)
def test_more_clients_than_examples_are_refused(options, flags):
    with pytest.raises(errors.ConfigError) as caught:
        split(labels_of(10, 5), **options)
    for flag in flags:
        assert flag in str(caught.value)
    assert "there are 10" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"partition": "iid", "num_clients": 10},
        {"partition": "shards", "num_clients": 5, "shards_per_client": 2},
        {"partition": "quantity", "num_clients": 10},
        {"partition": "label_k", "num_clients": 10, "labels_per_client": 1},
    ],
    ids=["iid", "shards", "quantity", "label_k"],
)
def test_as_many_parts_as_examples_is_allowed(options):
    check_complete(split(labels_of(10, 5), **options), 10)


def test_an_alpha_that_always_leaves_someone_empty_is_refused():
    with pytest.raises(errors.ConfigError) as caught:
        split(
            labels_of(1000, 2),
            partition="dirichlet",
            num_clients=50,
            dirichlet_alpha=0.001,
        )
    assert "--dirichlet_alpha=0.001 " in str(caught.value)
    assert "--num_clients=50 " in str(caught.value)
