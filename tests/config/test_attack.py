"""Options of attacks: what goes together, and sentences for what does not."""

import pytest

from tff_pipeline import errors
from tff_pipeline.config import AttackConfig


def test_defaults_are_those_of_the_attack():
    assert AttackConfig("gaussian").attack_scale == 10
    assert AttackConfig("backdoor").attack_target == 0
    assert AttackConfig("ipm").attack_fraction == 0.2
    assert AttackConfig("ipm", attack_clients="a b,c").client_ids == [
        "a b",
        "c",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "worm"}, "--attack=worm: must be one of: label_flip"),
        ({"attack_scale": 2.0}, "only used with --attack="),
        ({"attack_kept_momentum": False}, "only used with --attack="),
        (
            {"name": "mimic", "attack_scale": 2.0},
            "--attack_scale=2.0 is not used with --attack=mimic",
        ),
        (
            {"name": "ipm", "attack_target": 1},
            "--attack_target=1 is not used with --attack=ipm",
        ),
        (
            {
                "name": "ipm",
                "attack_clients": "a",
                "attack_fraction": 0.1,
            },
            "both say who attacks",
        ),
        ({"name": "ipm", "attack_fraction": 1.0}, "above 0 and below 1"),
        ({"name": "ipm", "attack_scale": 0.0}, "above 0"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(errors.ConfigError, match=words):
        AttackConfig(**options)
