"""Who trains and who is tested on what: nothing lost, nobody on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.federation.split import split


def numbered(count, first=0):
    """Examples whose input is their own number."""
    return Examples(np.arange(first, first + count), np.zeros(count, np.int32))


def inputs(clients):
    """Client id -> the numbers of its examples."""
    if clients is None:
        return {}
    return {name: clients.load(name).x.tolist() for name in clients.client_ids}


def natural(**options):
    return DataConfig(task="femnist_cnn", partition="natural", **options)


NAMES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=30)


@given(NAMES, NAMES, st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_every_example_is_trained_or_tested_and_belongs_to_its_owner(
    owners, test_owners, unseen, seed
):
    train, test = numbered(len(owners)), numbered(len(test_owners), 100)
    options = natural(unseen_clients=unseen)
    if unseen >= len(set(owners)):
        with pytest.raises(
            errors.ConfigError, match=f"unseen_clients={unseen}"
        ):
            split(
                train,
                test,
                options,
                seed,
                owners=np.array(owners),
                test_owners=None,
            )
        return
    parts = split(
        train,
        test,
        options,
        seed,
        owners=np.array(owners),
        test_owners=np.array(test_owners),
    )
    owner_of = dict(enumerate(owners))
    owner_of.update(enumerate(test_owners, 100))
    trained, seen, unseen_ones = map(
        inputs, (parts.train, parts.test_clients, parts.unseen)
    )
    everything = []
    for clients in (trained, seen, unseen_ones):
        for name, numbers in clients.items():
            assert {owner_of[number] for number in numbers} == {name}
            everything += numbers
    assert sorted(everything) == sorted(owner_of)
    assert not set(unseen_ones) & set(trained)
    assert set(seen) <= set(trained)
    assert len(trained) == len(set(owners)) - unseen
    # The central test set is that of the clients that train, if they have one.
    central = sorted(parts.test.x.tolist())
    of_seen = sorted(number for each in seen.values() for number in each)
    assert central == (of_seen or test.x.tolist())


def test_pooled_trains_on_the_same_and_is_tested_on_the_same():
    draw = np.random.default_rng(0)
    owners, test_owners = draw.integers(6, size=50), draw.integers(6, size=20)

    def divided(partition):
        return split(
            numbered(50),
            numbered(20, 100),
            DataConfig(
                task="femnist_cnn",
                partition=partition,
                unseen_clients=2,
                max_examples_per_client=5,
                max_test_examples=9,
            ),
            3,
            owners=owners.astype(str),
            test_owners=test_owners.astype(str),
        )

    apart, together = divided("natural"), divided("pooled")
    trained = [n for each in inputs(apart.train).values() for n in each]
    assert len(trained) < 50
    assert inputs(together.train) == {"everyone": sorted(trained)}
    assert together.test.x.tolist() == apart.test.x.tolist()
    assert inputs(together.test_clients) == inputs(apart.test_clients)
    assert inputs(together.unseen) == inputs(apart.unseen)


def test_pooled_needs_no_owners():
    options = DataConfig(task="digits_2nn", partition="pooled")
    parts = split(numbered(7), numbered(2), options, 0)
    assert inputs(parts.train) == {"everyone": list(range(7))}


def test_the_clients_held_out_are_a_function_of_the_seed():
    owners = np.repeat([f"c{i}" for i in range(20)], 3)

    def held_out(seed):
        parts = split(
            numbered(60),
            numbered(1),
            natural(unseen_clients=5),
            seed,
            owners=owners,
        )
        return tuple(parts.unseen.client_ids)

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(5)}) > 1


def test_at_most_so_many_test_examples_the_same_ones_every_time():
    options = DataConfig(task="digits_2nn", num_clients=2, max_test_examples=7)
    first = split(numbered(10), numbered(50), options, 3)
    again = split(numbered(10), numbered(50), options, 3)
    assert len(first.test) == 7
    assert first.test.x.tolist() == again.test.x.tolist()
    assert first.test.x.tolist() == sorted(set(first.test.x.tolist()))


def test_natural_without_owners_is_refused():
    with pytest.raises(errors.ConfigError, match="--partition=natural"):
        split(numbered(4), numbered(4), natural(), 0)
