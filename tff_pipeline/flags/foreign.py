"""Answers flags and names that other programs have, with the ones here.

Whoever comes from another framework types --lr or --algorithm=fedprox. A name
that is not here gets what does its work, or a plain no.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tff_pipeline import errors

# A flag elsewhere -> flags here that say the same, for one command or another.
_FLAGS: Mapping[str, tuple[str, ...]] = {
    "lr": ("client_learning_rate",),
    "learning_rate": ("client_learning_rate", "server_learning_rate"),
    "client_lr": ("client_learning_rate",),
    "local_lr": ("client_learning_rate",),
    "eta": ("client_learning_rate",),
    "server_lr": ("server_learning_rate",),
    "global_lr": ("server_learning_rate",),
    "epochs": ("client_epochs_per_round", "total_rounds"),
    "num_epochs": ("client_epochs_per_round", "total_rounds"),
    "local_epochs": ("client_epochs_per_round",),
    "local_ep": ("client_epochs_per_round",),
    "client_epochs": ("client_epochs_per_round",),
    "local_steps": ("client_steps_per_round",),
    "steps": ("client_steps_per_round",),
    "rounds": ("total_rounds", "rounds"),
    "num_rounds": ("total_rounds", "rounds"),
    "n_rounds": ("total_rounds", "rounds"),
    "comm_round": ("total_rounds",),
    "comm_rounds": ("total_rounds",),
    "global_rounds": ("total_rounds",),
    "iterations": ("total_rounds",),
    "batch_size": ("client_batch_size", "max_batch_size"),
    "local_bs": ("client_batch_size",),
    "local_batch_size": ("client_batch_size",),
    "bs": ("client_batch_size",),
    "b": ("client_batch_size",),
    "clients": ("num_clients", "clients_per_round", "cohort_size"),
    "num_users": ("num_clients", "population"),
    "n_clients": ("num_clients", "population"),
    "client_num_in_total": ("num_clients",),
    "num_clients": ("population",),
    "clients_per_round": ("cohort_size",),
    "client_num_per_round": ("clients_per_round", "cohort_size"),
    "cohort_size": ("clients_per_round",),
    "population": ("num_clients",),
    "total_rounds": ("rounds",),
    "frac": ("clients_per_round", "cohort_size"),
    "fraction": ("clients_per_round", "cohort_size"),
    "fraction_fit": ("clients_per_round",),
    "participation": ("clients_per_round",),
    "sample_rate": ("clients_per_round", "cohort_size"),
    "min_fit_clients": ("clients_per_round",),
    "dropout_rate": ("device_dropout",),
    "drop_percent": ("stragglers",),
    "straggler_fraction": ("stragglers",),
    "overcommitment": ("over_selection",),
    "overcommit": ("over_selection",),
    "deadline": ("round_deadline_s",),
    "round_timeout": ("round_deadline_s",),
    "class_weight": ("class_weights",),
    "pos_weight": ("class_weights",),
    "scale_pos_weight": ("class_weights",),
    "optimizer": ("client_optimizer", "server_optimizer"),
    "opt": ("client_optimizer", "server_optimizer"),
    "momentum": ("client_momentum", "server_momentum"),
    "weight_decay": ("client_adamw_weight_decay",),
    "wd": ("client_adamw_weight_decay",),
    "lr_decay": ("client_lr_decay",),
    "lr_scheduler": ("client_lr_schedule",),
    "scheduler": ("client_lr_schedule",),
    "warmup": ("client_lr_warmup_rounds",),
    "warmup_rounds": ("client_lr_warmup_rounds",),
    "dataset": ("task", "data_dir"),
    "data": ("data_dir", "input"),
    "data_path": ("data_dir",),
    "path": ("data_dir", "input", "model"),
    "csv": ("data_dir", "input"),
    "file": ("data_dir", "input"),
    "input": ("data_dir",),
    "model": ("task", "model_fn", "run_dir"),
    "model_name": ("task", "model_fn"),
    "model_name_or_path": ("init_from",),
    "base_model": ("init_from",),
    "freeze_layers": ("freeze",),
    "frozen_layers": ("freeze",),
    "pretrained": ("init_from",),
    "arch": ("task", "model_fn"),
    "model_dir": ("output_dir", "model", "run_dir"),
    "target": ("label_column",),
    "target_column": ("label_column",),
    "label": ("label_column",),
    "y": ("label_column",),
    "client": ("client_column",),
    "client_id": ("client_column",),
    "group": ("client_column",),
    "features": ("feature_columns",),
    "iid": ("partition",),
    "noniid": ("partition",),
    "non_iid": ("partition",),
    "alpha": ("dirichlet_alpha",),
    "dir_alpha": ("dirichlet_alpha",),
    "beta": ("dirichlet_alpha",),
    "concentration": ("dirichlet_alpha",),
    "test_size": ("test_fraction",),
    "test_split": ("test_fraction",),
    "val_split": ("validation_fraction",),
    "validation_split": ("validation_fraction",),
    "val_fraction": ("validation_fraction",),
    "val_size": ("validation_fraction",),
    "valid_fraction": ("validation_fraction",),
    "early_stopping": ("patience",),
    "early_stop": ("patience",),
    "early_stopping_patience": ("patience",),
    "early_stopping_rounds": ("patience",),
    "monitor": ("target_metric",),
    "metric_for_best_model": ("target_metric",),
    "strategy": ("algorithm", "aggregator"),
    "aggregation": ("aggregator",),
    "compressor": ("compression",),
    "quantization": ("compression",),
    "quantization_bits": ("compression_bits",),
    "compress_ratio": ("compression_fraction",),
    "compression_ratio": ("compression_fraction",),
    "sparsity": ("prune_to",),
    "final_sparsity": ("prune_to",),
    "target_sparsity": ("prune_to",),
    "pruning_rate": ("prune_to",),
    "epsilon": ("dp_target_epsilon", "target_epsilon"),
    "target_epsilon": ("dp_target_epsilon",),
    "dp_epsilon": ("dp_target_epsilon",),
    "delta": ("dp_delta",),
    "sigma": ("dp_noise_multiplier", "noise_multiplier"),
    "noise": ("dp_noise_multiplier", "noise_multiplier"),
    "noise_multiplier": ("dp_noise_multiplier",),
    "dp_target_epsilon": ("target_epsilon",),
    "dp_noise_multiplier": ("noise_multiplier",),
    "dp_delta": ("delta",),
    "clip": ("dp_clip", "clip_norm"),
    "max_grad_norm": ("dp_clip", "client_dp_clip"),
    "l2_norm_clip": ("dp_clip", "client_dp_clip"),
    "clipping_norm": ("dp_clip", "clip_norm"),
    "random_seed": ("seed",),
    "manual_seed": ("seed",),
    "random_state": ("seed",),
    "out": ("output_dir", "output"),
    "output": ("output_dir",),
    "output_dir": ("output", "run_dir"),
    "save_dir": ("output_dir",),
    "save_path": ("output_dir",),
    "log_dir": ("output_dir",),
    "logdir": ("output_dir",),
    "run": ("run_dir",),
    "run_name": ("output_dir",),
    "checkpoint": ("run_dir", "round"),
    "ckpt": ("run_dir", "round"),
    "eval_every": ("rounds_per_eval",),
    "test_every": ("rounds_per_eval",),
    "save_every": ("rounds_per_checkpoint",),
    "threads": ("client_threads",),
    "num_workers": ("client_threads",),
    "workers": ("client_threads",),
    "n_jobs": ("client_threads",),
    "config": ("flagfile",),
    "config_file": ("flagfile",),
    "force": ("overwrite",),
    "augmentation": ("augment",),
    "loggers": ("sinks",),
    "saved_model": ("model",),
    "model_path": ("model",),
    "address": ("host",),
    "bind": ("host",),
}
# Flags of what goes without saying, or is not done here.
_NONE_NEEDED: Mapping[str, str] = {
    "gpu": "a GPU that TensorFlow sees is used; CUDA_VISIBLE_DEVICES hides it",
    "device": "a GPU that TensorFlow sees is used; CUDA_VISIBLE_DEVICES hides "
    "it",
    "cuda": "a GPU that TensorFlow sees is used; CUDA_VISIBLE_DEVICES hides it",
    "resume": "the same command goes on with the run in --output_dir",
    "mu": "it is written --fed_prox_mu, for FedProx: --algorithm=fed_prox",
    "loss": "the task chooses the loss; choose --task, or --task_type",
    "metrics": "the task chooses the metrics; choose --task",
    "wandb": "--sinks has what is here",
    "verbose": "--verbosity=0 shows TensorFlow's messages",
    "debug": "--verbosity=0 shows TensorFlow's messages",
    "quiet": "nothing but what a run says is printed already",
}

_FED_AVG = "use --algorithm=fed_avg"
_NEAR = f"{_FED_AVG} with fewer --client_epochs_per_round"
_ROBUST = "choose by docs/robustness.md, such as trimmed_mean or nnm+krum"
_TEXT_OF_TASK = "bring it as --task=npz --data_dir=own.npz"
# Flag -> a name elsewhere, its letters and digits alone -> what to use.
_METHODS: Mapping[str, Mapping[str, str]] = {
    "algorithm": {
        "fedavg": "it is written --algorithm=fed_avg",
        "federatedaveraging": "it is written --algorithm=fed_avg",
        "fedsgd": "it is written --algorithm=fed_sgd",
        **dict.fromkeys(
            ("dfedavg", "dsgd", "decentralizedsgd", "peertopeer"),
            "it is written --algorithm=gossip",
        ),
        "localsgd": f"{_FED_AVG} with --client_steps_per_round",
        "fedavgm": f"{_FED_AVG} --server_optimizer=momentum",
        "fedmom": f"{_FED_AVG} --server_optimizer=momentum",
        "fedopt": f"{_FED_AVG} with another --server_optimizer",
        "fedadam": f"{_FED_AVG} --server_optimizer=fedadam",
        "fedyogi": f"{_FED_AVG} --server_optimizer=fedyogi",
        "fedadagrad": f"{_FED_AVG} --server_optimizer=fedadagrad",
        "fedprox": "it is written --algorithm=fed_prox",
        "feddyn": "it is written --algorithm=fed_dyn",
        "moon": _NEAR,
        "mimelite": "it is written --algorithm=mime_lite",
        "fednova": "it is written --algorithm=fed_nova",
        "fedbn": f"{_FED_AVG}, with models without batch normalization",
        "perfedavg": "fine_tune comes nearest",
        "finetune": "it is written --algorithm=fine_tune",
        "pfedme": "ditto comes nearest",
        "apfl": "ditto comes nearest",
        "fedper": "it is written --algorithm=fed_per",
        "fedrep": "it is written --algorithm=fed_rep",
        "fedrecon": "it is written --algorithm=fed_recon",
        "fedasync": "fed_buff with --buffer_size=1 comes nearest",
        "fedbuff": "it is written --algorithm=fed_buff",
        "qffl": f"{_FED_AVG} --client_weighting=uniform",
        "afl": f"{_FED_AVG} --client_weighting=uniform",
        "dpfedavg": f"{_FED_AVG} --aggregator=dp_gaussian",
        "dpsgd": f"{_FED_AVG} --client_dp_target_epsilon, DP-SGD on clients",
        "dpftrl": f"{_FED_AVG} --aggregator=dp_tree, or dp_matrix",
    },
    "aggregator": {
        "fedavg": "use --aggregator=mean",
        "average": "use --aggregator=mean",
        "weightedmean": "use --aggregator=mean",
        "sum": "use --aggregator=mean",
        "dp": "use --aggregator=dp_gaussian",
        "dpfedavg": "use --aggregator=dp_gaussian",
        "gaussian": "use --aggregator=dp_gaussian",
        "dpadaptive": "use --aggregator=dp_gaussian_adaptive",
        "dpftrl": "use --aggregator=dp_tree, or dp_matrix",
        "ddp": "use --aggregator=dp_distributed",
        "ldp": "use --aggregator=dp_local",
        **dict.fromkeys(
            ("secagg", "secaggplus", "secureaggregation", "bonawitz"),
            "use --aggregator=secure_mean with --secure_aggregation=bonawitz",
        ),
        "trimmedmean": "it is written --aggregator=trimmed_mean",
        "multikrum": "it is written --aggregator=multi_krum",
        "coordinatemedian": "use --aggregator=median",
        "geometricmedian": "it is written --aggregator=geometric_median",
        "rfa": "use --aggregator=geometric_median",
        **dict.fromkeys(
            ("cclip", "centeredclip", "centeredclipping"),
            "it is written --aggregator=centered_clipping",
        ),
        **dict.fromkeys(
            ("zeno", "robust", "byzantine", "fltrust", "faba"), _ROBUST
        ),
        **dict.fromkeys(
            ("normbound", "normbounding", "normclipping", "clipping"),
            "use --aggregator=clip+mean --clip_norm=1",
        ),
    },
    "client_optimizer": {
        "nesterov": "momentum comes nearest",
        "sgdm": "momentum comes nearest",
        "lamb": "adamw comes nearest",
        "lars": "momentum comes nearest",
        "lion": "adamw comes nearest",
        "nadam": "adam comes nearest",
        "amsgrad": "adam comes nearest",
        "adafactor": "adamw comes nearest",
        "ftrl": "adagrad comes nearest",
        "adadelta": "rmsprop comes nearest",
    },
    "partition": {
        "noniid": "use shards or dirichlet",
        "pathological": "use shards, or label_k",
        "lda": "use dirichlet",
        "dir": "use dirichlet",
        "labelskew": "use dirichlet, or label_k",
        "quantityskew": "use quantity",
        "powerlaw": "use quantity",
        "uniform": "use iid",
        "random": "use iid",
        "homo": "use iid",
        "hetero": "use dirichlet",
        "user": "use natural",
        "writer": "use natural",
    },
    "task": {
        "table": "use --task=csv",
        "tabular": "use --task=csv",
        "tsv": "use --task=csv, which reads .tsv too",
        "parquet": "use --task=csv, which reads .parquet too",
        "excel": "save the sheet as CSV and use --task=csv",
        "xlsx": "save the sheet as CSV and use --task=csv",
        "numpy": "use --task=npz",
        "images": "use --task=sqlite after prepare_data",
        "imagefolder": "use --task=sqlite after prepare_data",
        "jsonl": "use --task=sqlite after prepare_data",
        "leaf": "use --task=sqlite after prepare_data",
        "emnist": "use --task=tff_emnist, or femnist_cnn",
        "femnist": "use --task=femnist_cnn",
        "cifar100": "use --task=tff_cifar100",
        "cifar10": _TEXT_OF_TASK,
        "svhn": _TEXT_OF_TASK,
        "fashionmnist": _TEXT_OF_TASK,
        "celeba": "use --task=sqlite after prepare_data",
        "shakespeare": "use --task=shakespeare_lstm, or tff_shakespeare",
        "stackoverflow": "use --task=tff_stackoverflow_word, or "
        "tff_stackoverflow_tag",
        "reddit": "use --task=stackexchange_next_word",
        "movielens": "use --task=movielens_mf",
        "adult": "use --task=adult_mlp",
        "heart": "use --task=heart_disease_logistic",
        "heartdisease": "use --task=heart_disease_logistic",
        "ner": "use --task=ner_tagger",
        "conll2003": "use --task=ner_tagger",
        "synthetic": "use --task=synthetic_1_1, or another synthetic_...",
    },
}


def unknown_flag(name: str, known: Collection[str]) -> errors.ConfigError:
    """Makes the error for a flag that there is not.

    Example:
      >>> print(unknown_flag("lr", ["seed", "client_learning_rate"]))
      --lr is not a flag here; use --client_learning_rate, see --help.

    Args:
      name: What was typed, without its dashes at the start.
      known: The names of the flags that there are.
    """
    plain = name.replace("-", "_").lower()
    there = {*known, "flagfile", "verbosity"}
    if plain in there:
        advice = f"it is written --{plain}"
    elif ours := [each for each in _FLAGS.get(plain, ()) if each in there]:
        advice = f"use {_or(ours)}"
    elif plain in _NONE_NEEDED:
        advice = _NONE_NEEDED[plain]
    elif near := difflib.get_close_matches(plain, sorted(there), 2, 0.7):
        advice = f"did you mean {_or(near)}?"
        return errors.ConfigError(f"--{name} is not a flag here; {advice}")
    else:
        return errors.ConfigError(
            f"--{name} is not a flag here; --help and --helpfull list those "
            "that are."
        )
    return errors.ConfigError(
        f"--{name} is not a flag here; {advice}, see --help."
    )


def check_value(
    flag: str, value: Any, is_allowed: Callable[[Any], bool]
) -> None:
    """Checks that a flag's value is no name that other programs have.

    Example:
      >>> check_value("algorithm", "FedAdam", {"fed_avg"}.__contains__)
      Traceback (most recent call last):
      tff_pipeline.errors.ConfigError: --algorithm=FedAdam is not here; use \
--algorithm=fed_avg --server_optimizer=fedadam.

    Args:
      flag: The flag's name.
      value: Its value.
      is_allowed: Tells of a value whether it is one of ours.

    Raises:
      ConfigError: If it is known elsewhere; the message says what to use.
        Other mistakes are left to those who know what is allowed.
    """
    known = _METHODS.get(flag.replace("server_optimizer", "client_optimizer"))
    if known is None or not isinstance(value, str) or is_allowed(value):
        return
    plain = "".join(filter(str.isalnum, value)).lower()
    if plain in known:
        raise errors.ConfigError(
            f"--{flag}={value} is not here; {known[plain]}."
        )


def _or(names: Collection[str]) -> str:
    return " or ".join(f"--{name}" for name in names)
