"""Every task with data, real or made, and a model that has learned a bit."""

import csv

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tests.testing.data import data_folder
from tff_pipeline import registry
from tff_pipeline.config.data import DataConfig


def csv_heart(folder):
    path = folder / "heart.csv"
    draw = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["age", "sex", "place", "ill"])
        for _ in range(600):
            age, sex = draw.integers(20, 90), draw.choice(["m", "f"])
            ill = "yes" if age + 20 * (sex == "m") > 65 else "no"
            rows.writerow([age, sex, draw.choice(["a", "b", ""]), ill])
    return {"data_dir": str(path), "label_column": "ill"}


def arrays(folder):
    draw = np.random.default_rng(0)
    x = draw.normal(size=[600, 6]).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    np.savez(folder / "data.npz", x=x, y=y)
    return {"data_dir": str(folder / "data.npz")}


SYNTHETIC = {"tff_data": "synthetic", "partition": "natural"}
NATURAL = {"partition": "natural"}
IID = {"partition": "iid", "num_clients": 4}
# Task -> folder of ../shared/data, or a function that makes data; options.
TASKS = {
    "csv": (csv_heart, IID),
    "npz": (arrays, IID),
    "digits_2nn": (None, {"num_clients": 4}),
    "digits_cnn": (None, {"num_clients": 4}),
    "mnist_2nn": ("mnist", {}),
    "mnist_cnn": ("mnist", {}),
    "rotated_mnist_mlp": ("mnist", NATURAL),
    "femnist_cnn": ("femnist", NATURAL),
    "femnist_autoencoder": ("femnist", NATURAL),
    "shakespeare_lstm": ("shakespeare", NATURAL),
    "shakespeare_next_char": ("shakespeare", NATURAL),
    "stackexchange_tags": ("stackexchange", NATURAL),
    "stackexchange_next_word": ("stackexchange", NATURAL),
    "ner_tagger": ("btc", NATURAL),
    "spoken_digits_cnn": ("fsdd", NATURAL),
    "heart_disease_logistic": ("heart_disease", NATURAL),
    "tcga_brca_cox": ("tcga_brca", NATURAL),
    "credit_mlp": ("german_credit", IID),
    "load_forecast_gru": ("ett", NATURAL),
    "movielens_mf": (None, NATURAL),
    "synthetic_iid": (None, NATURAL),
    "synthetic_1_1": (None, NATURAL),
    "tff_emnist": (None, SYNTHETIC),
    "tff_cifar100": (None, SYNTHETIC),
    "tff_shakespeare": (None, SYNTHETIC),
    "tff_stackoverflow_tag": (None, SYNTHETIC | {"max_test_examples": 300}),
    "tff_stackoverflow_word": (None, SYNTHETIC | {"max_test_examples": 300}),
}
# Of training, where it takes more until answers are clear.
STEPS = {
    "femnist_cnn": 300,
    "spoken_digits_cnn": 600,
    "tff_cifar100": 200,
    "tff_stackoverflow_word": 300,
}


def task_of(name, folder):
    source, options = TASKS[name]
    if callable(source):
        options = {**options, **source(folder)}
    elif source is not None:
        options = {**options, "data_dir": str(data_folder(source))}
    config = DataConfig(task=name, **options)
    return registry.load(name, registry.TASKS)(config, seed=0)


def learned(task):
    """Weights that some steps were taken with, so that outputs differ."""
    tf.keras.utils.set_random_seed(1)
    model = task.build_model()
    model.compile(tf.keras.optimizers.legacy.Adam(0.003), task.loss_fn())
    some = [task.train.load(name) for name in task.train.client_ids[:10]]
    x, y = (np.concatenate([getattr(e, k) for e in some]) for k in "xy")
    draw = np.random.default_rng(1)
    for _ in range(STEPS.get(task.name, 60)):
        rows = draw.integers(len(x), size=20)
        model.train_on_batch(x[rows], y[rows])
    weights = tff.learning.models.ModelWeights.from_model(model)
    return tf.nest.map_structure(lambda value: value.numpy(), weights)
