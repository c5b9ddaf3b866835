"""Every name that a flag may select, and where it lives.

One line a name; the module behind it is imported only when it is asked for,
so that a mistyped flag is answered without importing TensorFlow. To add a
dataset, a model or an algorithm, write its module and add its line.
"""

import importlib
from collections.abc import Mapping
from typing import Any

TASKS = {
    "digits_2nn": "tff_pipeline.tasks.digits:digits_2nn",
    "digits_cnn": "tff_pipeline.tasks.digits:digits_cnn",
    "mnist_2nn": "tff_pipeline.tasks.mnist:mnist_2nn",
    "mnist_cnn": "tff_pipeline.tasks.mnist:mnist_cnn",
}

PARTITIONS = {
    "iid": "tff_pipeline.datasets.partition:iid",
    "shards": "tff_pipeline.datasets.partition:shards",
    "dirichlet": "tff_pipeline.datasets.partition:dirichlet",
    "natural": "tff_pipeline.datasets.partition:natural",
}

OPTIMIZERS = {
    "sgd": "tff_pipeline.algorithms.optimizers:sgd",
    "momentum": "tff_pipeline.algorithms.optimizers:momentum",
    "adam": "tff_pipeline.algorithms.optimizers:adam",
    "adamw": "tff_pipeline.algorithms.optimizers:adamw",
    "yogi": "tff_pipeline.algorithms.optimizers:yogi",
    "adagrad": "tff_pipeline.algorithms.optimizers:adagrad",
    "rmsprop": "tff_pipeline.algorithms.optimizers:rmsprop",
}

RUNTIMES = {
    "in_process": "tff_pipeline.runtime.in_process:InProcessContext",
    "local": "tff_pipeline.runtime.local:LocalWorker",
}


def load(name: str, known: Mapping[str, str]) -> Any:
    """Imports and returns what the known `name` stands for."""
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
