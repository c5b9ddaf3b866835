"""Rows of a cohort: who is one, what a round of too few gives, and states."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_pipeline.aggregators import chain, clip
from tff_pipeline.aggregators.aggregation import AggregationContext
from tff_pipeline.aggregators.collect import TAG_TYPE, RowsFactory
from tff_pipeline.aggregators.mean import mean_of_rows
from tff_pipeline.aggregators.robust.centered_clipping import (
    centered_clipping_rule,
)
from tff_pipeline.aggregators.robust.coordinates import median_rule
from tff_pipeline.aggregators.rows import (
    Condition,
    Outcome,
    RowRule,
    Rows,
    RowStep,
    Stepped,
    rows_of,
)
from tff_pipeline.config import AggregationConfig
from tff_pipeline.runtime.in_process import InProcessContext

MESSAGE = tff.to_type(
    collections.OrderedDict(
        update=[(np.float32, [2, 1]), (np.float32, [])], extra=np.float32
    )
)


@pytest.fixture(scope="module", autouse=True)
def runtime():
    with InProcessContext(2, clients_per_shard=2):
        yield


def message(*numbers):
    a, b, c, d = map(np.float32, numbers)
    update = [np.array([[a], [b]]), c]
    return collections.OrderedDict(update=update, extra=d)


def tag(key, weight=1.0, mark=0, number=3):
    return collections.OrderedDict(
        weight=np.float32(weight),
        key=np.int64(key),
        mark=np.int32(mark),
        round=np.int32(number),
    )


def numbers_of(result):
    leaves = [*result["update"], result["extra"]]
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def test_a_rule_takes_all_of_the_message_of_those_that_came_in_order():
    def apply(rows, state):
        assert [each.shape.as_list() for each in rows.values] == [
            # The extra comes first by its name.
            *([None, 1], [None, 2], [None, 1])
        ]
        ordered = tf.cast(tf.argsort(rows.keys), tf.float32)
        weight = tf.reduce_sum(rows.weights * (ordered + 1))
        return Outcome(
            [each[-1] for each in rows.values],
            (state[0] + 1,),
            {
                "weight": weight,
                "marks": tf.reduce_sum(rows.marks),
                "round": rows.round,
            },
        )

    rule = RowRule(
        apply,
        initial_state=lambda _: (np.int32(0),),
        columns=("weight", "marks", "round"),
    )
    process = RowsFactory(rule).create(MESSAGE, TAG_TYPE)
    state = process.initialize()
    messages = [message(i, i + 0.5, -i, 10 * i) for i in range(5)]
    tags = [tag(7), tag(6, 2.0, 1), tag(5, 4.0, 1), tag(9), tag(0, 0.0)]
    output = process.next(state, messages, tags)
    # The last has weight 0: it did not come.
    np.testing.assert_array_equal(numbers_of(output.result), [3, 3.5, -3, 30])
    assert output.state == (1,)
    # Keys in order are those of places 2, 1, 0, 3.
    assert output.measurements == {
        "weight": 1 * 3 + 2 * 2 + 4 * 1 + 1 * 4,
        "marks": 2,
        "round": 3,
    }


def test_too_few_that_came_lose_the_round_and_change_no_state():
    rule = centered_clipping_rule(1, 1.0, 1)
    process = RowsFactory(rule).create(MESSAGE, TAG_TYPE)
    messages = [message(i, 0, 0, 0) for i in (5, 0, 0)]
    first = process.next(
        process.initialize(), messages, [tag(1), tag(2), tag(3)]
    )
    np.testing.assert_allclose(
        numbers_of(first.result), [1 / 3, 0, 0, 0], rtol=1e-6
    )
    assert first.measurements == {"far_clients": 1}
    for cohort in ([], [tag(1), tag(2)], [tag(1), tag(2, 0), tag(3)]):
        lost = process.next(first.state, messages[: len(cohort)], cohort)
        assert np.all(np.isnan(numbers_of(lost.result)))
        for after, before in zip(lost.state, first.state):
            np.testing.assert_array_equal(after, before)
    again = process.next(lost.state, messages, [tag(1), tag(2), tag(3)])
    assert np.all(np.isfinite(numbers_of(again.result)))


def test_a_messages_type_is_of_floats_and_its_tag_of_a_tag():
    factory = RowsFactory(median_rule(0))
    with pytest.raises(TypeError, match="of floats, not of int32"):
        factory.create(tff.to_type([np.int32]), TAG_TYPE)
    with pytest.raises(TypeError, match="tag"):
        factory.create(MESSAGE, tff.TensorType(np.float32))


def test_steps_come_in_order_and_have_states_of_their_own():
    def adding(amount, name):
        def apply(rows, state):
            values = [each * 2 + amount + state for each in rows.values]
            measured = {name: tf.reduce_sum(values[0])}
            return Stepped(rows._replace(values=values), state + 1.0, measured)

        return RowStep(
            apply, initial_state=lambda _: np.float32(0), columns=(name,)
        )

    rule = adding(1, "a").before(adding(10, "b").before(median_rule(0)))
    assert rule.columns == ("a", "b")
    state = rule.initial_state([tf.TensorSpec([1])])
    for expected, a in ((2 * (2 * 3 + 1) + 10, 7), (2 * (2 * 3 + 2) + 11, 8)):
        outcome = rule.apply(rows_of([[3.0]]), state)
        assert outcome.value[0].numpy() == expected
        assert float(outcome.measured["a"]) == a
        state = outcome.state


def test_clipping_is_the_same_at_clients_and_on_rows():
    # clip first: TFF's, on clients. Behind buckets of one: on rows.
    results = {}
    messages = [message(3, 4, 0, 0), message(0, 0, 0.5, 0), message(6, 0, 0, 8)]
    for name, options in (
        ("clip+median", {}),
        ("bucketing+clip+median", {"bucket_size": 1}),
    ):
        config = AggregationConfig(
            name, clip_norm=2.0, byzantine_clients=1, **options
        )
        built = chain.build(AggregationContext(config, 3))
        assert built.tagged and built.needs.clients == 3
        process = built.factory.create(MESSAGE, TAG_TYPE)
        output = process.next(
            process.initialize(), messages, [tag(i) for i in range(3)]
        )
        assert built.measure(output.measurements) == {"clipped_clients": 2}
        results[name] = np.sort(numbers_of(output.result))
    # Whatever the buckets' order, a median does not depend on it.
    first, second = results.values()
    np.testing.assert_allclose(first, second, rtol=1e-6)
    np.testing.assert_allclose(np.max(first), 1.2, rtol=1e-6)


def test_a_long_row_is_clipped_without_overflow():
    step = clip.clip_rows(1.0)
    stepped = step.apply(rows_of([[1e37, 0.0], [0.1, 0.0]]), ())
    np.testing.assert_allclose(
        stepped.rows.values[0], [[1, 0], [0.1, 0]], rtol=1e-6
    )


def test_the_mean_of_rows_is_weighted():
    rows = Rows(
        [tf.constant([[1.0, 0.0], [5.0, 8.0]])],
        tf.constant([3.0, 1.0]),
        *(tf.zeros([2], tf.int64), tf.zeros([2], tf.int32), tf.constant(1)),
    )
    np.testing.assert_allclose(mean_of_rows(rows, ()).value[0], [2, 2])


def test_adaptive_steps_measure_and_follow_the_norms():
    config = AggregationConfig(
        "zeroing+clip_quantile+median", byzantine_clients=1, norm_quantile=0.5
    )
    built = chain.build(AggregationContext(config, 5))
    # A step on rows before them would not be seen by them.
    assert built.rule is None and built.needs.clients == 3
    process = built.factory.create(MESSAGE, TAG_TYPE)
    state, norms = process.initialize(), []
    messages = [message(0, 8, 0, 0) for _ in range(4)] + [message(1e9, 0, 0, 0)]
    for _ in range(3):
        output = process.next(state, messages, [tag(i) for i in range(5)])
        state, row = output.state, built.measure(output.measurements)
        assert list(row) == list(built.columns)
        # A message of zeros is the one that is not clipped.
        assert row["zeroed_clients"] == 1
        assert row["quantile_clipped_clients"] == 4
        norms.append(row["quantile_clip_norm"])
        np.testing.assert_allclose(
            numbers_of(output.result), [0, norms[-1], 0, 0], rtol=1e-6
        )
    assert 1.0 == norms[0] < norms[1] < norms[2]


def test_the_reason_of_a_lost_round_is_a_sentence():
    needs = Condition(5, "krum needs n >= 2f + 3 clients")
    assert needs.lacks(5) == needs.lacks(9) == ""
    assert (
        needs.lacks(2) == "krum needs n >= 2f + 3 clients, here 5, and 2 came"
    )
