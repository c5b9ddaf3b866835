"""A population costs its cohorts' memory, not its own."""

import json

import pytest

from tests.testing.scripts import ROOT, fork_server


def trained(clients, folder):
    """Rounds and peak memory of a run on so many clients, in a new process.

    In this process the peak would be that of the tests before.
    """
    arguments = ["-m", "tests.testing.population", clients, folder]
    done = fork_server().run(arguments, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.soak
def test_a_million_clients_cost_what_a_thousand_do(tmp_path):
    thousand = trained(1000, tmp_path / "thousand")
    million = trained(1_000_000, tmp_path / "million")
    assert thousand["rounds"] == million["rounds"] == 5
    print(f"\n{thousand['peak']:.1f} MB and {million['peak']:.1f} MB")
    # A list of a million names alone is 65 MB.
    assert million["peak"] - thousand["peak"] < 32
