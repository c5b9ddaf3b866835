"""Every name that a flag may select, and where it lives.

One line a name; the module behind it is imported only when it is asked for,
so that a mistyped flag is answered without importing TensorFlow. To add a
dataset, a model or an algorithm, write its module and add its line.
"""

import importlib
from collections.abc import Mapping
from typing import Any

TASKS = {
    "csv": "tff_pipeline.tasks.table:csv",
    "npz": "tff_pipeline.tasks.arrays:npz",
    "sqlite": "tff_pipeline.tasks.sqlite:sqlite",
    "digits_2nn": "tff_pipeline.tasks.digits:digits_2nn",
    "digits_cnn": "tff_pipeline.tasks.digits:digits_cnn",
    "mnist_2nn": "tff_pipeline.tasks.mnist:mnist_2nn",
    "mnist_cnn": "tff_pipeline.tasks.mnist:mnist_cnn",
    "femnist_cnn": "tff_pipeline.tasks.femnist:femnist_cnn",
    "femnist_autoencoder": "tff_pipeline.tasks.femnist:femnist_autoencoder",
    "shakespeare_lstm": "tff_pipeline.tasks.shakespeare:shakespeare_lstm",
    "shakespeare_next_char": (
        "tff_pipeline.tasks.shakespeare:shakespeare_next_char"
    ),
    "stackexchange_tags": "tff_pipeline.tasks.stackexchange:stackexchange_tags",
    "stackexchange_next_word": (
        "tff_pipeline.tasks.stackexchange:stackexchange_next_word"
    ),
    "ner_tagger": "tff_pipeline.tasks.ner:ner_tagger",
    "spoken_digits_cnn": "tff_pipeline.tasks.spoken_digits:spoken_digits_cnn",
    "heart_disease_logistic": (
        "tff_pipeline.tasks.heart_disease:heart_disease_logistic"
    ),
    "tcga_brca_cox": "tff_pipeline.tasks.tcga_brca:tcga_brca_cox",
    "credit_mlp": "tff_pipeline.tasks.credit:credit_mlp",
    "credit_default_mlp": "tff_pipeline.tasks.credit:credit_default_mlp",
    "adult_mlp": "tff_pipeline.tasks.credit:adult_mlp",
    "load_forecast_gru": "tff_pipeline.tasks.load_forecast:load_forecast_gru",
    "movielens_mf": "tff_pipeline.tasks.movielens:movielens_mf",
    "synthetic_iid": "tff_pipeline.tasks.synthetic:synthetic_iid",
    "synthetic_0_0": "tff_pipeline.tasks.synthetic:synthetic_0_0",
    "synthetic_0.5_0.5": "tff_pipeline.tasks.synthetic:synthetic_05_05",
    "synthetic_1_1": "tff_pipeline.tasks.synthetic:synthetic_1_1",
    "tff_emnist": "tff_pipeline.tasks.tff_baselines:tff_emnist",
    "tff_cifar100": "tff_pipeline.tasks.tff_baselines:tff_cifar100",
    "tff_shakespeare": "tff_pipeline.tasks.tff_baselines:tff_shakespeare",
    "tff_stackoverflow_tag": (
        "tff_pipeline.tasks.tff_baselines:tff_stackoverflow_tag"
    ),
    "tff_stackoverflow_word": (
        "tff_pipeline.tasks.tff_baselines:tff_stackoverflow_word"
    ),
}

PARTITIONS = {
    "iid": "tff_pipeline.datasets.federation.partition:iid",
    "shards": "tff_pipeline.datasets.federation.partition:shards",
    "dirichlet": "tff_pipeline.datasets.federation.partition:dirichlet",
    "quantity": "tff_pipeline.datasets.federation.partition:quantity",
    "label_k": "tff_pipeline.datasets.federation.partition:label_k",
    "natural": "tff_pipeline.datasets.federation.partition:natural",
}

OPTIMIZERS = {
    "sgd": "tff_pipeline.optimizers.build:sgd",
    "momentum": "tff_pipeline.optimizers.build:momentum",
    "adam": "tff_pipeline.optimizers.build:adam",
    "adamw": "tff_pipeline.optimizers.build:adamw",
    "fedadam": "tff_pipeline.optimizers.build:fedadam",
    "yogi": "tff_pipeline.optimizers.build:yogi",
    "adagrad": "tff_pipeline.optimizers.build:adagrad",
    "rmsprop": "tff_pipeline.optimizers.build:rmsprop",
}

AGGREGATORS = {
    "mean": "tff_pipeline.aggregators.mean:WeightedMeanFactory",
    "dp_gaussian": "tff_pipeline.privacy.mechanisms:dp_gaussian",
    "dp_gaussian_adaptive": (
        "tff_pipeline.privacy.mechanisms:dp_gaussian_adaptive"
    ),
    "dp_tree": "tff_pipeline.privacy.mechanisms:dp_tree",
    "dp_tree_restart": "tff_pipeline.privacy.mechanisms:dp_tree_restart",
    "dp_matrix": "tff_pipeline.privacy.mechanisms:dp_matrix",
    "dp_local": "tff_pipeline.privacy.mechanisms:dp_local",
    "dp_distributed": "tff_pipeline.privacy.mechanisms:dp_distributed",
}

SAMPLERS = {
    "uniform": "tff_pipeline.cohorts.samplers:UniformSampler",
    "poisson": "tff_pipeline.cohorts.samplers:PoissonSampler",
    "shuffled": "tff_pipeline.cohorts.samplers:ShuffledSampler",
    "min_separation": "tff_pipeline.cohorts.samplers:SeparatedSampler",
}

FORMATS = {
    "saved_model": "tff_pipeline.export.formats:saved",
    "keras": "tff_pipeline.export.formats:keras",
    "tflite": "tff_pipeline.export.tflite:float32",
    "tflite_float16": "tff_pipeline.export.tflite:float16",
    "tflite_dynamic_int8": "tff_pipeline.export.tflite:dynamic_int8",
    "tflite_int8": "tff_pipeline.export.tflite:int8",
    "onnx": "tff_pipeline.export.onnx:write",
    "tfjs": "tff_pipeline.export.tfjs:write",
}

RUNTIMES = {
    "in_process": "tff_pipeline.runtime.in_process:InProcessContext",
    "local": "tff_pipeline.runtime.local:LocalWorker",
}


def load(name: str, known: Mapping[str, str]) -> Any:
    """Imports and returns what the known `name` stands for."""
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
