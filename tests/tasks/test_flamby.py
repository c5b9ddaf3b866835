"""FLamby's small federations: heart disease and breast cancer."""

import csv
import shutil

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.testing.data import data_folder
from tests.testing.scripts import ROOT, run_script
from tff_pipeline import errors, experiment, registry
from tff_pipeline.config import (
    ClientConfig,
    ExperimentConfig,
    OptimizerConfig,
    RunConfig,
    ServerConfig,
)
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import heart_disease, tcga_brca
from tff_pipeline.evaluation import central
from tff_pipeline.export import saved_model
from tff_pipeline.objectives import survival

FLAGFILES = ROOT / "configs" / "papers" / "flamby2022"


@pytest.fixture(scope="module")
def heart_dir():
    return data_folder("heart_disease")


@pytest.fixture(scope="module")
def brca_dir():
    return data_folder("tcga_brca")


def load(name, data_dir, **options):
    options = DataConfig(task=name, data_dir=str(data_dir), **options)
    return registry.load(name, registry.TASKS)(options, seed=0)


@pytest.fixture(scope="module")
def heart(heart_dir):
    return load("heart_disease_logistic", heart_dir)


@pytest.fixture(scope="module")
def brca(brca_dir):
    return load("tcga_brca_cox", brca_dir)


def sizes(clients):
    return {name: clients.size(name) for name in clients.client_ids}


def test_heart_has_flambys_patients(heart):
    assert sizes(heart.train) == {
        "cleveland": 199,
        "hungarian": 172,
        "switzerland": 30,
        "va": 85,
    }
    assert sizes(heart.test_clients) == {
        "cleveland": 104,
        "hungarian": 89,
        "switzerland": 16,
        "va": 45,
    }
    assert len(heart.test) == 254
    assert heart.build_model().count_params() == 14


def test_heart_standardises_as_each_hospital_does(heart, heart_dir):
    """Against FLamby's steps, taken with pandas on one hospital's file."""
    frame = pd.read_csv(
        heart_dir / "processed.va.data", header=None, na_values="?"
    )
    frame = frame.drop(columns=[10, 11, 12]).dropna().iloc[:, :-1]
    others = pd.get_dummies(frame, columns=[2, 6]).astype(float)
    others = others.drop(columns=["2_1.0", "6_0.0"], errors="ignore")
    others = others.drop(columns=["2_1", "6_0"], errors="ignore").to_numpy()
    rows = frame.to_numpy(np.float32)
    x = heart.train.load("va").x
    trains = [np.flatnonzero((rows == row[1:]).all(axis=1))[0] for row in x]
    mean = others[trains].mean(axis=0)
    deviation = others[trains].std(axis=0, ddof=1)
    model = heart.build_model()
    kernel, bias = model.get_weights()
    expected = (others[trains] - mean) / deviation @ kernel + bias
    np.testing.assert_allclose(model(x), expected, atol=1e-4)


def test_heart_unseen_hospital_is_standardised_by_the_others(heart_dir):
    task = load("heart_disease_logistic", heart_dir, unseen_clients=1)
    (unseen,) = task.unseen.client_ids
    assert task.unseen.size(unseen) in (303, 261, 46, 130)
    assert unseen not in task.train.client_ids
    x = task.unseen.load(unseen).x
    unknown = x.copy()
    unknown[:, 0] = 0
    model = task.build_model()
    np.testing.assert_array_equal(model(x), model(unknown))
    seen = task.train.load(task.train.client_ids[0]).x
    unknown = seen.copy()
    unknown[:, 0] = 0
    assert np.abs(model(seen) - model(unknown)).max() > 0.01


def test_heart_without_hospitals_is_standardised_as_a_whole(heart_dir):
    task = load(
        "heart_disease_logistic", heart_dir, partition="iid", num_clients=1
    )
    x = task.test.x
    unknown = x.copy()
    unknown[:, 0] = 0
    model = task.build_model()
    np.testing.assert_array_equal(model(x), model(unknown))


def test_heart_exported_takes_columns_by_name(heart, tmp_path):
    weights = experiment.initial_weights(heart, seed=3)
    evaluated = central.Evaluator(heart).evaluate(weights, heart.test)
    saved_model.export(heart, weights, str(tmp_path / "model"))
    serve = served(tmp_path / "model")
    x, y = heart.test.x, heart.test.y
    right = (serve(x)["probabilities"] > 0.5) == (y == 1)
    assert np.mean(right) == pytest.approx(evaluated["accuracy"], abs=1e-6)
    elsewhere = serve(x, ["elsewhere"] * len(x))
    assert np.isfinite(elsewhere["logits"]).all()


def served(path):
    """The exported model at `path`, as a function of patients' `x`."""
    model = tf.saved_model.load(str(path))
    serve = model.signatures["serving_default"]

    def call(x, hospitals=None):
        if hospitals is None:
            known = np.array(["", *heart_disease.HOSPITALS])
            hospitals = known[x[:, 0].astype(int)]
        columns = {
            name: tf.constant(values)
            for name, values in zip(heart_disease.ATTRIBUTES, x[:, 1:].T)
        }
        # The model is named here so that it lives as long as the function.
        assert model is not None
        return serve(hospital=tf.constant(hospitals), **columns)

    return call


@pytest.mark.soak
def test_heart_learns_with_fedadam(heart_dir, tmp_path):
    """One seed of the recorded baseline, five rounds of its fifteen."""
    config = ExperimentConfig(
        data=DataConfig(task="heart_disease_logistic", data_dir=str(heart_dir)),
        clients=ClientConfig(
            clients_per_round=4,
            steps_per_round=100,
            batch_size=4,
            optimizer=OptimizerConfig("client", "sgd", 0.01),
        ),
        server=ServerConfig(
            OptimizerConfig(
                "server", "fedadam", 0.01, beta_2=0.999, epsilon=1e-8
            )
        ),
        run=RunConfig(
            output_dir=str(tmp_path), total_rounds=5, eval_clients="seen"
        ),
    )
    experiment.run(config)
    rows = last_row(tmp_path, every=True)
    assert rows[-1]["eval_loss"] < rows[0]["eval_loss"]
    assert rows[-1]["eval_accuracy"] > 0.65
    spread = [rows[-1][f"seen_accuracy_{s}"] for s in ("p10", "mean", "p90")]
    assert spread == sorted(spread)


def last_row(run_dir, every=False):
    with open(run_dir / "metrics.csv", newline="") as file:
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(file)
        ]
    return rows if every else rows[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "processed.va.data does not exist"),
        ("63,1,4,140,260\n", "line 1, has 5 values where there must be 14"),
        (
            "63,1,4,140,high,0,1,112,1,3,2,?,?,2\n",
            "line 1, has 'high' in column chol",
        ),
        ("63,1,4,140,?,0,1,112,1,3,2,?,?,2\n", "0 patients without missing"),
        ("", "has no rows"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_heart_bad_file_is_named(heart_dir, tmp_path, change, words):
    shutil.copytree(heart_dir, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "processed.va.data"
    path.unlink()
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif change is not None:
        path.write_text(change)
    with pytest.raises(errors.DataError, match=r"processed\.va\.data") as error:
        load("heart_disease_logistic", tmp_path)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["heart_disease_logistic", "tcga_brca_cox"])
def test_task_without_files_says_which(name):
    with pytest.raises(errors.ConfigError, match=f"{name} needs --data_dir"):
        registry.load(name, registry.TASKS)(DataConfig(task=name), seed=0)


def test_brca_has_flambys_patients(brca):
    assert sizes(brca.train) == dict(
        northeast=248, south=156, west=164, midwest=129, europe=129, canada=40
    )
    assert sizes(brca.test_clients) == dict(
        northeast=63, south=40, west=42, midwest=33, europe=33, canada=11
    )
    assert brca.build_model().count_params() == 40
    assert brca.test.x[:, 0].max() == 90
    assert brca.evaluated_names == ["loss", "c_index"]


def test_brca_exported_gives_what_is_evaluated(brca, tmp_path):
    weights = experiment.initial_weights(brca, seed=0)
    evaluated = central.Evaluator(brca).evaluate(weights, brca.test)
    saved_model.export(brca, weights, str(tmp_path / "model"))
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures[
        "serving_default"
    ]
    scores = serve(patient=tf.constant(brca.test.x))["log_hazard"].numpy()
    assert survival.concordance_index(brca.test.y, scores) == pytest.approx(
        evaluated["c_index"]
    )


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("brca.csv", "pid,E,T\na,1,2\n", "has 0 features"),
        ("brca.csv", "pid,E,E\na,1,2\n", "two columns named 'E'"),
        ("brca.csv", "pid,E\na,1\n", "has no column T"),
        ("train_test_split.csv", "pid,fold2\nx,train_0\n", "patient x"),
        ("train_test_split.csv", "pid,fold2\nx,train_9\n", "puts nobody"),
    ],
)
def test_brca_bad_file_is_named(brca_dir, tmp_path, file, text, words):
    shutil.copytree(brca_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / file).unlink()
    (tmp_path / file).write_text(text)
    with pytest.raises(errors.DataError, match=file) as error:
        tcga_brca.load(str(tmp_path))
    assert words in str(error.value)


def five_seeds(flagfile, data_dir, figure, tmp_path, *seeded):
    """The mean over five runs of a flagfile of `figure` of a run directory.

    Flags that end in = are given each run's seed too.
    """
    figures = []
    for seed in range(5):
        run_dir = tmp_path / f"{flagfile}_{seed}"
        done = run_script(
            "train.py",
            f"--flagfile={FLAGFILES / flagfile}.flags",
            f"--data_dir={data_dir}",
            f"--output_dir={run_dir}",
            f"--seed={seed}",
            *(f"{flag}{seed}" for flag in seeded),
        )
        assert done.returncode == 0, done.stderr
        figures.append(figure(run_dir))
    mean, deviation = np.mean(figures), np.std(figures, ddof=1)
    print(f"\n{flagfile}: {mean:.4f} +- {deviation:.4f}", np.round(figures, 4))
    return mean


@pytest.mark.soak
@pytest.mark.parametrize(
    ("flagfile", "published", "deviation"),
    [
        ("heart_fed_avg", 0.685, 0.025),
        ("heart_fed_prox", 0.685, 0.025),
        ("heart_fed_adam", 0.726, 0.012),
        ("heart_fed_yogi", 0.731, 0.011),
        ("heart_fed_adagrad", 0.731, 0.011),
        ("heart_scaffold", 0.684, 0.025),
    ],
)
def test_heart_over_five_seeds(
    heart_dir, tmp_path, flagfile, published, deviation
):
    def figure(run_dir):
        return last_row(run_dir)["seen_accuracy_mean"]

    mean = five_seeds(flagfile, heart_dir, figure, tmp_path)
    assert abs(mean - published) <= 2 * deviation


@pytest.mark.soak
@pytest.mark.parametrize(
    ("flagfile", "published", "deviation"),
    [("heart_dp_eps1", 0.685, 0.049), ("heart_dp_eps0.1", 0.606, 0.109)],
)
def test_heart_with_private_examples_over_five_seeds(
    heart_dir, tmp_path, flagfile, published, deviation
):
    def figure(run_dir):
        return last_row(run_dir)["seen_accuracy_mean"]

    # Noise that can be repeated, so that figures can.
    mean = five_seeds(
        flagfile, heart_dir, figure, tmp_path, "--client_dp_noise_seed="
    )
    assert abs(mean - published) <= 2 * deviation


@pytest.mark.soak
def test_heart_pooled_over_five_seeds(heart, heart_dir, tmp_path):
    def figure(run_dir):
        # Trained on patients standardised as a whole, and tested, as theirs,
        # on those that each hospital standardises by itself.
        model = heart.build_model()
        pooled = tf.keras.models.load_model(run_dir / "saved_model")
        model.set_weights(pooled.get_weights())
        tested = map(heart.test_clients.load, heart.test_clients.client_ids)
        return np.mean(
            [np.mean((model(each.x) > 0) == (each.y == 1)) for each in tested]
        )

    mean = five_seeds("heart_pooled", heart_dir, figure, tmp_path)
    assert abs(mean - 0.735) <= 2 * 0.003


@pytest.mark.soak
@pytest.mark.parametrize(
    ("flagfile", "published", "deviation"),
    [("tcga_brca_fed_avg", 0.732, 0.162), ("tcga_brca_fed_adam", 0.815, 0.023)],
)
def test_brca_over_five_seeds(
    brca_dir, tmp_path, flagfile, published, deviation
):
    def figure(run_dir):
        return last_row(run_dir)["seen_c_index_mean"]

    mean = five_seeds(flagfile, brca_dir, figure, tmp_path)
    assert abs(mean - published) <= 2 * deviation
