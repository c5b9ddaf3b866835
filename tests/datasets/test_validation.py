"""Tests that examples are held out once, and the same ones every time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets.federation import validation
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)
from tff_pipeline.datasets.federation.split import split, split_where

SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0.01, 0.99)
SIZES = st.dictionaries(
    st.text("abcdé ", min_size=1, max_size=4),
    st.integers(1, 40),
    min_size=1,
    max_size=8,
)


def clients_of(sizes, first=0):
    """Clients of so many examples, whose input is client and own number."""
    places, parts, count = [], {}, 0
    for name, size in sizes.items():
        parts[name] = np.arange(count, count + size)
        places += [(name, place) for place in range(first, first + size)]
        count += size
    x = np.array([f"{name}/{place}" for name, place in places])
    return InMemoryData(Examples(x, np.zeros(count, np.int32)), parts)


def options(fraction, by="examples", **others):
    return DataConfig(
        "femnist_cnn",
        validation_fraction=fraction,
        validation_by=by,
        **others,
    )


def everything(clients):
    return [x for name in clients.client_ids for x in clients.load(name).x]


def held_out_of(sizes, fraction, seed, **others):
    return validation.hold_out_of(
        clients_of(sizes), options(fraction, **others), seed
    )


@given(SIZES, FRACTIONS, SEEDS)
def test_every_example_trains_or_is_held_out_and_no_client_is_left_empty(
    sizes, fraction, seed
):
    shares = {
        name: min(round(n * fraction), n - 1) for name, n in sizes.items()
    }
    if not any(shares.values()):
        with pytest.raises(errors.DataError, match="--validation_fraction="):
            held_out_of(sizes, fraction, seed)
        return
    train, held_out = held_out_of(sizes, fraction, seed)
    both = [*everything(train), *held_out.x]
    assert sorted(both) == sorted(everything(clients_of(sizes)))
    assert list(train.client_ids) == list(sizes)
    for name, n in sizes.items():
        kept = train.load(name)
        assert len(kept) == train.size(name) == n - shares[name] >= 1
        assert {x.rpartition("/")[0] for x in kept.x} == {name}


@given(SIZES, FRACTIONS, SEEDS)
def test_what_a_client_gives_depends_on_the_seed_and_on_itself_alone(
    sizes, fraction, seed
):
    name, size = next(iter(sizes.items()))
    alone = {name: size, "another": 50}
    if round(50 * fraction) == 0:
        return
    others = dict(reversed({**sizes, "another": 50}.items()))
    one, other = (
        held_out_of(each, fraction, seed)[0].load(name).x.tolist()
        for each in (alone, others)
    )
    assert one == other


def test_another_seed_or_name_holds_others_out():
    def kept(name, seed):
        train, _ = held_out_of({name: 40}, 0.5, seed)
        return tuple(x.rpartition("/")[2] for x in train.load(name).x)

    assert kept("a", 1) == kept("a", 1)
    assert len({kept("a", seed) for seed in range(5)}) == 5
    assert kept("a", 1) != kept("b", 1)


@given(SIZES, FRACTIONS, SEEDS)
def test_clients_that_are_held_out_do_not_train(sizes, fraction, seed):
    count = min(round(len(sizes) * fraction), len(sizes) - 1)
    if not count:
        with pytest.raises(errors.ConfigError, match="clients is none"):
            held_out_of(sizes, fraction, seed, by="clients")
        return
    train, held_out = held_out_of(sizes, fraction, seed, by="clients")
    assert len(train) == len(sizes) - count
    whose = {x.rpartition("/")[0] for x in held_out.x}
    assert len(whose) == count
    assert not whose & set(train.client_ids)
    both = [*everything(train), *held_out.x]
    assert sorted(both) == sorted(everything(clients_of(sizes)))


def test_at_most_so_many_are_chosen_on_and_the_rest_does_not_train():
    sizes = {name: 20 for name in "abcdef"}
    whole = held_out_of(sizes, 0.5, 0)[1]
    train, few = held_out_of(sizes, 0.5, 0, max_test_examples=7)
    assert len(few) == 7
    assert set(few.x) <= set(whole.x)
    assert [train.size(name) for name in sizes] == [10] * 6


@pytest.mark.parametrize("by", ["examples", "clients"])
@given(seed=SEEDS)
def test_the_test_set_is_the_same_with_and_without(by, seed):
    owners = np.repeat([f"c{i}" for i in range(10)], 10)
    x, is_test = np.arange(100), np.arange(100) % 5 == 0
    examples = Examples(x, np.zeros(100, np.int32))
    with_one, without = (
        split_where(is_test, examples, each, seed, owners=owners)
        for each in (options(0.3, by), DataConfig("femnist_cnn"))
    )
    assert with_one.test.x.tolist() == without.test.x.tolist()
    assert without.validation is None
    assert not set(with_one.validation.x) & set(with_one.test.x)
    assert not set(with_one.validation.x) & set(everything(with_one.train))
    assert list(with_one.test_clients.client_ids) == list(
        with_one.train.client_ids
    )
    assert set(everything(with_one.train)) < set(everything(without.train))


def test_a_validation_set_of_the_datas_own_is_taken_as_it_is():
    is_test = np.arange(30) % 3 == 0
    is_validation = np.arange(30) % 3 == 1
    owners = np.repeat(["a", "b", "c"], 10)
    examples = Examples(np.arange(30), np.zeros(30, np.int32))

    def parts(**others):
        return split_where(
            is_test,
            examples,
            DataConfig("femnist_cnn", **others),
            0,
            owners=owners,
            is_validation=is_validation,
        )

    assert parts().validation.x.tolist() == list(range(1, 30, 3))
    assert sorted(everything(parts().train)) == list(range(2, 30, 3))
    assert len(parts(max_test_examples=4).validation) == 4
    # Clients that nobody has seen are not chosen on either.
    unseen = parts(unseen_clients=1)
    (name,) = unseen.unseen.client_ids
    chosen_on = {owners[x] for x in unseen.validation.x}
    assert chosen_on == {"a", "b", "c"} - {name}
    with pytest.raises(errors.ConfigError, match="10 validation examples of"):
        parts(validation_fraction=0.1)


def test_validation_examples_of_unseen_clients_alone_are_refused():
    few = Examples(np.arange(4), np.zeros(4, np.int32))
    with pytest.raises(errors.DataError, match="never train"):
        split(
            few,
            few,
            DataConfig("femnist_cnn"),
            0,
            owners=np.array(list("aaab")),
            test_owners=np.array(list("aaac")),
            validation=few,
            validation_owners=np.array(list("cccc")),
        )


def test_flags_of_a_share_that_is_none():
    assert DataConfig(validation_fraction=0.0).validation_fraction is None
    assert DataConfig(validation_fraction=0.1).validation_by == "examples"
    assert dataclasses.asdict(DataConfig(validation_fraction=0.0)) == (
        dataclasses.asdict(DataConfig())
    )
    with pytest.raises(errors.ConfigError, match="--validation_by=clients"):
        DataConfig(validation_by="clients")
    with pytest.raises(errors.ConfigError, match="--validation_fraction=1"):
        DataConfig(validation_fraction=1.0)
