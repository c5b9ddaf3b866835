"""Shards computed from messages give the bits of one process, without Ray."""

import pytest

from tests.testing.sharded_runs import CASES, config_of, end
from tests.testing.soaked import soaked
from tff_pipeline import experiment, registry

# One with two passes, one whose clients keep states, one that collects rows.
QUICK = ("mime", "scaffold", "median")


@pytest.mark.parametrize(
    "case", [*QUICK, *soaked(*sorted({*CASES} - {*QUICK}))]
)
def test_messages_give_the_bits_of_one_process(case, tmp_path, monkeypatch):
    monkeypatch.setitem(
        registry.RUNTIMES, "ray", "tests.testing.loopback:LoopbackContext"
    )
    one, sent = tmp_path / "one", tmp_path / "sent"
    experiment.run(config_of(case, one))
    experiment.run(config_of(case, sent, runtime="ray", ray_workers=3))
    assert end(one) == end(sent)


def test_every_aggregator_has_a_case():
    refused = {"he_mean"}  # Its clients encrypt outside of TensorFlow.
    assert {*registry.AGGREGATORS} - {*CASES} - refused == {"mean"}
    assert {*registry.ALGORITHMS} <= {*CASES}
