"""The sum is exact, whoever drops out when; else the round is given up."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tff_pipeline.secure_sum.bonawitz import Bonawitz, Stage
from tff_pipeline.secure_sum.layout import Segment
from tff_pipeline.secure_sum.parameters import Parameters
from tff_pipeline.secure_sum.refusals import (
    ModulusError,
    TooFewClientsError,
)

BITS = (1, 8, 13, 20, 32, 33, 64)


def vectors(seed, num_clients, layout):
    generator = np.random.default_rng(seed)
    return [
        [
            generator.integers(0, 2**each.bits, each.length, np.uint64)
            for each in layout
        ]
        for _ in range(num_clients)
    ]


def modular_sum(layout, chosen):
    return [
        [
            sum(int(vector[place][i]) for vector in chosen) % 2**each.bits
            for i in range(each.length)
        ]
        for place, each in enumerate(layout)
    ]


def run_sum(protocol, layout, inputs):
    run = protocol.begin(len(inputs), layout)
    for client, vector in enumerate(inputs):
        run.receive(run.masked(client, vector))
    return run, run.result()


def enough(parameters, leaves):
    """By counting: is each that shared its secrets left with enough?"""

    def present(stage):
        return {c for c, left in enumerate(leaves) if left > stage}

    sharing = present(Stage.SHARES)
    return all(
        len(present(stage) & set(parameters.neighbourhood(client)))
        >= parameters.threshold
        for stage in Stage
        for client in (present(stage) if stage < Stage.MASKED else sharing)
    )


@st.composite
def cohorts(draw):
    num_clients = draw(st.integers(2, 14))
    lost = draw(st.integers(0, int(0.3 * num_clients)))
    stages = draw(
        st.lists(st.sampled_from(Stage), min_size=lost, max_size=lost)
    )
    leaves = draw(
        st.permutations([*stages, *[len(Stage)] * (num_clients - len(stages))])
    )
    layout = draw(
        st.lists(
            st.builds(Segment, st.integers(0, 5), st.sampled_from(BITS)),
            min_size=1,
            max_size=3,
        )
    )
    neighbours = draw(st.sampled_from([None, 2, 4, 8, 20]))
    return num_clients, leaves, tuple(layout), neighbours


@hypothesis.given(cohorts(), st.integers(0, 2**32))
@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
def test_it_is_the_modular_sum_of_those_that_sent(cohort, seed):
    num_clients, leaves, layout, neighbours = cohort
    inputs = vectors(seed, num_clients, layout)
    protocol = Bonawitz(
        neighbours,
        drop_out=lambda _, client: (
            leaves[client] if leaves[client] < len(Stage) else None
        ),
    )
    # The graph is the session's, which the protocol draws.
    parameters = Parameters(
        protocol._session, 1, num_clients, layout, neighbours
    )
    if not enough(parameters, leaves):
        with pytest.raises(TooFewClientsError):
            run_sum(protocol, layout, inputs)
        return
    _, found = run_sum(protocol, layout, inputs)
    sent = [
        vector for vector, left in zip(inputs, leaves) if left > Stage.MASKED
    ]
    for numbers, expected in zip(found, modular_sum(layout, sent)):
        assert numbers.tolist() == expected


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("lost", [0, 1, 2, 3])
@pytest.mark.parametrize("neighbours", [None, 8])
def test_up_to_thirty_percent_may_leave_at_any_stage(stage, lost, neighbours):
    layout = (Segment(7, 24), Segment(1, 12))
    inputs = vectors(lost, 10, layout)
    protocol = Bonawitz(
        neighbours,
        drop_out=lambda _, client: (
            stage if client % 3 == 1 and client // 3 < lost else None
        ),
    )
    _, found = run_sum(protocol, layout, inputs)
    sent = [
        vector
        for client, vector in enumerate(inputs)
        if stage > Stage.MASKED or not (client % 3 == 1 and client // 3 < lost)
    ]
    for numbers, expected in zip(found, modular_sum(layout, sent)):
        assert numbers.tolist() == expected


@pytest.mark.parametrize("stage", list(Stage))
def test_below_the_threshold_there_is_no_sum(stage):
    layout = (Segment(2, 16),)
    inputs = vectors(0, 6, layout)
    for lost, fails in ((2, False), (3, True)):
        protocol = Bonawitz(
            threshold=4,
            drop_out=lambda _, c, lost=lost: stage if c < lost else None,
        )
        if not fails:
            run_sum(protocol, layout, inputs)
            continue
        with pytest.raises(
            TooFewClientsError, match="fewer than the threshold of 4"
        ):
            run_sum(protocol, layout, inputs)


def test_negative_numbers_count_modulo():
    run = Bonawitz().begin(2, (Segment(1, 20),))
    run.receive(run.masked(0, [np.array([-3])]))
    run.receive(run.masked(1, [np.array([1])]))
    assert run.result()[0].tolist() == [2**20 - 2]


def test_each_sum_of_a_session_has_its_own_number_and_masks():
    protocol, layout = Bonawitz(), (Segment(8, 32),)
    inputs = [[np.zeros(8, int)]] * 3
    sent = []
    for number in (1, 2):
        run = protocol.begin(3, layout)
        assert run.parameters.round_number == number
        sent.append(run.masked(0, inputs[0]))
    assert sent[0] != sent[1]


def test_a_vector_of_another_form_is_refused():
    run = Bonawitz().begin(2, (Segment(3, 20),))
    with pytest.raises(ValueError, match="shapes"):
        run.masked(0, [np.zeros(4, int)])


def test_bytes_are_counted():
    layout = (Segment(1000, 20),)
    run, _ = run_sum(Bonawitz(), layout, vectors(0, 4, layout))
    # The header, the body and the signature of each of five messages, with
    # three sealed shares and shares of four seeds.
    header = 46
    expected = 5 * (header + 64) + 96 + (4 + 3 * 88) + 2500 + 32
    expected += 4 + 4 * 38 + 4
    assert run.bytes_up == [expected] * 4
    assert min(run.bytes_down) == max(run.bytes_down) > 0


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"num_clients": 1}, TooFewClientsError, "a secure sum of one"),
        ({"threshold": 5}, TooFewClientsError, "threshold of 5"),
        ({"threshold": 2}, TooFewClientsError, "not more than half of the 4"),
        ({"neighbours": 3}, ValueError, "even"),
        ({"num_clients": 65521}, ValueError, "65520"),
        ({"session": b"short"}, ValueError, "16 bytes"),
    ],
)
def test_parameters_that_hide_nothing_are_refused(options, error, sentence):
    given = {
        "session": bytes(16),
        "round_number": 1,
        "num_clients": 4,
        "layout": (),
        **options,
    }
    with pytest.raises(error, match=sentence):
        Parameters(**given)


def test_a_modulus_that_cannot_be_had_is_refused():
    with pytest.raises(ModulusError, match="65 bits"):
        Segment(1, 65)


def test_a_threshold_is_more_than_half_by_default():
    for num_clients in range(2, 12):
        parameters = Parameters(bytes(16), 1, num_clients, ())
        assert num_clients < 2 * parameters.threshold <= num_clients + 2
