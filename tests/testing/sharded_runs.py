"""Small runs of every algorithm and aggregator, to compare runtimes by bits."""

from tff_pipeline import registry
from tff_pipeline.config import (
    AggregationConfig,
    AlgorithmConfig,
    ClientConfig,
    CompressionConfig,
    ExperimentConfig,
    OptimizerConfig,
    PrivacyConfig,
    PruningConfig,
    RunConfig,
)
from tff_pipeline.config.aggregation import ROBUST
from tff_pipeline.config.data import DataConfig
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.state_files import digest, flatten

_PRIVATE = {
    "dp_gaussian": ({"dp_clip": 0.5}, "poisson"),
    "dp_gaussian_adaptive": (
        {"dp_initial_clip": 0.5, "dp_count_stddev": 1.0},
        "poisson",
    ),
    "dp_tree": ({"dp_clip": 0.5}, "shuffled"),
    "dp_tree_restart": ({"dp_clip": 0.5}, "shuffled"),
    "dp_matrix": ({"dp_clip": 0.5}, "min_separation"),
    "dp_local": ({"dp_clip": 0.5}, "uniform"),
    "dp_distributed": ({"dp_clip": 0.5}, "min_separation"),
}
_OPTIONS = {
    "centered_clipping": {"centered_clip_norm": 1.0},
    "secure_mean": {"secure_mean_max_weight": 200.0},
    "clip+mean": {"clip_norm": 1.0},
}


def private(name):
    """The groups of a private run, whose noise is drawn from a seed."""
    options, sampling = _PRIVATE[name]
    return {
        "aggregation": AggregationConfig(name),
        "privacy": PrivacyConfig(
            dp_noise_multiplier=0.5,
            dp_delta=1e-3,
            dp_noise_seed=1,
            **options,
        ),
        "sampling": sampling,
    }


# Case -> the groups of its config that differ from plain federated averaging.
CASES = {
    **{
        name: {"algorithm": AlgorithmConfig(name)}
        for name in registry.ALGORITHMS
    },
    **{
        name: {"aggregation": AggregationConfig(name, **_OPTIONS.get(name, {}))}
        for name in (
            "secure_mean",
            "clip+mean",
            "clip_quantile+mean",
            "zeroing+mean",
            "nnm+median",
            "bucketing+trimmed_mean",
            *(name for name in ROBUST if name in registry.AGGREGATORS),
        )
    },
    **{name: private(name) for name in _PRIVATE},
    "compression": {
        "compression": CompressionConfig("uniform", down="uniform")
    },
    "error feedback": {"compression": CompressionConfig("top_k")},
    "pruning": {"pruning": PruningConfig(0.5)},
    "private examples": {
        "clients": {
            **{"dp_target_epsilon": 8.0, "dp_delta": 1e-3, "dp_clip": 1.0},
            **{"dp_noise_seed": 1, "steps_per_round": 3},
        }
    },
}


def config_of(case, path, rounds=3, clients=11, runtime="in_process", **run):
    """A run of 24 clients, in shards of two."""
    groups = dict(CASES[case])
    options = {
        "sampling": groups.pop("sampling", None),
        **groups.pop("clients", {}),
    }
    return ExperimentConfig(
        data=DataConfig("digits_2nn", partition="dirichlet", num_clients=24),
        clients=ClientConfig(
            clients_per_round=clients,
            batch_size=16,
            optimizer=OptimizerConfig("client", "sgd", 0.1),
            **options,
        ),
        run=RunConfig(
            output_dir=str(path),
            total_rounds=rounds,
            rounds_per_checkpoint=rounds,
            rounds_per_eval=rounds,
            clients_per_shard=2,
            sinks="csv",
            finishers="none",
            runtime=runtime,
            **run,
        ),
        **groups,
    )


def end(path):
    """What a run ended with: the server's state, kept states, and weights."""
    store = CheckpointStore(str(path / "checkpoints"))
    folder = store.path(store.newest())
    found = {}
    for name in ("state.npz", "kept.npz"):
        try:
            with open(f"{folder}/{name}", "rb") as file:
                found[name] = file.read()
        except FileNotFoundError:
            continue
    _, weights = store.load_weights()
    return found, digest(flatten(weights))
