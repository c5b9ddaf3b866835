"""The part of a configuration that says what is learned, from which data."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields

# Each partition's options with their defaults; other partitions refuse them.
# A task's stand on its line of `registry.TASKS`.
PARTITION_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "iid": {"num_clients": 100},
    "shards": {"num_clients": 100, "shards_per_client": 2},
    "dirichlet": {"num_clients": 100, "dirichlet_alpha": 0.5},
    "quantity": {"num_clients": 100, "quantity_exponent": 1.0},
    "label_k": {"num_clients": 100, "labels_per_client": 2},
    "natural": {},
}
# Options of holding clients out, which comes before partitioning, likewise.
_HOLD_OUT_OPTIONS = {"natural": {"unseen_clients": 0}}
TASK_TYPES = {
    "classification": "labels are classes",
    "regression": "labels are numbers",
}
TAG_DECODERS = {
    "softmax": "each token's tag on its own",
    "crf": "a chain of tags (Lafferty et al. 2001)",
}

TFF_DATA = {
    "download": "TFF's files, in --data_dir or fetched to it",
    "synthetic": "a few made-up clients, for trying",
}


@dataclasses.dataclass(frozen=True)
class DataConfig(fields.Group):
    """The task, its files, and how its examples are spread over clients."""

    task: str = fields.field(
        "digits_2nn", fields.known(registry.TASKS), "What to learn."
    )
    data_dir: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Folder of the task's data files (csv, npz, sqlite: or the file).",
        identity=False,
    )
    model_fn: Optional[str] = fields.field(
        None,
        fields.REFERENCE,
        "Another model for the task: package.module:function.",
    )
    partition: Optional[str] = fields.field(
        None,
        fields.known(registry.PARTITIONS),
        "How examples are spread over clients; default: natural where the data "
        "name clients, else iid.",
    )
    num_clients: Optional[int] = fields.field(
        None, fields.COUNT, "Clients to make (all but natural: default 100)."
    )
    shards_per_client: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Shards of sorted labels a client (shards: default 2).",
    )
    dirichlet_alpha: Optional[float] = fields.field(
        None,
        fields.CONCENTRATION,
        "Concentration; small is uneven (dirichlet: 0.5).",
    )
    quantity_exponent: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sizes fall as 1/rank to this power (quantity: 1).",
    )
    labels_per_client: Optional[int] = fields.field(
        None, fields.COUNT, "Labels that a client has (label_k: 2)."
    )
    unseen_clients: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Clients, drawn by --seed, that never train (natural: 0).",
    )
    max_examples_per_client: Optional[int] = fields.field(
        None, fields.COUNT, "Keep at most this many examples of each client."
    )
    max_test_examples: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Evaluate on at most this many examples of the test set.",
    )
    augment: Optional[str] = fields.field(
        None,
        fields.NAMES,
        "Changes to training examples, with commas: shift, crop, rotate, "
        "noise, time_mask.",
    )
    client_column: Optional[str] = fields.field(
        None, fields.TEXT, "Column that names each row's client (csv)."
    )
    label_column: Optional[str] = fields.field(
        None, fields.TEXT, "Column to predict (csv)."
    )
    feature_columns: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Columns to predict from, with commas (csv: default all others).",
    )
    categorical_columns: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Columns that hold categories even where these are numbers, with "
        "commas (csv).",
    )
    task_type: Optional[str] = fields.field(
        None,
        fields.known(TASK_TYPES),
        "What labels are (csv, npz, sqlite: default classification).",
    )
    test_fraction: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Share of each client's examples that is held out, where the file "
        "does not say which (csv, npz, sqlite: 0.2).",
    )
    split_column: Optional[str] = fields.field(
        None, fields.TEXT, "Column that says train or test (csv)."
    )
    tag_decoder: Optional[str] = fields.field(
        None, fields.known(TAG_DECODERS), "Last layer (ner_tagger: softmax)."
    )
    word_vectors: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Text file of a word and its numbers a line (ner_tagger).",
    )
    tff_data: Optional[str] = fields.field(
        None,
        fields.known(TFF_DATA),
        "Where TFF's clients come from (tff_*: default download).",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        task = registry.task_entry(self.task)
        if self.partition is None:
            object.__setattr__(self, "partition", task.default_partition)
        if self.split_column is not None and self.test_fraction is not None:
            raise errors.ConfigError(
                f"--test_fraction={self.test_fraction} is not used with "
                f"--split_column={self.split_column}, which says what is held "
                "out; leave one of them out."
            )
        for options in (PARTITION_OPTIONS, _HOLD_OUT_OPTIONS):
            self.settle(
                "partition",
                {name: options.get(name, {}) for name in registry.PARTITIONS},
            )
        self.settle(
            "task",
            {
                name: registry.task_entry(name).options
                for name in registry.TASKS
            },
        )
        if self.split_column is not None:
            object.__setattr__(self, "test_fraction", None)
        if "label_column" in task.options:
            self._check_columns()

    def required_data_dir(self, contents: str) -> str:
        """Returns --data_dir, for a task that cannot do without it.

        Args:
          contents: What it must name, in words, for the error.

        Raises:
          ConfigError: If it is not set.
        """
        if self.data_dir is None:
            raise errors.ConfigError(
                f"--task={self.task} needs --data_dir, {contents}."
            )
        return self.data_dir

    def _check_columns(self) -> None:
        if self.label_column is None:
            raise errors.ConfigError(
                f"--task={self.task} needs --label_column, the column to "
                "predict."
            )
        if self.client_column is None and self.partition == "natural":
            raise errors.ConfigError(
                f"--task={self.task} needs --client_column, the column that "
                "names each row's client, or a --partition that makes clients, "
                "such as iid."
            )
