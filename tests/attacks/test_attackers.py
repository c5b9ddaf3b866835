"""Attackers: drawn once from the seed, or named."""

import pytest

from tff_pipeline import errors
from tff_pipeline.attacks.attack import attackers
from tff_pipeline.config import AttackConfig

IDS = [f"client_{i}" for i in range(20)]


def test_a_share_of_all_is_drawn_from_the_seed_alone():
    config = AttackConfig("ipm")
    chosen = attackers(config, 0, IDS)
    assert len(chosen) == 4 and chosen <= set(range(20))
    assert attackers(config, 0, IDS) == chosen
    assert any(attackers(config, seed, IDS) != chosen for seed in range(1, 5))
    more = AttackConfig("ipm", attack_fraction=0.5)
    assert len(attackers(more, 0, IDS)) == 10
    # Whoever attacks by one name does by another.
    assert attackers(AttackConfig("alie"), 0, IDS) == chosen


def test_named_clients_attack():
    config = AttackConfig("ipm", attack_clients="client_3,client_7")
    assert attackers(config, 0, IDS) == {3, 7}
    assert attackers(AttackConfig(), 0, IDS) == frozenset()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attack_clients": "client_3,nobody"}, "no client 'nobody' among"),
        ({"attack_fraction": 0.01}, "makes 0 of the 20 clients attack"),
        ({"attack_fraction": 0.99}, "makes 20 of the 20 clients attack"),
    ],
)
def test_who_is_refused(options, words):
    with pytest.raises(errors.ConfigError, match=words):
        attackers(AttackConfig("ipm", **options), 0, IDS)
