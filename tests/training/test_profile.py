"""`--profile` accounts for the time that a run takes."""

import pathlib
import re

import pytest

from tests.testing.soaked import soaked
from tff_pipeline import experiment, timing
from tff_pipeline.config import ExperimentConfig, RunConfig
from tff_pipeline.config.data import DataConfig

PHASES = (
    "reading",
    "client work",
    "aggregation",
    "server",
    "evaluation",
    "disk",
    "other",
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "run"
    config = ExperimentConfig(
        data=DataConfig(task="digits_2nn"),
        run=RunConfig(
            output_dir=str(path), total_rounds=6, rounds_per_checkpoint=1
        ),
    )
    experiment.run(config, profile=True)
    return pathlib.Path(path)


def test_phases_add_up_to_the_round(run_dir):
    text = (run_dir / "profile.txt").read_text()
    whole = float(re.search(r"^([\d.]+) ms a round", text, re.M)[1])
    parts = [
        float(re.search(rf"^  {phase} +([\d.]+) ms", text, re.M)[1])
        for phase in PHASES
    ]
    assert sum(parts) == pytest.approx(whole, abs=0.1)
    assert all(part > 0 for part in parts)


def test_start_is_taken_apart(run_dir):
    text = (run_dir / "profile.txt").read_text()
    first = text.splitlines()[0]
    for part in ("imports", "data", "building", "first round"):
        assert re.search(rf"\b{part} \d+\.\d", first), first


def test_trace_names_the_phases(run_dir):
    (trace,) = run_dir.glob("tensorboard/plugins/profile/*/*.xplane.pb")
    content = trace.read_bytes()
    for name in (b"client work", b"aggregation", b"evaluation", b"round"):
        assert name in content


@pytest.mark.parametrize("rounds", soaked(1, 2, 3))
def test_a_run_may_end_within_the_trace(tmp_path, rounds):
    config = ExperimentConfig(
        data=DataConfig(task="digits_2nn"),
        run=RunConfig(output_dir=str(tmp_path / "run"), total_rounds=rounds),
    )
    experiment.run(config, profile=True)
    assert (tmp_path / "run" / "profile.txt").read_text()
    traces = list(tmp_path.glob("run/tensorboard/plugins/profile/*/*.pb"))
    assert len(traces) == (rounds > 1)


def test_spans_count_only_while_they_are_recorded():
    with timing.span("before"):
        pass
    with timing.recording() as seconds:
        with timing.span("inside"), timing.span("nested"):
            pass
        with timing.span("inside"):
            pass
    with timing.span("after"):
        pass
    assert sorted(seconds) == ["inside", "nested"]
    assert seconds["inside"] >= seconds["nested"] > 0
