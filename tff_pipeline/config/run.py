"""Configures a run: its length, what it keeps, and where it computes."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

RUNTIME_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # By default as many threads as there are processors.
    "in_process": {"client_threads": None, "clients_per_shard": 4},
    "local": {},
    # By default workers read the driver's --data_dir.
    "ray": {
        "clients_per_shard": 4,
        "ray_address": "local",
        "ray_workers": 2,
        "min_workers": 1,
        "max_shard_tries": 5,
        "shard_seconds": 600.0,
        "worker_data_dir": None,
    },
}
# The runtimes that give the same bits, so that a run may go on in another.
SAME_BITS = ("in_process", "ray")
FAILURE_POLICIES = {
    "retry": "what may pass is tried again; an update that is not finite is "
    "skipped",
    "skip": "the model stays as it was",
    "stop": "so does training",
}
# Groups of clients that are evaluated; columns of metrics.csv begin with them.
SEEN, UNSEEN = "seen", "unseen"
EVAL_CLIENTS = {
    SEEN: "clients that train",
    UNSEEN: "clients that never train",
    "both": "either",
}


@dataclasses.dataclass(frozen=True)
class RunConfig(fields.Group):
    """Options of a run's length, of what it keeps, and where it computes.

    Its fields are flags, whose help says what they mean.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    output_dir: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names the folder for the run's results; a run that is there "
        "already is resumed.",
        identity=False,
    )
    total_rounds: int = fields.field(
        100,
        fields.COUNT,
        "Sets how many rounds are trained in all.",
        identity=False,
    )
    rounds_per_eval: int = fields.field(
        1,
        fields.COUNT,
        "Evaluates on the test set after every so many rounds, and after "
        "the last.",
    )
    eval_clients: Optional[str] = fields.field(
        None,
        fields.known(EVAL_CLIENTS),
        "Evaluates client by client as well: on clients that train (seen), "
        "on those of --unseen_clients (unseen), or on both. Default: no "
        "client.",
    )
    rounds_per_checkpoint: int = fields.field(
        10,
        fields.COUNT,
        "Saves a checkpoint after every so many rounds, and after the last;"
        " a killed run loses no more rounds than this.",
        identity=False,
    )
    keep_checkpoints: int = fields.field(
        5,
        fields.NATURAL,
        "Keeps this many of the newest checkpoints; 0 keeps all.",
        identity=False,
    )
    on_failed_round: str = fields.field(
        "retry",
        fields.known(FAILURE_POLICIES),
        "Chooses what follows a round that fails: retry (again, where that "
        "may help), skip (the model stays as it was), stop.",
        identity=False,
    )
    max_round_retries: int = fields.field(
        2,
        fields.NATURAL,
        "Sets how often a failed round is tried again.",
        identity=False,
    )
    max_consecutive_failures: int = fields.field(
        3,
        fields.COUNT,
        "Stops the run when this many rounds in a row were lost.",
        identity=False,
    )
    signing_key: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names a PEM file with an Ed25519 private key, with which the round"
        " log is signed. Default: no signature.",
        identity=False,
    )
    seed: int = fields.field(
        0,
        fields.SEED,
        "Seeds the first weights, the partition, the cohorts and all that "
        "clients draw; the same seed gives the same run.",
    )
    runtime: str = fields.field(
        "in_process",
        fields.known(registry.RUNTIMES),
        "Chooses where computations run: in this process (in_process), in "
        "TFF's own worker process (local), or, for the clients' part, on the "
        "machines of a Ray cluster (ray), with the same results as "
        "in_process.",
    )
    client_threads: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many clients train at the same time. Default: as many as "
        "there are processors. Only for in_process.",
        identity=False,
    )
    clients_per_shard: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many clients of a round are summed up on their own before "
        "the sums are added; it decides the last bits of results. Default: 4. "
        "Only for in_process and ray.",
    )
    ray_address: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the Ray cluster to join, such as 10.0.0.1:6379; local starts "
        "one on this machine. Default: local. Only for ray.",
        identity=False,
    )
    ray_workers: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many workers are asked for, of one processor each. Default: "
        "2. Only for ray.",
        identity=False,
    )
    min_workers: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Waits for this many workers before clients train, and ends if they do "
        "not come. Default: 1. Only for ray.",
        identity=False,
    )
    max_shard_tries: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Ends the run when this many workers failed on the same clients of a "
        "round. Default: 5. Only for ray.",
        identity=False,
    )
    shard_seconds: Optional[float] = fields.field(
        None,
        fields.POSITIVE,
        "Gives a worker up that takes longer than this for "
        "--clients_per_shard clients. Default: 600. Only for ray.",
        identity=False,
    )
    worker_data_dir: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names the folder of --data_dir on the workers' machines. Default: the "
        "same. Only for ray.",
        identity=False,
    )
    sinks: str = fields.field(
        "csv,tensorboard",
        fields.listed(registry.SINKS, required="csv"),
        "Chooses where each round's numbers are written, one or more with "
        "commas between them: csv (metrics.csv, from which a run is "
        "resumed; always needed), tensorboard.",
        identity=False,
    )
    finishers: str = fields.field(
        "export,learning_curve,report",
        fields.listed(registry.FINISHERS, empty="none"),
        "Chooses what follows the last round, in this order, with commas "
        "between the names: export (the SavedModel), learning_curve (a "
        "picture), report (report.html, all on one page); or none.",
        identity=False,
    )
    target_metric: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the metric by which the best round is saved and kept, such as "
        "accuracy: on the validation set, or without one on the test set. A "
        "column of metrics.csv, such as eval_accuracy, says itself on which. "
        "Default: no round is kept for its metric.",
    )
    target_value: Optional[float] = fields.field(
        None,
        fields.FINITE,
        "Stops training when --target_metric reaches this value. Default: "
        "all rounds are trained.",
    )
    patience: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Stops training after this many evaluations in a row without a better "
        "value of --target_metric. Default: all rounds are trained.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("runtime", RUNTIME_OPTIONS)
        if (self.min_workers or 0) > (self.ray_workers or 0):
            raise errors.ConfigError(
                f"--min_workers={self.min_workers} is more than the "
                f"{self.ray_workers} that are asked for (--ray_workers); lower "
                "the first or raise the second."
            )
        if self.target_metric is not None:
            return
        if self.target_value is not None:
            raise errors.ConfigError(
                f"--target_value={self.target_value} is given without "
                "--target_metric=...; name the column that must reach it."
            )
        if self.patience is not None:
            raise errors.ConfigError(
                f"--patience={self.patience} is given without "
                "--target_metric=...; name the metric that must get better, "
                "such as --target_metric=loss."
            )
