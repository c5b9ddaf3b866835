"""`sweep`: which trials there are, and that none is lost or done twice."""

import contextlib
import csv
import dataclasses
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.testing.resources import no_file_above
from tests.testing.scripts import ROOT, SCRIPTS, run_script
from tff_pipeline import errors
from tff_pipeline.commands import (
    median_rule,
    sweep_files,
    trials,
    vizier_search,
)
from tff_pipeline.commands.sweep import Sweep
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
)
from tff_pipeline.config import sweep as sweep_config
from tff_pipeline.config.sweep import Choice, Range, SweepConfig
from tff_pipeline.reporting import read_run

# For what a loaded machine does at last; nothing is asserted of it.
PATIENCE = 300
RATE = "client_learning_rate"
KINDS = {RATE: float, "seed": int, "partition": str}
# Stands in for `train`: a run directory whose accuracy is its learning rate.
_CHILD = """
import pathlib, re, signal, sys, time
from tff_pipeline.config import (
    ClientConfig, DataConfig, ExperimentConfig, OptimizerConfig, RunConfig
)
flags, folder = (argument.partition("=")[2] for argument in sys.argv[1:3])
rate = float(re.search("client_learning_rate=(.*)", open(flags).read())[1])
if rate == 13:
    sys.exit("error: this rate is unlucky; choose another.")
folder, stop = pathlib.Path(folder), []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
folder.mkdir(exist_ok=True)
(folder / "config.json").write_text(ExperimentConfig(
    data=DataConfig(num_clients=20),
    clients=ClientConfig(optimizer=OptimizerConfig("client", "sgd", rate)),
    run=RunConfig(output_dir=str(folder), total_rounds=ROUNDS),
).to_json())
with open(folder / "metrics.csv", "w") as file:
    file.write("round,eval_accuracy\\n")
    for number in range(1, ROUNDS + 1):
        file.write(f"{number},{rate}\\n")
        file.flush()
        if stop:
            break
        time.sleep(PAUSE)
"""


def config_of(settings, path, rounds=5):
    rate = float(settings[RATE])
    return ExperimentConfig(
        data=DataConfig(num_clients=20),
        clients=ClientConfig(optimizer=OptimizerConfig("client", "sgd", rate)),
        run=RunConfig(output_dir=path, total_rounds=rounds),
    )


def sweep_of(folder, rates, pause=0.0, rounds=5, **options):
    program = _CHILD.replace("ROUNDS", str(rounds))
    settings = {
        "parallel": 1,
        "metric": None,
        "warm_up": None,
        "overwrite": False,
    }
    return Sweep(
        str(folder),
        trials.Listed([{RATE: str(rate)} for rate in rates]),
        lambda settings, path: config_of(settings, path, rounds),
        [sys.executable, "-c", program.replace("PAUSE", str(pause))],
        **{**settings, **options},
    )


def states(sweep):
    return {trial.settings[RATE]: trial.state for trial in sweep.trials}


def rows_of(folder):
    with open(folder / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def refusal(function, *arguments):
    with pytest.raises(errors.ConfigError) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=1..5", "12345"),
        ("seed=-1..1,7", ["-1", "0", "1", "7"]),
        ("client_learning_rate=0.01,1e-3", ["0.01", "1e-3"]),
        ("partition=iid", ["iid"]),
        ("--partition=iid", ["iid"]),
    ],
)
def test_values_of_a_grid(text, values):
    assert sweep_config.choice(text, KINDS).values == tuple(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "must be NAME=VALUE"),
        ("=1", "must be NAME=VALUE"),
        ("seed=", "a value is empty"),
        ("seed=1,,2", "a value is empty"),
        ("seed=5..1", "must go up"),
        ("seed=0..99999999", "must go up"),
        ("seed=1,2,1", "1 is there twice"),
        ("sed=1", "--sed is no flag"),
        ("output_dir=a,b", "--output_dir is no flag"),
    ],
)
def test_a_grid_that_is_wrong_is_a_sentence(text, words):
    said = refusal(sweep_config.choice, text, {**KINDS, "output_dir": str})
    assert said.startswith(f"--grid {text}: ")
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed=1", "must be NAME=LOW:HIGH"),
        ("seed=1:2:3", "must be NAME=LOW:HIGH"),
        ("seed=1.5:2", "whole numbers"),
        (f"{RATE}=a:b", "finite numbers"),
        (f"{RATE}=0:inf", "finite numbers"),
        (f"{RATE}=1:0.1", "below the second"),
        (f"{RATE}=0:1:log", "above 0 for log"),
        ("partition=1:2", "is no number"),
    ],
)
def test_a_range_that_is_wrong_is_a_sentence(text, words):
    assert words in refusal(sweep_config.span, text, KINDS)


@given(
    st.floats(1e-6, 1e3),
    st.floats(1.01, 1e6),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_range_stays_between_its_ends(low, factor, share, log):
    span = Range("x", low, low * factor, log, False)
    value = float(span.at(share))
    # Four digits are written.
    assert low * 0.999 <= value <= low * factor * 1.001
    assert float(span.at(0)) == pytest.approx(low, rel=1e-3)
    assert float(span.at(1)) == pytest.approx(low * factor, rel=1e-3)


@given(st.integers(-5, 5), st.integers(1, 6), st.floats(0, 1))
def test_a_range_of_whole_numbers_gives_each(low, width, share):
    span = Range("x", low, low + width, False, True)
    assert low <= int(span.at(share)) <= low + width
    middles = [(place + 0.5) / (width + 1) for place in range(width + 1)]
    assert [int(span.at(each)) for each in middles] == list(
        range(low, low + width + 1)
    )


def test_a_grid_is_all_combinations_in_order():
    config = SweepConfig((Choice("a", ("1", "2")), Choice("b", ("x", "y"))))
    assert trials.listed(config) == [
        {"a": first, "b": second} for first in "12" for second in "xy"
    ]


def test_drawn_trials_differ_and_more_of_them_begin_the_same():
    def drawn(count, seed=0):
        return trials.listed(
            SweepConfig(
                (Choice("seed", ("1", "2")),),
                (Range(RATE, 0.001, 1.0, True, False),),
                "random",
                count,
                seed,
            )
        )

    many = drawn(200)
    assert drawn(5) == many[:5] != drawn(5, seed=1)
    assert len({tuple(each.items()) for each in many}) == 200
    # Uniform in the logarithm: the median is the geometric mean.
    middle = statistics.median(float(each[RATE]) for each in many)
    assert 0.015 < middle < 0.065
    assert 70 < sum(each["seed"] == "1" for each in many) < 130


def test_more_trials_than_combinations_are_refused():
    config = SweepConfig((Choice("seed", ("1", "2")),), (), "random", 3)
    assert "only 2 combinations" in refusal(trials.listed, config)
    values = tuple(map(str, range(101)))
    config = SweepConfig((Choice("a", values), Choice("b", values)))
    assert "10201 trials" in refusal(trials.listed, config)


def test_what_varies_in_two_places_or_not_at_all_is_refused():
    assert "No flag varies" in refusal(SweepConfig, ())
    twice = (Choice("seed", ("1",)), Choice("seed", ("2",)))
    assert "--seed varies in two places" in refusal(SweepConfig, twice)
    span = Range("seed", 1, 2, False, True)
    assert "--random=20" in refusal(SweepConfig, (), (span,))


def test_names_of_trials_are_names_of_folders():
    long = {"init_from": "a/b c" * 60}
    names = [trials.name_of(long), trials.name_of({"init_from": "a/b c" * 61})]
    assert len(set(names)) == 2
    for name in names:
        assert "/" not in name and len(name) < 255


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=9),
    st.floats(0, 1),
    st.booleans(),
)
def test_the_median_rule_by_hand(others, own, lower):
    curves = [[(1, value), (2, 0.5)] for value in others]
    best = [min(v, 0.5) if lower else max(v, 0.5) for v in others]
    worse = (
        own > statistics.median(best)
        if lower
        else own < statistics.median(best)
    )
    found = median_rule.hopeless([(2, own)], curves, lower, 1)
    assert found == (2 if worse else None)
    # Before the warm-up, or with fewer that came as far, nobody is hopeless.
    assert median_rule.hopeless([(2, own)], curves, lower, 3) is None
    assert median_rule.hopeless([(2, own)], curves[:2], lower, 1) is None
    assert median_rule.hopeless([(3, own)], curves, lower, 1) is None


def test_trials_that_fail_are_told_and_the_others_go_on(tmp_path, capsys):
    sweep = sweep_of(tmp_path, [0.1, 13, 0.3], parallel=3)
    assert sweep.run() == 1
    assert states(sweep) == {
        "0.1": "finished",
        "13": "failed",
        "0.3": "finished",
    }
    lines = sweep.report()
    assert "this rate is unlucky" in capsys.readouterr().out
    rows = {row[RATE]: row for row in rows_of(tmp_path)}
    assert rows["13"]["why"].endswith("this rate is unlucky; choose another.")
    assert rows["13"]["eval_accuracy"] == ""
    assert float(rows["0.3"]["eval_accuracy"]) == 0.3
    assert lines[0].splitlines()[1].split() == [f"--{RATE}", "0.3", "0.1"]


def test_hopeless_trials_end_early_and_stay_ended(tmp_path):
    rates = [0.5, 0.6, 0.7, 0.1]
    options = {"pause": 0.05, "rounds": 400, "warm_up": 2, "parallel": 4}
    # Those that are not hopeless were here before.
    first = sweep_of(tmp_path, rates[:3], rounds=400, parallel=3)
    assert first.run() == 0
    sweep = sweep_of(tmp_path, rates, **{**options, "overwrite": False})
    sweep._search = trials.Listed([{RATE: "0.1"}])
    sweep.trials = first.trials
    assert sweep.run() == 0
    assert states(sweep)["0.1"] == "hopeless"
    run = read_run.read(str(tmp_path / f"{RATE}=0.1"))
    assert 2 <= run.rounds < 400
    before = (tmp_path / f"{RATE}=0.1" / "metrics.csv").read_bytes()
    again = sweep_of(tmp_path, [0.1], **options)
    assert again.run() == 0
    assert states(again) == {"0.1": "hopeless"}
    assert (tmp_path / f"{RATE}=0.1" / "metrics.csv").read_bytes() == before


def test_a_signal_stops_the_trials_and_the_sweep(tmp_path):
    sweep = sweep_of(tmp_path, [0.1, 0.2, 0.3], pause=0.05, rounds=10_000)
    pid = os.fork()
    if pid == 0:
        with contextlib.redirect_stdout(None):
            os._exit(sweep.run() % 256)
    metrics = tmp_path / f"{RATE}=0.1" / "metrics.csv"
    until = time.monotonic() + PATIENCE
    while not (metrics.exists() and metrics.stat().st_size > 30):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGTERM
    (row,) = rows_of(tmp_path)
    assert (row[RATE], row["state"]) == ("0.1", "stopped")


def test_a_full_disk_is_a_sentence(tmp_path):
    sweep = sweep_of(tmp_path, [0.1, 0.2], rounds=1)
    with pytest.raises(errors.RunDirectoryError) as raised, no_file_above(100):
        sweep.run()
    assert str(tmp_path) in str(raised.value)


def test_no_trial_is_left_where_the_sweep_fails(tmp_path):
    (tmp_path / "trials.csv").mkdir()
    sweep = sweep_of(tmp_path, [0.1, 13], pause=0.1, rounds=10_000, parallel=2)
    before = set(psutil.Process().children())  # What other tests keep.
    with pytest.raises(errors.RunDirectoryError, match=r"trials\.csv"):
        sweep.run()
    assert not set(psutil.Process().children()) - before


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    held = """
import sys, time
from tff_pipeline.runs import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(1000)
"""
    other = subprocess.Popen(
        [sys.executable, "-c", held, str(tmp_path / "sweep.lock")],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(errors.RunDirectoryError):
            sweep_of(tmp_path, [0.1]).run()
        assert not (tmp_path / f"{RATE}=0.1").exists()
    finally:
        other.kill()
        other.communicate()


def private(run, epsilon, delta):
    rows = [{**run.rows[-1], "epsilon": epsilon}]
    return dataclasses.replace(run, rows=rows, privacy={"delta": delta})


def test_epsilons_of_private_trials_add_up(tmp_path):
    sweep = sweep_of(tmp_path, [0.1, 0.2], parallel=2)
    assert sweep.run() == 0
    one, two = (
        read_run.read(str(tmp_path / f"{RATE}={x}")) for x in (0.1, 0.2)
    )
    assert sweep_files.privacy_spent([one, two]) == []
    spent = [private(one, 1.5, 1e-5), private(two, 2.25, 2e-5)]
    lines = sweep_files.privacy_spent(spent)
    assert "epsilon 3.75 and delta 3e-05 in all, by basic" in lines[0]
    assert "covered by no epsilon" in lines[1]
    more = sweep_files.privacy_spent([*spent, one])
    assert "1 trials in this folder are not private" in more[-1]
    sweep_files.write(str(tmp_path), sweep.trials, spent, spent, [], None)
    rows = rows_of(tmp_path)
    assert rows[-1]["trial"] == "all trials"
    assert float(rows[-1]["epsilon"]) == 3.75
    assert float(rows[-1]["delta"]) == pytest.approx(3e-5)
    page = (tmp_path / "comparison.html").read_text()
    assert "epsilon 3.75 and delta 3e-05" in page


BASE = (
    *("--task=digits_2nn", "--num_clients=6", "--clients_per_round=2"),
    *("--finishers=none", "--sinks=csv"),
)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--grid", "lr=1"], "--lr is not a flag here; use"),
        (["--grid", f"{RATE}=0.1,-1"], f"--{RATE}=-1.0: must be"),
        (["--grid", "clients_per_round=2,9"], "more than the 6 clients"),
        (["--grid", f"{RATE}=0.1,.1"], "are the same experiment"),
        (["--grid=seed=1", "--random=1", "--vizier=1"], "two ways"),
        (["--grid=seed=1", "--vizier=1"], "without --metric"),
        (["--grid=seed=1", "--parallel=0"], "--parallel=0: must be"),
        (["--grid=seed=1", "--profile"], "--profile is not used"),
        (["--grid=dp_clip=1,2"], "The trial --dp_clip=1 is not possible"),
        ([], "No flag varies"),
    ],
)
def test_bad_flags_are_refused_before_a_trial_starts(tmp_path, flags, words):
    done = run_script(
        "sweep.py", *BASE, *flags, f"--output_dir={tmp_path / 's'}", cwd=ROOT
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_a_killed_sweep_goes_on_without_repeating_a_trial(tmp_path):
    """Real trials; the second is killed with the sweep, as by an outage."""
    flags = tmp_path / "base.flags"
    flags.write_text(
        "\n".join([*BASE, "--partition=dirichlet", "--dirichlet_alpha=1"])
    )
    folder = tmp_path / "sweep"
    command = [
        *(sys.executable, str(SCRIPTS / "sweep.py"), f"--flagfile={flags}"),
        *("--total_rounds=3", "--grid", "partition=iid,dirichlet"),
        f"--output_dir={folder}",
    ]
    first, second = folder / "partition=iid", folder / "partition=dirichlet"
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        until = time.monotonic() + PATIENCE
        while not second.exists():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        (child,) = process.children()
        process.kill()
        process.wait()
        child.wait(timeout=PATIENCE)  # The kernel ends it with its parent.
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert len(before) > 5
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "partition=iid: finished" in done.stdout
    assert "(it was here already)" in done.stdout
    assert {
        path: path.stat().st_mtime_ns for path in first.rglob("*")
    } == before
    rows = rows_of(folder)
    assert [row["state"] for row in rows] == ["finished", "finished"]
    assert [row["rounds"] for row in rows] == ["3", "3"]
    # The command line's word replaced what belongs to the flagfile's.
    runs = [read_run.read(str(path)) for path in (first, second)]
    assert [run.config.data.dirichlet_alpha for run in runs] == [None, 1.0]


NEEDED = "chex"


def test_vizier_says_what_it_lacks(tmp_path):
    if importlib.util.find_spec(NEEDED):
        pytest.skip("what Vizier needs is installed")
    config = SweepConfig((Choice("seed", ("1", "2")),), (), "vizier", 3)
    said = refusal(vizier_search.VizierSearch, config, "loss", str(tmp_path))
    assert said.startswith("--vizier=3: google-vizier's strategies cannot be")
    assert "pip install --no-deps chex" in said
    assert said.endswith("or choose trials with --random=3.")


def test_vizier_finds_what_is_better_and_goes_on_as_it_began(tmp_path):
    pytest.importorskip(
        NEEDED, reason="the lock has not what Vizier's strategies need"
    )
    config = SweepConfig(
        (Choice("client_optimizer", ("sgd", "adam")),),
        (Range(RATE, 0.001, 1.0, True, False),),
        "vizier",
        30,
        seed=3,
    )

    def search(folder, count):
        options = dataclasses.replace(config, count=count)
        folder.mkdir(exist_ok=True)
        return vizier_search.VizierSearch(options, "accuracy", str(folder))

    def tried(search):
        found = []
        while (settings := search.next()) is not None:
            value = -abs(float(settings[RATE]) - 0.03)
            value -= settings["client_optimizer"] == "adam"
            search.tell(settings, value)
            found.append(settings)
        return found

    whole = tried(search(tmp_path / "whole", 30))
    assert len(whole) == 30
    late = [each["client_optimizer"] for each in whole[15:]]
    assert late.count("sgd") > late.count("adam")
    tried(search(tmp_path / "parts", 11))
    assert tried(search(tmp_path / "parts", 30)) == whole
    # A file of another sweep is refused.
    events = (tmp_path / "whole" / "suggestions.jsonl").read_text().splitlines()
    first = json.loads(events[0])
    first["settings"][RATE] = "7"
    (tmp_path / "whole" / "suggestions.jsonl").write_text(
        "\n".join([json.dumps(first), *events[1:]])
    )
    assert "is of a sweep with other" in refusal(search, tmp_path / "whole", 30)
