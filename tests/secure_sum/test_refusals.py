"""Messages and requests that are refused (TRAPS X2, X3, X6, X9)."""

import hashlib
import struct

import numpy as np
import pytest

from tests.testing.secure_sums import SESSION, Exchange
from tff_pipeline.secure_sum import keys, messages
from tff_pipeline.secure_sum.layout import Segment
from tff_pipeline.secure_sum.messages import SERVER, Kind
from tff_pipeline.secure_sum.refusals import (
    ForgedMessageError,
    MalformedMessageError,
    OutOfOrderError,
    ReplayedMessageError,
    SecureSumError,
    TooFewClientsError,
    UnfairRequestError,
)

VECTORS = [[np.arange(4) + client] for client in range(5)]


def with_drop_out():
    """Five clients, of which the last one drops after sharing its keys."""
    return [*VECTORS[:4], None]


# The message of each kind that client 1 receives, in order.
def answers_to(exchange, vectors):
    return {
        Kind.ROSTER: lambda: exchange.rosters(),
        Kind.DELIVERY: lambda: exchange.deliveries(),
        Kind.SURVIVORS: lambda: exchange.survivor_lists(vectors),
        Kind.REQUEST: lambda: exchange.requests(vectors),
    }


def take(client, kind, message):
    if kind is Kind.ROSTER:
        return client.share_keys(message)
    if kind is Kind.DELIVERY:
        return client.mask(message, VECTORS[1])
    if kind is Kind.SURVIVORS:
        return client.confirm(message)
    return client.unmask(message)


FROM_SERVER = [Kind.ROSTER, Kind.DELIVERY, Kind.SURVIVORS, Kind.REQUEST]


def test_the_sum_is_right_where_nobody_lies():
    found = Exchange(5).sum(with_drop_out())
    assert found[0].tolist() == np.sum(VECTORS[:4], (0, 1)).tolist()


# What goes to a client.


@pytest.mark.parametrize("kind", FROM_SERVER)
def test_a_client_refuses_what_is_cut_short_or_too_long(kind):
    exchange = Exchange(5)
    message = answers_to(exchange, with_drop_out())[kind]()[1]
    client = exchange.clients[1]
    for changed in (
        b"",
        message[:20],
        message[:-1],
        message + b"\0",
        b"XXXX" + message[4:],
        message[:4] + b"\2" + message[5:],  # Another version.
        message[:5] + b"\x63" + message[6:],  # Another kind.
    ):
        with pytest.raises(MalformedMessageError):
            take(client, kind, changed)
    # It goes on with the true one.
    assert take(client, kind, message)


@pytest.mark.parametrize("kind", FROM_SERVER)
@pytest.mark.parametrize("cut", [1, 5, 37])
def test_a_client_refuses_a_body_that_is_cut_short(kind, cut):
    exchange = Exchange(5)
    message = answers_to(exchange, with_drop_out())[kind]()[1]
    changed = rewritten(exchange, message, body_of(message)[:-cut])
    with pytest.raises(SecureSumError):
        take(exchange.clients[1], kind, changed)


@pytest.mark.parametrize("kind", FROM_SERVER)
@pytest.mark.parametrize(
    "other", [{"round_number": 2}, {"session": SESSION[::-1]}]
)
def test_a_client_refuses_what_is_of_another_round_or_session(kind, other):
    was = Exchange(5, **other)
    replayed = answers_to(was, with_drop_out())[kind]()[1]
    exchange = Exchange(5)
    message = answers_to(exchange, with_drop_out())[kind]()[1]
    with pytest.raises(ReplayedMessageError):
        take(exchange.clients[1], kind, replayed)
    assert take(exchange.clients[1], kind, message)


@pytest.mark.parametrize("kind", FROM_SERVER)
def test_a_client_refuses_a_message_for_another(kind):
    exchange = Exchange(5)
    inbox = answers_to(exchange, with_drop_out())[kind]()
    with pytest.raises(ForgedMessageError):
        take(exchange.clients[1], kind, inbox[2])


@pytest.mark.parametrize("kind", FROM_SERVER)
def test_a_client_answers_once(kind):
    """X2: a second request above all; none of any kind is answered twice."""
    exchange = Exchange(5)
    message = answers_to(exchange, with_drop_out())[kind]()[1]
    assert take(exchange.clients[1], kind, message)
    with pytest.raises(OutOfOrderError):
        take(exchange.clients[1], kind, message)


@pytest.mark.parametrize("kind", FROM_SERVER)
@pytest.mark.parametrize("early", FROM_SERVER)
def test_a_client_refuses_messages_in_another_order(kind, early):
    if kind is early:
        return
    whole = Exchange(5)
    other = answers_to(whole, with_drop_out())[early]()[1]
    exchange = Exchange(5)
    message = answers_to(exchange, with_drop_out())[kind]()[1]
    with pytest.raises(OutOfOrderError):
        take(exchange.clients[1], early, other)
    assert take(exchange.clients[1], kind, message)


def test_a_client_advertises_once():
    (client, *_) = Exchange(5).clients
    client.advertise()
    with pytest.raises(OutOfOrderError):
        client.advertise()


# A roster.


def roster_of(exchange):
    message = exchange.rosters()[1]
    size = messages.signed_size(96)
    with messages.Reader(memoryview(body_of(message))) as reader:
        return message, reader.records(size)


def refuses_roster(exchange, message, records, error):
    changed = rewritten(exchange, message, messages.records(records))
    with pytest.raises(error):
        exchange.clients[1].share_keys(changed)
    # It takes part no more.
    with pytest.raises(OutOfOrderError):
        exchange.clients[1].share_keys(message)


def test_keys_of_the_servers_own_making_are_refused():
    exchange = Exchange(5)
    message, records = roster_of(exchange)
    raw = bytearray(records[2])
    raw[50] ^= 1
    refuses_roster(
        exchange, message, {**records, 2: bytes(raw)}, ForgedMessageError
    )


def test_keys_under_another_clients_number_are_refused():
    exchange = Exchange(5)
    message, records = roster_of(exchange)
    refuses_roster(
        exchange, message, {**records, 3: records[2]}, ForgedMessageError
    )


def test_keys_of_another_round_are_refused():
    exchange, was = Exchange(5), Exchange(5, round_number=0)
    message, records = roster_of(exchange)
    _, others = roster_of(was)
    refuses_roster(
        exchange, message, {**records, 2: others[2]}, ReplayedMessageError
    )


def test_neighbours_with_other_parameters_are_refused():
    """Such as another threshold, by which a server would split clients."""
    exchange, other = Exchange(5), Exchange(5, threshold=5)
    message, records = roster_of(exchange)
    _, others = roster_of(other)
    refuses_roster(
        exchange, message, {**records, 2: others[2]}, UnfairRequestError
    )


def test_a_roster_below_the_threshold_is_refused():
    exchange = Exchange(5)
    message, records = roster_of(exchange)
    refuses_roster(exchange, message, {2: records[2]}, TooFewClientsError)


def test_who_is_no_neighbour_is_refused():
    exchange = Exchange(9, neighbours=4)
    message, records = roster_of(exchange)
    near = exchange.parameters.neighbourhood(1)
    stranger = next(c for c in range(9) if c not in near)
    records[stranger] = records[next(iter(records))]
    refuses_roster(exchange, message, records, UnfairRequestError)


def test_two_clients_with_one_key_are_refused():
    exchange = Exchange(5)
    message, records = roster_of(exchange)
    copied = messages.write(
        exchange.parameters,
        Kind.KEYS,
        3,
        SERVER,
        [body_of(records[2], signed=True)],
        exchange.identities[3],
    )
    refuses_roster(
        exchange, message, {**records, 3: copied}, ForgedMessageError
    )


def test_a_key_of_low_order_is_refused():
    exchange = Exchange(5)
    message, records = roster_of(exchange)
    weak = messages.write(
        exchange.parameters,
        Kind.KEYS,
        3,
        SERVER,
        [bytes(32), bytes(range(32)), exchange.parameters.digest],
        exchange.identities[3],
    )
    refuses_roster(exchange, message, {**records, 3: weak}, ForgedMessageError)


# A delivery of shares.


@pytest.mark.parametrize("place", [0, 40, 83])
def test_shares_that_were_changed_on_their_way_are_refused(place):
    exchange = Exchange(5)
    message = exchange.deliveries()[1]
    body = bytearray(body_of(message))
    body[8 + place] ^= 1
    with pytest.raises(ForgedMessageError):
        exchange.clients[1].mask(
            rewritten(exchange, message, bytes(body)), VECTORS[1]
        )


def test_shares_of_another_sender_are_refused():
    exchange = Exchange(5)
    message = exchange.deliveries()[1]
    with messages.Reader(memoryview(body_of(message))) as reader:
        records = reader.records(84)
    records[0], records[2] = records[2], records[0]
    with pytest.raises(ForgedMessageError):
        exchange.clients[1].mask(
            rewritten(exchange, message, messages.records(records)), VECTORS[1]
        )


# A list of survivors.


@pytest.mark.parametrize(
    "listed, error",
    [
        ([0, 2, 3, 4], UnfairRequestError),  # Not itself.
        ([0, 1], TooFewClientsError),
        ([1], TooFewClientsError),
    ],
)
def test_lists_of_survivors_that_reveal_too_much_are_refused(listed, error):
    exchange = Exchange(5)
    message = exchange.survivor_lists(VECTORS)[1]
    bits = np.zeros(5, np.uint8)
    bits[listed] = 1
    changed = rewritten(exchange, message, np.packbits(bits).tobytes())
    with pytest.raises(error):
        exchange.clients[1].confirm(changed)
    # And it signs no second list.
    with pytest.raises(OutOfOrderError):
        exchange.clients[1].confirm(message)


def test_a_survivor_that_shared_no_keys_is_refused():
    exchange = Exchange(5)
    exchange.receive(
        client.share_keys(message)
        for client, message in zip(
            exchange.clients[:4], exchange.rosters().values()
        )
    )
    deliveries = exchange.close()
    exchange.receive(
        exchange.clients[c].mask(message, VECTORS[c])
        for c, message in deliveries.items()
    )
    message = exchange.close()[1]
    changed = rewritten(exchange, message, b"\xf8")  # All five.
    with pytest.raises(UnfairRequestError):
        exchange.clients[1].confirm(changed)


def test_a_list_that_names_no_client_is_refused():
    exchange = Exchange(5)
    message = exchange.survivor_lists(VECTORS)[1]
    with pytest.raises(MalformedMessageError):
        exchange.clients[1].confirm(rewritten(exchange, message, b"\xfc"))


# A request to unmask (X2: overlap, unknown ids, fewer than t).


def request(exchange, survivors, dropped, signers):
    """Client 1's request with other lists, and the signatures of `signers`."""
    message = exchange.requests(with_drop_out())[1]
    with messages.Reader(memoryview(body_of(message))) as reader:
        reader.numbers(), reader.numbers()
        signed = reader.records(messages.signed_size(32))
    assert sorted(signed) == [0, 2, 3]
    return rewritten(
        exchange,
        message,
        messages.numbers(survivors)
        + messages.numbers(dropped)
        + messages.records({c: signed[c] for c in signers}),
    )


@pytest.mark.parametrize(
    "survivors, dropped",
    [
        ([0, 1, 2, 3], [4, 0]),  # 0 is on both lists: Flower 1.42's hole.
        ([0, 1, 2, 3], [4, 3]),
        ([0, 1, 2, 3, 4], [4]),
        ([0, 0, 1, 2, 3], [4]),
        ([0, 1, 2, 3], [4, 4]),
        ([0, 1, 2, 3], [4, 7]),  # Nobody has number 7.
        ([0, 1, 2, 3, 7], [4]),
        ([0, 1, 2], [3, 4]),  # 3 survived, as the signed list says.
        ([0, 1, 2, 3, 4], []),  # 4 did not.
        ([1, 2, 3], [4]),
        ([0, 1, 2, 3], []),
        ([], [0, 1, 2, 3, 4]),
        ([], []),
    ],
)
def test_requests_other_than_the_signed_list_are_refused(survivors, dropped):
    exchange = Exchange(5)
    changed = request(exchange, survivors, dropped, [0, 2, 3])
    with pytest.raises(UnfairRequestError):
        exchange.clients[1].unmask(changed)
    # After it, not even the right one is answered.
    right = rewritten(
        exchange,
        changed,
        messages.numbers([0, 1, 2, 3])
        + messages.numbers([4])
        + messages.records({}),
    )
    with pytest.raises(OutOfOrderError):
        exchange.clients[1].unmask(right)


def test_the_right_request_is_answered():
    exchange = Exchange(5)
    assert exchange.clients[1].unmask(
        request(exchange, [0, 1, 2, 3], [4], [0, 3])
    )


@pytest.mark.parametrize("signers", [[], [0], [3]])
def test_a_list_that_too_few_have_signed_is_refused(signers):
    """X3: with its own, that makes at most 2 of the 3 that it takes."""
    exchange = Exchange(5)
    changed = request(exchange, [0, 1, 2, 3], [4], signers)
    with pytest.raises(UnfairRequestError, match="fewer than the threshold"):
        exchange.clients[1].unmask(changed)


def signed_list(exchange, client, bitmap, key_of=None):
    """A client's signature on a list of survivors."""
    return messages.write(
        exchange.parameters,
        Kind.CONFIRMATION,
        client,
        SERVER,
        [hashlib.sha256(bitmap).digest()],
        exchange.identities[client if key_of is None else key_of],
    )


@pytest.mark.parametrize(
    "bitmap, key_of, error",
    [
        (b"\xf8", None, UnfairRequestError),  # Another list, truly signed.
        (b"\xf0", 4, ForgedMessageError),  # The list, signed by another.
    ],
)
def test_signatures_on_another_list_are_refused(bitmap, key_of, error):
    exchange = Exchange(5)
    message = exchange.requests(with_drop_out())[1]
    body = messages.numbers([0, 1, 2, 3]) + messages.numbers([4])
    body += messages.records(
        {c: signed_list(exchange, c, bitmap, key_of) for c in (0, 2, 3)}
    )
    with pytest.raises(error):
        exchange.clients[1].unmask(rewritten(exchange, message, body))


def test_signatures_of_who_has_dropped_are_refused():
    exchange = Exchange(5)
    message = exchange.requests(with_drop_out())[1]
    body = messages.numbers([0, 1, 2, 3]) + messages.numbers([4])
    body += messages.records(
        {c: signed_list(exchange, c, b"\xf0") for c in (0, 4)}
    )
    with pytest.raises(ForgedMessageError):
        exchange.clients[1].unmask(rewritten(exchange, message, body))


# What comes to the server.


def uploads(exchange, kind):
    """Brings the exchange to a stage; returns the clients' messages of it."""
    if kind is Kind.KEYS:
        return [client.advertise() for client in exchange.clients]
    step, inbox = {
        Kind.SHARES: lambda: ("share_keys", exchange.rosters()),
        Kind.MASKED: lambda: ("mask", exchange.deliveries()),
        Kind.CONFIRMATION: lambda: (
            "confirm",
            exchange.survivor_lists(VECTORS),
        ),
        Kind.UNMASKING: lambda: ("unmask", exchange.requests(VECTORS)),
    }[kind]()
    more = [(each,) for each in VECTORS] if kind is Kind.MASKED else [()] * 5
    return [
        getattr(exchange.clients[client], step)(message, *more[client])
        for client, message in inbox.items()
    ]


TO_SERVER = [
    Kind.KEYS,
    Kind.SHARES,
    Kind.MASKED,
    Kind.CONFIRMATION,
    Kind.UNMASKING,
]


@pytest.mark.parametrize("kind", TO_SERVER)
def test_the_server_refuses_what_was_changed(kind):
    exchange = Exchange(5)
    sent = uploads(exchange, kind)
    for place in range(0, len(sent[0]), 7):
        changed = bytearray(sent[0])
        changed[place] ^= 1
        with pytest.raises(SecureSumError):
            exchange.server.receive(bytes(changed))
    for changed in (b"", sent[0][:-1], sent[0] + b"\0", sent[0][:100]):
        with pytest.raises(MalformedMessageError):
            exchange.server.receive(changed)
    for message in sent:
        exchange.server.receive(message)
    with pytest.raises(ReplayedMessageError):
        exchange.server.receive(sent[0])
    exchange.server.close()
    if kind is Kind.UNMASKING:
        expected = np.sum(VECTORS, (0, 1)).tolist()
        assert exchange.server.result()[0].tolist() == expected


@pytest.mark.parametrize("kind", TO_SERVER)
def test_the_server_refuses_another_round_stage_or_sender(kind):
    exchange, was = Exchange(5), Exchange(5, round_number=9)
    sent = uploads(exchange, kind)
    with pytest.raises(ReplayedMessageError):
        exchange.server.receive(uploads(was, kind)[0])
    other = Kind.SHARES if kind is Kind.KEYS else Kind.KEYS
    with pytest.raises(OutOfOrderError):
        exchange.server.receive(uploads(Exchange(5), other)[0])
    # Signed by client 0, in the name of client 1.
    body = body_of(sent[0], signed=True)
    forged = messages.write(
        exchange.parameters, kind, 1, SERVER, [body], exchange.identities[0]
    )
    with pytest.raises(ForgedMessageError, match="not signed"):
        exchange.server.receive(forged)
    nobody = messages.write(
        exchange.parameters, kind, 77, SERVER, [body], exchange.identities[0]
    )
    with pytest.raises(ForgedMessageError, match="no client"):
        exchange.server.receive(nobody)


def test_who_dropped_cannot_come_back():
    exchange = Exchange(5)
    exchange.rosters(exchange.clients[:4])
    late = messages.write(
        exchange.parameters,
        Kind.SHARES,
        4,
        SERVER,
        [messages.records({})],
        exchange.identities[4],
    )
    with pytest.raises(ForgedMessageError, match="dropped"):
        exchange.server.receive(late)


@pytest.mark.parametrize(
    "kind, body",
    [
        (Kind.SHARES, messages.records({})),
        (Kind.SHARES, messages.records(dict.fromkeys(range(5), bytes(84)))),
        (Kind.MASKED, bytes(12)),
        (Kind.MASKED, bytes(20)),
        (Kind.CONFIRMATION, bytes(32)),
        (Kind.UNMASKING, messages.records({}) * 2),
        (
            Kind.UNMASKING,
            messages.records({0: bytes(34)}) + messages.records({0: bytes(34)}),
        ),
    ],
    ids=range(7),
)
def test_the_server_refuses_signed_nonsense(kind, body):
    exchange = Exchange(5)
    uploads(exchange, kind)
    message = messages.write(
        exchange.parameters, kind, 2, SERVER, [body], exchange.identities[2]
    )
    with pytest.raises(SecureSumError):
        exchange.server.receive(message)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        # Four numbers of 19 bits: words of 16, then 12 bits and 4 left over.
        (bytes(9) + b"\x10", "left over"),
        (bytes(9), "has 9 bytes, not 10"),
        (bytes(16), "has 16 bytes, not 10"),
    ],
)
def test_vectors_that_are_not_packed_as_they_must_be_are_refused(body, why):
    exchange = Exchange(5, (Segment(4, 19),))
    uploads(exchange, Kind.MASKED)
    message = messages.write(
        exchange.parameters,
        Kind.MASKED,
        2,
        SERVER,
        [body],
        exchange.identities[2],
    )
    with pytest.raises(MalformedMessageError, match=why):
        exchange.server.receive(message)


def test_wrong_shares_of_a_key_are_noticed():
    exchange = Exchange(5, threshold=3)
    inbox = exchange.requests(with_drop_out())
    sent = [exchange.clients[c].unmask(inbox[c]) for c in range(4)]
    body = bytearray(body_of(sent[0], signed=True))
    body[-1] ^= 1  # The share of client 4's key.
    sent[0] = messages.write(
        exchange.parameters,
        Kind.UNMASKING,
        0,
        SERVER,
        [bytes(body)],
        exchange.identities[0],
    )
    for message in sent:
        exchange.server.receive(message)
    with pytest.raises(ForgedMessageError, match="shares of a client"):
        exchange.server.close()


# The format (X9: versioned, nothing pickled).


def test_the_format_is_fixed():
    exchange = Exchange(2)
    message = exchange.clients[1].advertise()
    assert message[:46] == struct.pack(
        ">4sBB16sQIIQ", b"TFSS", 1, 1, SESSION, 1, 1, 2**32 - 1, 96
    )
    assert len(message) == 46 + 96 + 64
    keys.verify(
        keys.public_bytes(exchange.identities[1]),
        message[-64:],
        message[:-64],
    )


def body_of(message, signed=False):
    return message[46 : len(message) - (64 if signed else 0)]


def rewritten(exchange, message, body):
    """A message of the server with another body."""
    _, _, kind, _, _, sender, receiver, _ = struct.unpack_from(
        ">4sBB16sQIIQ", message
    )
    return messages.write(
        exchange.parameters, Kind(kind), sender, receiver, [body]
    )
