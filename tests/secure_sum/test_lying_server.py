"""What a server sees with clients that tell it all says nothing but one sum.

Constructively: for every other input of a victim that gives the same sum (or
for every other one, if the server says that the victim dropped) there are
masks, as likely as the true ones, that make the whole transcript of the server,
and all that the colluding clients know, the same to the byte. These masks come
from keys that neither of them ever derives.
"""

import hashlib
import itertools

import numpy as np
import pytest

from tests.testing.secure_sums import Exchange
from tff_pipeline.secure_sum import keys, messages
from tff_pipeline.secure_sum.client import Client
from tff_pipeline.secure_sum.messages import SERVER, Kind
from tff_pipeline.secure_sum.refusals import SecureSumError

VICTIM, OTHER = 4, 2
SHIFT = np.array([1, 2**31, 12345, 2**32 - 1], np.uint32)


def inputs(shift=0):
    """Five vectors; the victim's and the other's, moved against each other."""
    vectors = [[np.arange(4, dtype=np.uint32) * (c + 1)] for c in range(5)]
    vectors[VICTIM] = [vectors[VICTIM][0] + shift]
    vectors[OTHER] = [vectors[OTHER][0] - shift]
    return vectors


def pair_key(exchange, one, other):
    return keys.pair_mask_key(
        exchange.parameters,
        exchange.clients[one]._mask_key,
        keys.public_bytes(exchange.clients[other]._mask_key),
        one,
        other,
    )


def own_key(exchange, client):
    return keys.own_mask_key(
        exchange.parameters, exchange.clients[client]._seed, client
    )


def test_an_honest_transcript_is_of_every_input_with_the_same_sum():
    """With two colluding clients of five, which is t - 1."""
    true = Exchange(5)
    expected = true.sum(inputs())
    key = pair_key(true, VICTIM, OTHER)
    known = [*true.server_keys, *true.client_keys[0], *true.client_keys[1]]
    assert known and key not in known
    # The smaller number adds the mask of a pair, and the larger subtracts it.
    other = Exchange(5, shifted={key: SHIFT})
    assert np.array_equal(other.sum(inputs(SHIFT)), expected)
    assert other.transcript == true.transcript
    # Were the masks the same, one byte would do to tell the inputs apart.
    same_masks = Exchange(5)
    same_masks.sum(inputs(SHIFT))
    assert same_masks.transcript != true.transcript


def server_that_says_it_dropped(exchange, vectors):
    """Hides the victim's masked vector, and asks for its key (late arrival).

    Returns what the server holds in the end: the transcript, and the vector.
    """
    deliveries = exchange.deliveries()
    sent = [
        exchange.clients[client].mask(message, vectors[client])
        for client, message in deliveries.items()
    ]
    exchange.receive(m for c, m in enumerate(sent) if c != VICTIM)
    inbox = exchange._all(Client.confirm, exchange.close())
    assert VICTIM not in inbox
    exchange._all(Client.unmask, inbox)
    return [*exchange.transcript, sent[VICTIM]]


def test_a_server_that_hides_a_victims_vector_learns_none_of_it():
    """It gets all of the victim's pair masks, and not its own mask.

    With t - 1 = 2 colluding clients it has two shares of the victim's seed;
    two are of every seed (see test_shamir).
    """
    true = Exchange(5)
    seen = server_that_says_it_dropped(true, inputs())
    key = own_key(true, VICTIM)
    known = [*true.server_keys, *true.client_keys[0], *true.client_keys[1]]
    assert pair_key(true, VICTIM, OTHER) in known  # It was asked for.
    assert key not in known
    others = inputs()
    others[VICTIM] = [others[VICTIM][0] + SHIFT]
    other = Exchange(5, shifted={key: -SHIFT})
    assert server_that_says_it_dropped(other, others) == seen
    shares = {
        c for c in range(4) if c in (0, 1) or VICTIM in seed_shares(true, c)
    }
    assert len(shares) == true.parameters.threshold - 1


def seed_shares(exchange, client):
    """Of whom a client has revealed shares of the seed."""
    for message in exchange.transcript:
        if message[5] == Kind.UNMASKING and sender(message) == client:
            reader = messages.Reader(memoryview(message)[46:-64])
            return set(reader.records(34))
    return set()


def sender(message):
    return int.from_bytes(message[30:34], "big")


@pytest.mark.parametrize(
    "colluding, breaks", [(3, False), (4, False), (5, True)]
)
def test_a_server_that_shows_two_lists_needs_more_than_2t_minus_n(
    colluding, breaks
):
    """Nine clients and t = 7: 2t - n - 1 = 4 that collude gain nothing.

    The server tells some honest clients that the victim is in the sum, and the
    others that it dropped; colluding ones sign and reveal everything. With
    2t - n of them no threshold helps, as Bonawitz et al. say (theorem 6.5), so
    that 2n/3 is for fewer than n/3.
    """
    n, t, victim = 9, 7, 8
    honest = range(colluding, n - 1)
    most = 0
    for told_in in itertools.chain.from_iterable(
        itertools.combinations(honest, size) for size in range(len(honest) + 1)
    ):
        exchange = Exchange(n, threshold=t)
        vectors = [[np.arange(4)]] * n
        lists = exchange.survivor_lists(vectors)
        told_out = set(honest) - set(told_in)
        seeds, secrets = set(range(colluding)), set(range(colluding))
        with_victim, without = bitmap(n, range(n)), bitmap(n, range(victim))
        for group, content, revealed in (
            ({*told_in, victim}, with_victim, seeds),
            (told_out, without, secrets),
        ):
            signed = {
                c: confirmation(exchange, c, content) for c in range(colluding)
            }
            for c in group:
                signed[c] = exchange.clients[c].confirm(
                    written(exchange, Kind.SURVIVORS, c, content)
                )
            for c in group:
                survivors = range(n if content == with_victim else victim)
                body = messages.numbers(survivors)
                body += messages.numbers(set(range(n)) - set(survivors))
                body += messages.records(
                    {s: m for s, m in signed.items() if s != c}
                )
                try:
                    exchange.clients[c].unmask(
                        written(exchange, Kind.REQUEST, c, body)
                    )
                except SecureSumError:
                    continue
                revealed.add(c)
        assert lists
        most = max(most, min(len(seeds), len(secrets)))
    assert (most >= t) == breaks


def bitmap(num_clients, clients):
    bits = np.zeros(num_clients, np.uint8)
    bits[list(clients)] = 1
    return np.packbits(bits).tobytes()


def confirmation(exchange, client, content):
    return messages.write(
        exchange.parameters,
        Kind.CONFIRMATION,
        client,
        SERVER,
        [hashlib.sha256(content).digest()],
        exchange.identities[client],
    )


def written(exchange, kind, client, body):
    return messages.write(exchange.parameters, kind, SERVER, client, [body])


def test_the_server_holds_no_vector_without_a_mask():
    """Whatever its attributes: no array equals an input, or reveals one."""
    exchange = Exchange(5)
    vectors = inputs()
    exchange.requests(vectors)
    held = [
        np.asarray(each)
        for value in vars(exchange.server).values()
        if isinstance(value, list)
        for each in value
        if isinstance(each, np.ndarray)
    ]
    assert len(held) == 1  # The sum of masked vectors.
    plain = [vector[0] for vector in vectors]
    sums = [
        sum(plain[c] for c in chosen)
        for size in range(1, 6)
        for chosen in itertools.combinations(range(5), size)
    ]
    assert not any(np.array_equal(held[0], each) for each in sums)
