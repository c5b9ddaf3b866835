"""Configures what is learned, and from which data."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors, registry
from tff_pipeline.config import fields
from tff_pipeline.config.model import ModelConfig

# Each partition's options with their defaults; other partitions refuse them.
# A task's stand on its line of `registry.TASKS`.
PARTITION_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "iid": {"num_clients": 100},
    "shards": {"num_clients": 100, "shards_per_client": 2},
    "dirichlet": {"num_clients": 100, "dirichlet_alpha": 0.5},
    "quantity": {"num_clients": 100, "quantity_exponent": 1.0},
    "label_k": {"num_clients": 100, "labels_per_client": 2},
    "natural": {},
    "pooled": {},
}
# The options of holding clients out, which comes before partitioning, likewise.
HOLD_OUT_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "natural": {"unseen_clients": 0},
    "pooled": {"unseen_clients": 0},
}
VALIDATION_BY = {
    "examples": "a share of every training client's examples",
    "clients": "all examples of a share of the clients, which do not train",
}
TASK_TYPES = {
    "classification": "labels are classes",
    "regression": "labels are numbers",
}
DECIMAL_MARKS = {".": "1,234.5", ",": "1.234,5"}
TAG_DECODERS = {
    "softmax": "each token's tag on its own",
    "crf": "a chain of tags (Lafferty et al. 2001)",
}

# Flags that name files, --data_dir first.
_FILES = ("data_dir", "word_vectors", "categories_file", "column_bounds_file")
TFF_DATA = {
    "download": "TFF's files, in --data_dir or fetched to it",
    "synthetic": "a few made-up clients, for trying",
}


@dataclasses.dataclass(frozen=True)
class DataConfig(fields.Group):
    """Options of the task, its files, and how clients share its examples.

    Its fields are flags, whose help says what they mean. Options that the task
    or the partition does not take stay `None`.

    Attributes:
      model: The options of pretrained and language models.

    Raises:
      ConfigError: If a value is not allowed, or the options do not go together.
    """

    task: str = fields.field(
        "digits_2nn",
        fields.known(registry.TASKS),
        "Names what is learned: data set, model, loss and metrics together.",
    )
    data_dir: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names the folder that holds the task's data files; for csv, npz "
        "and sqlite it may be the file itself.",
        identity=False,
    )
    model_fn: Optional[str] = fields.field(
        None,
        fields.REFERENCE,
        "Replaces the task's model by a function's, written "
        "package.module:function; the function takes no argument and "
        "returns a Keras model.",
    )
    partition: Optional[str] = fields.field(
        None,
        fields.known(registry.PARTITIONS),
        "Chooses how the examples are spread over clients; pooled gives those "
        "of all clients to one, the centralised baseline. Default: natural "
        "(each client's own examples) where the data name clients, iid "
        "elsewhere.",
    )
    num_clients: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many clients the examples are spread over. Default: 100. "
        "Not for natural, where the data name the clients.",
    )
    shards_per_client: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many shards of the examples, sorted by label, each client"
        " gets: the fewer, the fewer labels it has. Default: 2. Only for "
        "shards.",
    )
    dirichlet_alpha: Optional[float] = fields.field(
        None,
        fields.CONCENTRATION,
        "Sets the concentration of the Dirichlet distribution of a client's"
        " labels: 0.1 gives clients very different labels, 100 almost equal"
        " ones. Default: 0.5. Only for dirichlet.",
    )
    quantity_exponent: Optional[float] = fields.field(
        None,
        fields.NOT_NEGATIVE,
        "Sets how unequal clients' sizes are: the k-th largest client gets "
        "a share proportional to 1/k to this power; 0 makes all equal. "
        "Default: 1. Only for quantity.",
    )
    labels_per_client: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many labels each client has examples of. Default: 2. Only"
        " for label_k.",
    )
    unseen_clients: Optional[int] = fields.field(
        None,
        fields.NATURAL,
        "Sets how many clients, drawn with --seed, never train, so that the"
        " model can be evaluated on them. Default: 0. Only for natural and "
        "pooled.",
    )
    validation_fraction: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Holds this share of the training examples out of training, as the "
        "validation set on which --target_metric chooses; 0.1 is a tenth. Not "
        "for data that have a validation set of their own. Default: 0.",
    )
    validation_by: Optional[str] = fields.field(
        None,
        fields.known(VALIDATION_BY),
        "Says of what --validation_fraction is a share: of every client's "
        "examples, or of the clients. Default: examples.",
    )
    client_test_fraction: Optional[float] = fields.field(
        None,
        fields.PROBABILITY,
        "Holds this share of each client's training examples out, on which "
        "--eval_clients=seen evaluates; 0.2 is a fifth. Not for data that "
        "name test examples of their clients. Default: none.",
    )
    max_examples_per_client: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Keeps at most this many examples of each client. Default: all.",
    )
    max_test_examples: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Evaluates on at most this many examples of the test set, and of the "
        "validation set. Default: all.",
    )
    augment: Optional[str] = fields.field(
        None,
        fields.NAMES,
        "Changes training examples at random each time they are used: one "
        "or more of shift, crop, rotate, noise, time_mask with commas "
        "between them, such as shift,noise. Default: no change.",
    )
    client_column: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the column that says which client a row belongs to; file_name "
        "stands for the names of a table's files. Only for csv.",
    )
    label_column: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the column that is to be predicted; of numbers, with "
        "--task_type=regression, several with commas between them. Only for "
        "csv.",
    )
    feature_columns: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the columns to predict from, with commas between them. "
        "Default: all others but identifiers, dates and free text. Dates that "
        "are named become numbers. Only for csv.",
    )
    text_column: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the column of text to predict from, and from it alone, with a "
        "pretrained encoder; see --init_from. Default: none; the other columns "
        "are the inputs. Only for csv.",
    )
    categorical_columns: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names columns whose numbers are categories, such as postal codes, "
        "with commas between them. Only for csv.",
    )
    min_category_count: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Sets how many examples of training clients a category needs to be "
        "learned; rarer ones are taken together as others, and do not stand "
        "in the exported model. Default: 10. Only for csv.",
    )
    missing_values: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the cells that stand for a missing value, such as -9 or none, "
        "with commas between them, in place of the usual words (NA, NULL and "
        "others); an empty cell always does. Only for csv.",
    )
    decimal_mark: Optional[str] = fields.field(
        None,
        fields.known(DECIMAL_MARKS),
        "Says what stands before the decimals of numbers in text. Default: "
        "what all cells of a column fit. Only for csv.",
    )
    categories_file: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names a CSV file of the lines column,category, which says what "
        "categories a column, or the label, has; a private run takes them from "
        "nowhere else. Default: found in the data. For csv, npz and sqlite, "
        "whose labels are y, ner_tagger (word, character and tag) and "
        "ner_encoder (tag).",
        identity=False,
    )
    column_bounds_file: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names a CSV file of the lines column,low,high, between which nearly "
        "all of a column's numbers lie and by which they are scaled; a private "
        "run takes them from nowhere else. Default: mean and deviation of the "
        "data. Only for csv, npz and sqlite, whose columns are x and y.",
        identity=False,
    )
    task_type: Optional[str] = fields.field(
        None,
        fields.known(TASK_TYPES),
        "Says whether labels are classes or numbers. Default: "
        "classification. Only for csv, npz and sqlite.",
    )
    test_fraction: Optional[float] = fields.field(
        None,
        fields.FRACTION,
        "Sets the share of each client's examples that is held out for the "
        "test set, where the file does not say which; 0.2 is a fifth. "
        "Default: 0.2. Only for csv, npz and sqlite.",
    )
    split_column: Optional[str] = fields.field(
        None,
        fields.TEXT,
        "Names the column that says train, test or validation for each row. "
        "Only for csv.",
    )
    tag_decoder: Optional[str] = fields.field(
        None,
        fields.known(TAG_DECODERS),
        "Chooses the last layer: softmax tags each token by itself, crf the"
        " whole sentence as a chain. Default: softmax. Only for ner_tagger.",
    )
    word_vectors: Optional[str] = fields.field(
        None,
        fields.PATH,
        "Names a text file of word vectors, a word and its numbers a line, "
        "as GloVe has them. Default: vectors are learned. Only for "
        "ner_tagger.",
        identity=False,
    )
    sentences_per_client: Optional[int] = fields.field(
        None,
        fields.COUNT,
        "Joins consecutive documents of a corpus, which lines -DOCSTART- part, "
        "to clients of at least this many sentences; 1 makes every document a "
        "client. Default: 500. Only for ner_tagger and ner_encoder.",
    )
    tff_data: Optional[str] = fields.field(
        None,
        fields.known(TFF_DATA),
        "Says where the clients of TFF's data sets come from: their files, "
        "fetched to --data_dir where they are not there, or a few made-up "
        "clients to try things with. Default: download. Only for tasks "
        "named tff_...",
    )
    model: ModelConfig = ModelConfig()

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
        self._check_text_column()
        for options in (PARTITION_OPTIONS, HOLD_OUT_OPTIONS):
            self.settle(
                "partition",
                {name: options.get(name, {}) for name in registry.PARTITIONS},
            )
        taken = {
            name: registry.task_entry(name).options for name in registry.TASKS
        }
        self.settle("task", taken)
        self._settle_model(taken)
        if self.text_column is not None:
            object.__setattr__(self, "min_category_count", None)
        if self.split_column is not None:
            object.__setattr__(self, "test_fraction", None)
        self._settle_validation()
        if "label_column" in task.options:
            self._check_columns()

    @property
    def described(self) -> bool:
        """True if users may describe the task's columns in files."""
        return "categories_file" in registry.task_entry(self.task).options

    @property
    def stands_on_base(self) -> bool:
        """True if `--init_from` names a pretrained transformer, not weights."""
        entry = registry.task_entry(self.task)
        return self.text_column is not None or entry.stands_on_base

    def files(self) -> dict[str, str]:
        """Returns the paths of files that the task reads, by their flag."""
        return {
            flag: getattr(self, flag)
            for flag in _FILES
            if getattr(self, flag) is not None
        }

    def required_data_dir(self, contents: str) -> str:
        """Returns --data_dir, for a task that cannot do without it.

        Args:
          contents: Words for what the flag must name, for the error, such as
            "the folder with the images".

        Raises:
          ConfigError: If it is not set.
        """
        if self.data_dir is None:
            raise errors.ConfigError(
                f"--task={self.task} needs --data_dir, {contents}."
            )
        return self.data_dir

    def _check_text_column(self) -> None:
        """Refuses what goes with other inputs than a text."""
        if self.text_column is None:
            return
        for name, why in (
            ("feature_columns", "the text is the only input"),
            ("min_category_count", "a text has no categories"),
            ("model_fn", "--init_from names the model"),
        ):
            value = getattr(self, name)
            if value is not None:
                raise errors.ConfigError(
                    f"--{name}={value} is not used with --text_column="
                    f"{self.text_column}, for {why}; leave one of them out."
                )

    def _settle_model(self, taken: Mapping[str, Mapping[str, Any]]) -> None:
        """Fills in the options of the task's model, on a copy."""
        model = dataclasses.replace(self.model)
        of_text = "csv with --text_column"
        if model.freeze is not None and self.stands_on_base:
            raise errors.ConfigError(
                f"--freeze={model.freeze} is not used with --task="
                f"{self.task if self.text_column is None else of_text}, whose "
                "pretrained transformer is frozen but for what --trainable "
                "chooses; leave it out."
            )
        # Any model may begin with the weights of another, and keep some.
        taken = {
            name: {"init_from": None, "freeze": None, **options}
            for name, options in taken.items()
        }
        taken[of_text] = registry.ENCODER
        chosen = self.task if self.text_column is None else of_text
        model.settle_options("task", chosen, taken)
        if "trainable" in taken[chosen]:
            model.settle_trainable(self.stands_on_base)
        object.__setattr__(self, "model", model)

    def _settle_validation(self) -> None:
        """Fills in what the share is of; a share of 0 is none."""
        if self.validation_fraction:
            by = self.validation_by or "examples"
            object.__setattr__(self, "validation_by", by)
            return
        object.__setattr__(self, "validation_fraction", None)
        if self.validation_by is not None:
            raise errors.ConfigError(
                f"--validation_by={self.validation_by} is given without "
                "--validation_fraction; set the share that is held out, such "
                "as --validation_fraction=0.1, or leave it out."
            )

    def _check_columns(self) -> None:
        """Checks that a table's labels and clients can be told."""
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
