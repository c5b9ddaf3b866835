"""Killed anywhere, a run that goes on ends with the bits of one that was not.

Processes that train for real, and SIGKILL: `tests.testing.fault_injection`.
"""

import collections
import os
import random
import signal

import pytest

from tests.testing.killed_runs import (
    ALGORITHMS,
    EVERY,
    ROUNDS,
    RUNS,
    begin,
    papers,
)
from tests.testing.scripts import rows_of, train_with_faults

SEED = 20261121
# Kills of one run before it may end.
MOST_KILLS = 6


def lost_rounds(path):
    """Rounds that were recorded and must be run again."""
    try:
        recorded = len(rows_of(path))
        saved = [
            int(name[len("round_") :])
            for name in os.listdir(path / "checkpoints")
            if name.startswith("round_")
        ]
    except FileNotFoundError:
        return 0
    return recorded - max(saved, default=0)


def kills(draw, steps, seconds):
    """What kills a process: a step of the file layer, or a moment."""
    if draw.random() < 0.25:
        return {"kill_after": draw.random() * seconds}
    how = draw.choice(["before", "half"])
    return {"kill_at": draw.randint(1, steps), "how": how}


def kill_and_resume(points, seed, folder, names=tuple(RUNS)):
    """Kills as many processes as `points`; returns how many, by their kind.

    The runs that are killed are those of `names`.
    """
    draw, counts = random.Random(seed), collections.Counter()
    whole, sizes = {}, {}
    for name in names:
        path = folder / name
        sizes[name] = train_with_faults(begin(name, path))
        assert sizes[name].get("rounds") == ROUNDS, sizes[name]
        whole[name] = papers(path)
    while sum(counts.values()) < points:
        name = draw.choice(names)
        path, history = folder / "killed", []
        config = begin(name, path)
        faults = kills(draw, sizes[name]["steps"], sizes[name]["seconds"])
        while True:
            history.append(faults)
            answer = train_with_faults(config, **faults)
            assert "error" not in answer, (seed, name, history, answer)
            lost = lost_rounds(path)
            assert lost <= EVERY, (seed, name, history, lost)
            if not answer["signal"]:
                break
            assert answer["signal"] == signal.SIGKILL
            counts[f"{name}, {'time' if len(faults) == 1 else 'step'}"] += 1
            again = draw.random() < 0.85 and len(history) < MOST_KILLS
            faults = {}
            if again and sum(counts.values()) < points:
                faults = kills(
                    draw, sizes[name]["steps"], sizes[name]["seconds"]
                )
        found = papers(path)
        for part, value in whole[name].items():
            assert found[part] == value, (seed, name, history, part)
    return counts


def told(counts, seed):
    print(
        f"\n{sum(counts.values())} kills with seed {seed}, all resumed to the "
        f"same bits: {dict(sorted(counts.items()))}"
    )


def test_a_run_killed_anywhere_ends_with_the_same_bits(tmp_path):
    told(kill_and_resume(3, SEED, tmp_path, ("tree", "kept")), SEED)


@pytest.mark.soak
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_killed_anywhere_ends_with_the_same_bits(
    name, tmp_path
):
    told(kill_and_resume(3, SEED + 2, tmp_path, (name,)), SEED + 2)


@pytest.mark.soak
def test_200_kills(tmp_path):
    told(kill_and_resume(200, SEED + 1, tmp_path), SEED + 1)
