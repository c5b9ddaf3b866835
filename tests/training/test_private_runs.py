"""Private runs as users start, kill and resume them."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.testing.scripts import SCRIPTS, rows_of, run_script
from tests.testing.soaked import soaked
from tff_pipeline import experiment
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.config.privacy import PRIVACY_OPTIONS, PrivacyConfig
from tff_pipeline.privacy import accounting
from tff_pipeline.privacy.setting import Setting

# 24 clients, and rounds enough to be killed in.
RUN = (
    "--task=digits_2nn",
    "--partition=iid",
    "--num_clients=24",
    "--clients_per_round=6",
    "--client_batch_size=16",
    "--total_rounds=12",
    "--rounds_per_checkpoint=4",
    "--dp_delta=1e-3",
)
GAUSSIAN = ("--aggregator=dp_gaussian", "--dp_clip=0.5")
WITHHELD = {"clients", "rejected_clients", "examples", "train_loss"}


def train(path, *flags, **options):
    return run_script(
        "train.py", *RUN, *flags, f"--output_dir={path}", **options
    )


def train_here(path, aggregator="dp_gaussian", clients=6, rounds=12, **options):
    """As `train`, in this process, which has TensorFlow imported."""
    options = {"dp_clip": 0.5, "dp_delta": 1e-3, **options}
    return experiment.run(
        ExperimentConfig(
            data=DataConfig("digits_2nn", partition="iid", num_clients=24),
            clients=ClientConfig(clients_per_round=clients, batch_size=16),
            aggregation=AggregationConfig(aggregator),
            privacy=PrivacyConfig(**options),
            run=RunConfig(
                output_dir=str(path),
                total_rounds=rounds,
                rounds_per_checkpoint=4,
            ),
        )
    )


def statement(path):
    return json.loads((path / "privacy.json").read_text())


def arrays(path, round_number):
    """The bytes of a checkpoint's arrays."""
    folder = path / "checkpoints" / f"round_{round_number:06d}"
    return (folder / "state.npz").read_bytes()


@pytest.fixture(scope="module")
def private_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("private") / "run"
    done = train(path, *GAUSSIAN, "--dp_target_epsilon=3")
    assert done.returncode == 0, done.stderr
    return path, done.stdout


def test_a_run_says_what_it_gave(private_run):
    path, output = private_run
    said = statement(path)
    assert 2.98 < said["epsilon"] <= 3
    assert said["private"] is True
    assert said["rounds"] == said["rounds_planned"] == 12
    assert said["sampling"] == "poisson"
    # What another would find for what the statement says.
    setting = Setting(
        "gaussian",
        said["sampling"],
        said["population"],
        said["cohort_size"],
        said["rounds"],
    )
    found = accounting.epsilon(
        setting, said["noise_over_sensitivity"], said["delta"]
    )
    assert found == said["epsilon"]
    text = (path / "privacy.txt").read_text()
    assert f"({said['epsilon']:.4g}, 0.001)-differential privacy" in text
    # And on the screen.
    assert said["verdict"] in " ".join(output.split())


def test_epsilon_is_written_after_every_round(private_run):
    path, _ = private_run
    rows = rows_of(path)
    spent = [float(row["epsilon"]) for row in rows]
    assert len(spent) == 12
    assert spent == sorted(set(spent))
    assert spent[-1] == statement(path)["epsilon"]


def test_exact_figures_of_training_are_neither_written_nor_shown(private_run):
    path, output = private_run
    with open(path / "metrics.csv", newline="") as file:
        columns = set(csv.DictReader(file).fieldnames)
    assert not columns & WITHHELD
    assert not [name for name in columns if name.startswith("train_")]
    assert "train_" not in output
    events = b"".join(
        each.read_bytes() for each in (path / "tensorboard").iterdir()
    )
    assert b"/train" not in events and b"1_loss/eval" in events


def test_the_secret_is_in_its_file_alone(private_run):
    path, output = private_run
    secret = (path / "noise_secret").read_text().strip()
    assert os.stat(path / "noise_secret").st_mode & 0o077 == 0
    forms = [secret.encode(), str(int(secret, 16)).encode()]
    forms.append(int(secret, 16).to_bytes(16, "little"))
    for folder, _, names in os.walk(path):
        for name in names:
            if name == "noise_secret":
                continue
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            assert not any(form in content for form in forms), name
    assert secret not in output


def test_a_ledger_is_in_every_checkpoint(private_run):
    path, _ = private_run
    for number in (4, 8, 12):
        folder = path / "checkpoints" / f"round_{number:06d}"
        manifest = json.loads((folder / "manifest.json").read_text())
        account = manifest["content"]["notes"]["privacy"]
        assert account["rounds"] == number
        assert account["terms"]["sampling"] == "poisson"
        assert account["terms"]["cohort_size"] == 6
        assert "secret" in account


def test_flags_of_a_private_run_run_it_again(private_run, tmp_path):
    path, _ = private_run
    config = ExperimentConfig.from_json((path / "config.json").read_text())
    flags = (path / "flags.txt").read_text().splitlines()
    assert "--aggregator=dp_gaussian" in flags
    assert "--sampling=poisson" in flags
    assert "--client_weighting=uniform" in flags
    assert config.privacy.dp_target_epsilon == 3
    again = run_script(
        "train.py",
        f"--flagfile={path / 'flags.txt'}",
        f"--output_dir={tmp_path / 'run'}",
        "--total_rounds=1",
    )
    assert again.returncode == 0, again.stderr
    # Another secret: other noise, other cohorts.
    assert rows_of(tmp_path / "run")[0] != rows_of(path)[0]


def killed_after(path, rounds, *flags):
    """Trains until metrics.csv has so many rounds, then kill -9."""
    process = subprocess.Popen(
        [
            sys.executable,
            str(SCRIPTS / "train.py"),
            *RUN,
            *flags,
            f"--output_dir={path}",
            "--total_rounds=2000",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if len(rows_of(path)) >= rounds:
                break
        except (FileNotFoundError, KeyError):
            pass
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.soak
def test_a_killed_run_repeats_what_it_released_and_counts_it_once(tmp_path):
    flags = (*GAUSSIAN, "--dp_noise_multiplier=0.7")
    path = tmp_path / "run"
    killed_after(path, 6, *flags)
    before = rows_of(path)
    rounds = len(before)
    done = train(path, *flags, f"--total_rounds={rounds + 2}")
    assert done.returncode == 0, done.stderr
    after = rows_of(path)
    assert len(after) == rounds + 2
    # The last row may have been cut off while it was written.
    assert after[: rounds - 1] == before[: rounds - 1]
    assert statement(path)["rounds"] == rounds + 2
    # A run that nobody killed, with the same secret.
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(path / "noise_secret", other / "noise_secret")
    done = train(other, *flags, f"--total_rounds={rounds + 2}")
    assert done.returncode == 0, done.stderr
    assert rows_of(other) == after
    assert arrays(other, rounds + 2) == arrays(path, rounds + 2)


@pytest.mark.soak
def test_the_run_stops_before_it_spends_too_much(tmp_path):
    options = {"dp_noise_multiplier": 1.0, "rounds": 500}
    result = train_here(tmp_path, dp_max_epsilon=2.0, **options)
    assert result.budget_spent
    rows, said = rows_of(tmp_path), statement(tmp_path)
    assert 1 < len(rows) < 500
    assert said["rounds"] == len(rows)
    assert said["epsilon"] == float(rows[-1]["epsilon"]) <= 2
    setting = Setting("gaussian", "poisson", 24, 6, len(rows) + 1)
    assert accounting.epsilon(setting, 1.0, 1e-3) > 2
    assert (tmp_path / "saved_model").is_dir()
    # Again: nothing more is spent. With a larger budget: some.
    assert train_here(tmp_path, dp_max_epsilon=2.0, **options).budget_spent
    assert rows_of(tmp_path) == rows
    train_here(tmp_path, dp_max_epsilon=3.0, **options)
    assert rows_of(tmp_path)[: len(rows)] == rows
    assert 2 < statement(tmp_path)["epsilon"] <= 3


def test_train_py_says_that_the_budget_ended_it(tmp_path):
    flags = (*GAUSSIAN, "--dp_noise_multiplier=1.0", "--dp_max_epsilon=1.5")
    done = train(tmp_path / "run", *flags)
    assert done.returncode == 0, done.stderr
    assert "another would exceed --dp_max_epsilon" in done.stdout


def test_a_run_without_its_secret_does_not_go_on(private_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(private_run[0], path)
    (path / "noise_secret").unlink()
    flags = (*GAUSSIAN, "--dp_target_epsilon=3")
    done = train(path, *flags)
    assert done.returncode == 1
    assert "noise_secret" in done.stderr and "--overwrite" in done.stderr
    # Nothing was lost, nor was a secret made up.
    assert not (path / "noise_secret").exists()
    shutil.copy(private_run[0] / "noise_secret", path)
    assert train(path, *flags).returncode == 0


@pytest.mark.soak
def test_overwriting_draws_another_secret(private_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(private_run[0], path)
    flags = (*GAUSSIAN, "--dp_target_epsilon=3", "--overwrite")
    done = train(path, *flags, "--total_rounds=1")
    assert done.returncode == 0, done.stderr
    before = (private_run[0] / "noise_secret").read_text()
    assert (path / "noise_secret").read_text() != before


def test_more_rounds_than_the_noise_was_made_for_are_refused(private_run):
    path, _ = private_run
    done = train(path, *GAUSSIAN, "--dp_target_epsilon=3", "--total_rounds=20")
    assert done.returncode == 2
    assert "rounds (was 12, now 20)" in done.stderr
    assert len(rows_of(path)) == 12


@pytest.mark.soak
def test_seeded_noise_is_no_privacy_and_repeats_anywhere(tmp_path):
    options = {
        "dp_noise_multiplier": 1.0,
        "dp_noise_seed": 5,
        "dp_release_exact_metrics": True,
        "rounds": 3,
    }
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        train_here(path, **options)
    assert arrays(one, 3) == arrays(other, 3)
    assert not (one / "noise_secret").exists()
    said = statement(one)
    assert said["private"] is False
    words = " ".join((one / "privacy.txt").read_text().split())
    assert "Simulation only, no privacy" in words
    assert "--dp_release_exact_metrics" in said["not_covered"][0]
    assert {*WITHHELD} <= set(rows_of(one)[0])


@pytest.mark.parametrize(
    "aggregator",
    # test_kill_points.py has two of them.
    [
        "dp_matrix",
        *soaked(
            *sorted(
                {*PRIVACY_OPTIONS}
                - {"dp_gaussian_adaptive", "dp_tree", "dp_matrix"}
            )
        ),
    ],
)
def test_every_mechanism_trains_and_resumes_to_the_bit(aggregator, tmp_path):
    options = {"dp_noise_multiplier": 0.5, "dp_noise_seed": 1}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_here(whole, aggregator, **options)
    # As if it had been killed after round 8.
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "round_000012")
    train_here(parts, aggregator, **options)
    assert rows_of(parts) == rows_of(whole)
    assert arrays(parts, 12) == arrays(whole, 12)
    assert 0 < statement(whole)["epsilon"] < math.inf


@pytest.mark.soak
def test_secure_noise_trains_and_resumes_to_the_bit(tmp_path):
    pytest.importorskip("cryptography")
    options = {"dp_noise_multiplier": 0.5, "dp_secure_noise": True, "rounds": 8}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_here(whole, **options)
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "round_000008")
    train_here(parts, **options)
    assert rows_of(parts) == rows_of(whole)
    assert arrays(parts, 8) == arrays(whole, 8)
    said = statement(whole)
    assert said["private"] and 0 < said["epsilon"] < math.inf
    setting = Setting("discrete_gaussian", "poisson", 24, 6, 8)
    assert said["epsilon"] == accounting.epsilon(setting, 0.5, 1e-3, "rdp")
    assert "float32" not in (whole / "privacy.txt").read_text()


def test_a_cohort_may_be_empty(tmp_path):
    train_here(
        tmp_path,
        clients=1,
        dp_noise_multiplier=1.0,
        dp_noise_seed=0,
        dp_release_exact_metrics=True,
    )
    rows = rows_of(tmp_path)
    clients = [int(row["clients"]) for row in rows]
    assert 0 in clients[1:] and max(clients) > 0
    # Noise alone moved the model, and was paid for.
    place = clients.index(0, 1)
    assert rows[place]["eval_loss"] != rows[place - 1]["eval_loss"]
    assert float(rows[place]["epsilon"]) > float(rows[place - 1]["epsilon"])
    assert all(int(row["rejected_update"]) == 0 for row in rows)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--aggregator=dp_gaussian",), ["--dp_noise_multiplier"]),
        (
            (*GAUSSIAN, "--dp_target_epsilon=nan"),
            ["--dp_target_epsilon=nan"],
        ),
        (
            (
                *GAUSSIAN,
                "--dp_noise_multiplier=1",
                "--client_weighting=num_examples",
            ),
            ["--client_weighting=num_examples"],
        ),
        (
            ("--aggregator=dp_gaussian_adaptive", "--dp_noise_multiplier=1"),
            ["--clients_per_round=6", "11 or more"],
        ),
        (
            (
                *GAUSSIAN,
                "--dp_noise_multiplier=1",
                "--sampling=min_separation",
                "--min_separation=5",
            ),
            ["--min_separation=5", "30 clients"],
        ),
    ],
)
def test_flags_that_do_not_agree_leave_no_run_behind(flags, words, tmp_path):
    path = tmp_path / "run"
    done = train(path, *flags)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr
    assert not (path / "config.json").exists()
