"""scripts/audit.py: membership inference on models that runs exported."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn import metrics

from tests.testing.data import data_folder
from tests.testing.scripts import run_script
from tff_pipeline import errors, experiment
from tff_pipeline.commands import audit
from tff_pipeline.config import (
    AggregationConfig,
    ClientConfig,
    ExperimentConfig,
    PrivacyConfig,
    RunConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.export import attacked, saved_model
from tff_pipeline.objectives import sequence
from tff_pipeline.privacy import membership
from tff_pipeline.reporting import audit_text
from tff_pipeline.runs import metrics_file
from tff_pipeline.runs.directory import RunDirectory

FIGURES = {"auc", "auc_interval", "advantage", "advantage_interval", "low_rate"}


def copied(run, path):
    """A run directory as it was trained, without what audits left there."""
    ignored = shutil.ignore_patterns("audit.*", "evaluations")
    shutil.copytree(run, path, ignore=ignored)
    return path


def trained(path, *arguments):
    done = run_script("train.py", *arguments, f"--output_dir={path}")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory):
    """Labels that are drawn by lot: there is nothing to learn but by heart."""
    folder = tmp_path_factory.mktemp("overfitted")
    draw = np.random.default_rng(0)
    np.savez(
        folder / "lots.npz",
        x=draw.normal(size=[400, 30]).astype(np.float32),
        y=draw.integers(2, size=400),
        client_id=np.arange(400) % 10,
        is_test=np.arange(400) < 200,
    )
    return trained(
        folder / "run",
        *("--task=npz", f"--data_dir={folder / 'lots.npz'}"),
        *("--clients_per_round=10", "--client_batch_size=4"),
        *("--client_epochs_per_round=10", "--total_rounds=15"),
        "--rounds_per_eval=15",
    )


@pytest.mark.soak
def test_script_writes_what_it_prints(small_run, tmp_path):
    run = copied(small_run, tmp_path / "run")
    done = run_script(
        "audit.py", f"--run_dir={run}", "--max_examples=200", "--per_class"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    text = (run / "audit.txt").read_text()
    assert done.stdout.startswith(text)
    report = json.loads((run / "audit.json").read_text())
    assert set(report) == {
        *("task", "round", "max_examples", "clients", "members"),
        *("non_members", "differences", "attacks", "without_model", "labels"),
        *("per_class", "meaning"),
    }
    assert report["task"] == "digits_2nn"
    assert report["round"] == 10
    assert report["clients"]["took_part"] <= 12
    for who in ("members", "non_members"):
        assert report[who]["examples"] == 200
        assert report[who]["mean_loss"] > 0
    names = [attack["name"] for attack in report["attacks"]]
    assert names == ["threshold", "logistic_regression"]
    for attack in [*report["attacks"], report["without_model"]]:
        assert set(attack) == {"name", "words", *FIGURES}
        for name in ("auc", "advantage"):
            low, high = attack[f"{name}_interval"]
            assert 0 <= low <= attack[name] <= high <= 1
        assert f"{attack['auc']:.3f}" in text
    for each in report["per_class"]:
        assert set(each) == {"class", *FIGURES}
    assert report["meaning"] in text
    # Beside a run, not in its way.
    assert not list(run.glob(".tmp-*"))
    RunDirectory(str(run)).claim(
        RunDirectory(str(run)).read_config(), overwrite=True
    )
    assert not (run / "audit.json").exists()
    assert not (run / "audit.txt").exists()


def test_same_run_gives_the_same_audit(small_run, tmp_path):
    run = copied(small_run, tmp_path / "run")
    first, _ = audit.audit(str(run), max_examples=100)
    assert audit.audit(str(run), max_examples=100)[0] == first


def test_last_round_is_what_was_exported(small_run, tmp_path):
    run = copied(small_run, tmp_path / "run")
    _, exported = audit.audit(str(run), max_examples=100)
    _, saved = audit.audit(str(run), round_number=10, max_examples=100)
    assert saved == exported
    _, earlier = audit.audit(str(run), round_number=5, max_examples=100)
    assert earlier["round"] == 5
    assert earlier["members"] != exported["members"]


@pytest.mark.soak
def test_overfitted_model_gives_its_members_away(overfitted):
    text, report = audit.audit(str(overfitted))
    assert report["members"]["examples"] == 200
    assert report["clients"] == {"took_part": 10, "read": 10}
    assert report["members"]["mean_loss"] < report["non_members"]["mean_loss"]
    for attack in report["attacks"]:
        assert attack["auc_interval"][0] > 0.6
        assert attack["advantage_interval"][0] > 0
    assert report["without_model"]["auc_interval"][0] <= 0.5
    assert "gives away" in text


def test_untrained_model_gives_nobody_away(overfitted, tmp_path):
    run = copied(overfitted, tmp_path / "run")
    config = RunDirectory(str(run)).read_config()
    task = experiment.load_task(config)
    saved_model.export(
        task,
        experiment.initial_weights(task, seed=5),
        str(run / "saved_model"),
        overwrite=True,
    )
    text, report = audit.audit(str(run))
    for attack in report["attacks"]:
        low, high = attack["auc_interval"]
        assert low <= 0.5 <= high
        assert attack["advantage_interval"][0] == 0
    assert "proves nothing" in text


def run_here(path, data, groups=None, **clients):
    """A run in this process."""
    config = ExperimentConfig(
        data=DataConfig(**data),
        clients=ClientConfig(**clients),
        run=RunConfig(output_dir=str(path), total_rounds=2, rounds_per_eval=2),
        **(groups or {}),
    )
    experiment.run(config)
    return experiment.load_task(config)


@pytest.mark.soak
def test_members_are_those_that_took_part(tmp_path):
    data = {"task": "digits_2nn", "num_clients": 30}
    run_here(tmp_path, data, clients_per_round=2)
    _, report = audit.audit(str(tmp_path))
    assert report["clients"]["took_part"] in (2, 3, 4)
    (said,) = (s for s in report["differences"] if "took part" in s)
    assert "of 30" in said


@pytest.mark.soak
def test_members_of_a_private_run_hang_on_its_secret(tmp_path):
    data = {"task": "digits_2nn", "num_clients": 30}
    private = {
        "aggregation": AggregationConfig("dp_gaussian"),
        "privacy": PrivacyConfig(
            dp_noise_multiplier=0.1, dp_clip=1.0, dp_delta=1e-3
        ),
    }
    # Poisson sampling: this many or so.
    run_here(tmp_path, data, private, clients_per_round=10)
    text, report = audit.audit(str(tmp_path))
    assert 0 < report["clients"]["took_part"] <= 30
    again, _ = audit.audit(str(tmp_path))
    assert again == text
    (tmp_path / "noise_secret").unlink()
    with pytest.raises(errors.RunDirectoryError, match="noise_secret"):
        audit.audit(str(tmp_path))


@pytest.mark.soak
def test_binary_labels_and_columns_by_name(tmp_path):
    """A model of one logit that is exported with other inputs than x."""
    data_dir = str(data_folder("heart_disease"))
    task = run_here(
        tmp_path,
        {"task": "heart_disease_logistic", "data_dir": data_dir},
        clients_per_round=4,
        steps_per_round=20,
    )
    _, report = audit.audit(str(tmp_path))
    assert report["members"]["examples"] == len(task.test)
    loss = report["non_members"]["mean_loss"]
    evaluated = metrics_file.last_evaluation(str(tmp_path / "metrics.csv"))
    assert loss == pytest.approx(evaluated["loss"], rel=1e-5)
    assert any("in any step" in each for each in report["differences"])


@pytest.mark.soak
def test_sequences_are_audited_by_their_mean_loss(tmp_path):
    task = run_here(
        tmp_path,
        {
            "task": "tff_shakespeare",
            "tff_data": "synthetic",
            "model_fn": "tests.testing.small_models:next_character",
        },
        clients_per_round=1,
    )
    _, report = audit.audit(str(tmp_path))
    assert report["labels"] is None
    path = str(tmp_path / "saved_model")
    observed = attacked.Attacked(task, path).observe(task.test)
    saved = tf.saved_model.load(path).signatures["serving_default"]
    x, y = task.test.x, task.test.y
    assert (y == 0).any()
    for place in range(min(len(y), 20)):
        row = slice(place, place + 1)
        logits = saved(tokens=tf.constant(x[row]))["logits"]
        loss = sequence.TokenCrossEntropy()(y[row], logits)
        assert observed.losses[place] == pytest.approx(float(loss), rel=1e-4)
    with pytest.raises(errors.ConfigError, match="sequences of classes"):
        audit.audit(str(tmp_path), per_class=True)


@pytest.mark.parametrize("name", ["movielens_mf", "tff_stackoverflow_tag"])
def test_unsupported_task_is_refused(tmp_path, name):
    data = DataConfig(task=name, partition="natural")
    if name == "tff_stackoverflow_tag":
        data = DataConfig(task=name, tff_data="synthetic", max_test_examples=9)
    config = ExperimentConfig(data=data)
    RunDirectory(str(tmp_path)).claim(config)
    with pytest.raises(errors.ConfigError, match=f"--task={name}"):
        audit.audit(str(tmp_path), round_number=1)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "--run_dir is not set"),
        (["--run_dir=/nowhere"], 1, "/nowhere/config.json does not exist"),
        (["--run_dir={run}", "--round=3"], 2, "saved rounds"),
        (["--run_dir={run}", "--max_examples=0"], 2, "--max_examples=0"),
        (["--run_dir={run}", "--max_examples=3"], 1, "raise --max_examples"),
    ],
)
def test_script_names_the_mistake(small_run, arguments, status, words):
    arguments = [argument.format(run=small_run) for argument in arguments]
    done = run_script("audit.py", *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (small_run / "audit.json").exists()


@pytest.mark.parametrize("damage", ["none", "empty"])
def test_missing_model_is_named(small_run, tmp_path, damage):
    run = copied(small_run, tmp_path / "run")
    shutil.rmtree(run / "saved_model")
    words = "does not exist"
    if damage == "empty":
        (run / "saved_model").mkdir()
        words = "cannot be loaded"
    with pytest.raises(errors.RunDirectoryError, match="saved_model") as error:
        audit.audit(str(run))
    assert words in str(error.value)
    assert "--round" in str(error.value)


@pytest.mark.parametrize("seed", range(3))
def test_area_and_advantage_are_those_of_the_curve(seed):
    draw = np.random.default_rng(seed)
    members, others = draw.integers(1, 9, 40), draw.integers(0, 8, 60)
    found = membership.figures(members, others)
    truth = np.repeat([1, 0], [40, 60])
    scores = np.concatenate([members, others])
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(truth, scores))
    statistic = stats.ks_2samp(members, others).statistic
    assert found["advantage"] == pytest.approx(statistic)


def test_intervals_hold_what_they_should():
    """Of 300 samples of two normals one apart, whose area is known."""
    draw = np.random.default_rng(0)
    area = stats.norm.cdf(1 / np.sqrt(2))
    advantage = 2 * stats.norm.cdf(0.5) - 1
    held = np.zeros(2)
    for _ in range(300):
        found = membership.figures(
            draw.normal(1, 1, size=50), draw.normal(0, 1, size=50)
        )
        for place, (name, true) in enumerate(
            [("auc", area), ("advantage", advantage)]
        ):
            low, high = found[f"{name}_interval"]
            held[place] += low <= true <= high
    # Three standard errors below .95; the second is wider than it must be.
    assert held[0] / 300 > 0.91
    assert held[1] / 300 > 0.95


def test_sets_that_differ_anyway_are_told():
    draw = np.random.default_rng(1)

    def observed(shift):
        losses = draw.normal(-shift, 1, size=300)
        inputs = draw.normal(shift, 1, size=[300, 2])
        labels = draw.integers(0, 2 + shift, size=300)
        return membership.Observed(losses, np.zeros([300, 0]), inputs, labels)

    found = membership.attacks(observed(1), observed(0), seed=0)
    assert "may be how the two sets differ" in audit_text.meaning(found)
    said = audit_text.differences(found)
    assert [each.split()[1] for each in said] == ["labels", "and"]
    turned = membership.attacks(observed(0), observed(1), seed=0)
    assert "higher losses" in audit_text.differences(turned)[-1]


def test_cross_entropies_are_kerass():
    draw = np.random.default_rng(2)
    logits = draw.normal(size=[5, 7, 4]).astype(np.float32) * 30
    labels = draw.integers(0, 4, size=[5, 7])
    expected = tf.keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    given = membership.cross_entropies(logits, labels)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    one, binary = logits[..., :1], labels % 2
    expected = tf.nn.sigmoid_cross_entropy_with_logits(
        binary.astype(np.float32), one[..., 0]
    )
    given = membership.cross_entropies(one, binary)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


def test_blind_features_take_any_input():
    labels = np.array([0, 2])
    images = np.arange(8, dtype=np.uint8).reshape([2, 2, 2])
    given = membership.blind_features(images, labels, 3)
    assert given.tolist() == [[1, 0, 0, 0, 1, 2, 3], [0, 0, 1, 4, 5, 6, 7]]
    ids = np.array([[1, 1, 65], [0, 0, 3]], np.int32)
    given = membership.blind_features(ids, None, 0)
    assert given[:, [0, 1, 3]].tolist() == [[0, 3, 0], [2, 0, 1]]
    text = np.array(["a", "b"])
    assert membership.blind_features(text, None, 0).shape == (2, 0)
