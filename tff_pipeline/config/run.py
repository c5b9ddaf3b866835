"""Configures how long a run is, what it keeps, and where it runs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

RUNTIME_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # By default as many threads as there are processors.
    "in_process": {"client_threads": None},
    "local": {},
}
FAILURE_POLICIES = {
    "retry": "what may pass is tried again; an update that is not finite is "
    "skipped",
    "skip": "the model stays as it was",
    "stop": "so does training",
}
EVAL_CLIENTS = {
    "seen": "clients that train",
    "unseen": "clients that never train",
    "both": "either",
}


@dataclasses.dataclass(frozen=True)
class RunConfig(fields.Group):
    """How long a run is, what it keeps, and where."""

    output_dir: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Run directory; resumed if it holds one.",
        identity=False,
    )
    total_rounds: int = fields.field(
        100, fields.COUNT, "Rounds to train.", identity=False
    )
    rounds_per_eval: int = fields.field(
        1, fields.COUNT, "Rounds between evaluations."
    )
    eval_clients: Optional[str] = fields.field(
        None,
        fields.known(EVAL_CLIENTS),
        "Evaluate client by client too.",
    )
    rounds_per_checkpoint: int = fields.field(
        10, fields.COUNT, "Rounds between checkpoints.", identity=False
    )
    keep_checkpoints: int = fields.field(
        5,
        fields.NATURAL,
        "Newest checkpoints to keep; 0 is all.",
        identity=False,
    )
    on_failed_round: str = fields.field(
        "retry",
        fields.known(FAILURE_POLICIES),
        "What becomes of a round that fails.",
        identity=False,
    )
    max_round_retries: int = fields.field(
        2, fields.NATURAL, "Retries of a round, at most.", identity=False
    )
    max_consecutive_failures: int = fields.field(
        3,
        fields.COUNT,
        "Stop after as many rounds in a row that were lost.",
        identity=False,
    )
    signing_key: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "PEM file of an Ed25519 key to sign the log with.",
        identity=False,
    )
    seed: int = fields.field(0, fields.SEED, "Seed of all randomness.")
    runtime: str = fields.field(
        "in_process",
        fields.known(registry.RUNTIMES),
        "Where computations run: in this process, or in TFF's own worker.",
    )
    client_threads: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Clients that train at once (in_process: default all processors).",
        identity=False,
    )
    sinks: str = fields.field(
        "csv,tensorboard",
        fields.listed(registry.SINKS, required="csv"),
        "Places to which each round's numbers are written, with commas "
        "between them: csv (metrics.csv, from which a run is resumed), "
        "tensorboard.",
        identity=False,
    )
    finishers: str = fields.field(
        "export,learning_curve",
        fields.listed(registry.FINISHERS, empty="none"),
        "Steps after the last round, in this order, with commas between "
        "them: export (the SavedModel), learning_curve (a picture); or none.",
        identity=False,
    )
    target_metric: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Column of metrics.csv by which the best checkpoint is kept.",
    )
    target_value: Optional[float] = fields.field(
        None, fields.FINITE, "Stop when --target_metric reaches it."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settle("runtime", RUNTIME_OPTIONS)
        if self.target_value is not None and self.target_metric is None:
            raise errors.ConfigError(
                f"--target_value={self.target_value} is given without "
                "--target_metric=...; name the column that must reach it."
            )
