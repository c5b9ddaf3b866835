"""Every reader of a file that a user can give.

A reader is reached as a user reaches it: through the task, the run directory,
the command line; and then a client's examples are loaded, as a round does.
"""

import contextlib
import dataclasses
import pathlib
import random
from collections.abc import Callable
from unittest import mock

import numpy as np

from tests.testing import fuzz_binary_seeds as binary
from tests.testing import fuzz_text_seeds as text
from tests.testing.fuzz_binary_seeds import Files
from tff_pipeline import registry
from tff_pipeline.commands import prepare_data
from tff_pipeline.config import DataConfig, ExperimentConfig
from tff_pipeline.datasets import (
    credit,
    ett,
    femnist,
    heart_disease,
    movielens,
    shakespeare,
    stackexchange,
    tcga_brca,
)
from tff_pipeline.datasets.readers import instructions, word_vectors
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.tasks.task import Task

# (the folder, where to write if need be, what decides options) -> nothing.
Read = Callable[[pathlib.Path, pathlib.Path, random.Random], None]

# A model is built for one input in so many: it takes as long as a hundred
# files take to be read.
_WITH_MODEL = 1 / 300


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader, and what it is tried with.

    Attributes:
      read: Reads a folder that holds one of `seeds`, or what has become of it.
      seeds: Folders that it reads without complaint.
      share: How many inputs of a thousand it is given.
      words: Of its format, to put into the files.
    """

    read: Read
    seeds: tuple[Files, ...]
    share: int
    words: tuple[bytes, ...] = ()


def load_task(
    name: str, path: pathlib.Path, draw: random.Random, **options: object
) -> None:
    """Makes the task, mostly without its model; loads some of its clients."""
    config = DataConfig(task=name, data_dir=str(path), **options)
    model = draw.random() < _WITH_MODEL
    with contextlib.ExitStack() as stack:
        if not model:
            stack.enter_context(
                mock.patch.object(Task, "__post_init__", lambda self: None)
            )
        task = registry.load(name, registry.TASKS)(config, 0)
    for clients in (task.train, task.test_clients, task.unseen):
        if clients is not None:
            client = draw.choice(clients.client_ids)
            assert clients.size(client) == len(clients.load(client))
    assert len(task.test)


# Configurations and flagfiles.


def _read_config(folder, output, draw):
    config = RunDirectory(str(folder)).read_config()
    assert ExperimentConfig.from_json(config.to_json()) == config
    config.flags(identity_only=True)
    config.flagfile().encode()


def _read_flagfile(folder, output, draw):
    path = folder / "run.flags"
    try:
        parsing.parse(["train.py", f"--flagfile={path}", "--output_dir=run"])
        experiment_flags.experiment_config()
    finally:
        parsing.FLAGS.unparse_flags()


# Checkpoints.


def _read_checkpoint(folder, output, draw):
    store = CheckpointStore(str(folder))
    # What is read is what was saved, or refused.
    found = store.load_latest(binary.STATE)
    for state in (
        store.load(4, binary.STATE),
        *([found[1]] if found else []),
    ):
        for name, value in (("model", state["model"]), ("name", state["name"])):
            for given, wanted in zip(
                value if name == "model" else [value],
                binary.STATE[name] if name == "model" else [binary.STATE[name]],
            ):
                assert np.asarray(given).tobytes() == wanted.tobytes()
    store.notes(4)
    store.load_weights()


# Tables.


def _read_table(folder, output, draw):
    options = {"label_column": "y", "client_column": "who"}
    for name, value, chance in (
        ("categorical_columns", "b", 0.2),
        ("split_column", "part", 0.2),
        ("feature_columns", "a, c", 0.2),
        ("task_type", "regression", 0.3),
        ("unseen_clients", 1, 0.2),
    ):
        if draw.random() < chance:
            options[name] = value
    if draw.random() < 0.2:
        del options["client_column"]
        options.pop("unseen_clients", None)
        options |= {"partition": "iid", "num_clients": 2}
    load_task("csv", folder, draw, **options)


def _read_delimited(folder, output, draw):
    for load in (
        *(heart_disease.load, movielens.load, tcga_brca.load, ett.load),
        *(credit.credit_default, credit.adult, credit.german),
    ):
        name = f"{load.__module__}.{load.__name__}".rpartition("datasets.")[2]
        if (folder / name).exists():
            # Of 14,400 hours no byte in a thousand would be changed.
            with mock.patch.object(ett, "TEST_HOURS", (2, 3)):
                load(str(folder / name))


# Lines of JSON, and of words.


def _read_json_lines(folder, output, draw):
    for module in (stackexchange, shakespeare):
        if (folder / module.FILE).exists():
            module.load(str(folder), "a_task")
            return
    if (folder / "windows").exists():
        shakespeare.load(str(folder / "windows"), "a_task")
        return
    if (folder / "instructions").exists():
        list(instructions.read(str(folder / "instructions")))
        return
    kind = "classification"
    for path in folder.iterdir():
        if path.is_dir() or b'"b0"' not in path.read_bytes():
            kind = draw.choice(("classification", "regression"))
        prepare_data.write(str(path), str(output / "o.db"), {"task_type": kind})


def _read_columns(folder, output, draw):
    if (folder / "vectors.txt").exists():
        word_vectors.read(str(folder / "vectors.txt"), {"eu"}, 2)
        return
    unseen = draw.choice((None, 0, 1))
    load_task("ner_tagger", folder, draw, unseen_clients=unseen)


# Arrays.


def _read_mnist(folder, output, draw):
    options = draw.choice(
        (
            {"partition": "natural"},
            {"partition": "iid", "num_clients": 2},
            {"partition": "label_k", "num_clients": 2, "labels_per_client": 1},
        )
    )
    load_task("mnist_2nn", folder, draw, **options)


def _read_npz(folder, output, draw):
    options = draw.choice(
        (
            {"unseen_clients": 1},
            {"task_type": "regression", "test_fraction": 0.5},
            {"partition": "iid", "num_clients": 2, "max_test_examples": 2},
        )
    )
    if (folder / femnist.TRAIN).exists():
        femnist.load(str(folder))
        return
    load_task("npz", folder, draw, **options)


# SQLite.


def _read_sqlite(folder, output, draw):
    options = draw.choice(
        (
            {"task_type": "regression"},
            {"max_examples_per_client": 1, "test_fraction": 0.5},
            {"unseen_clients": 1, "max_test_examples": 2},
        )
    )
    load_task("sqlite", folder / "a.sqlite", draw, **options)


# Recordings and images.


def _read_wav(folder, output, draw):
    path = folder / "fsdd.zip"
    path = path if path.exists() and draw.random() < 0.5 else folder
    load_task("spoken_digits_cnn", path, draw)


def _read_images(folder, output, draw):
    size = draw.choice((None, (4, 4)))
    prepare_data.write(str(folder), str(output / "o.db"), {}, size)


def readers() -> dict[str, Reader]:
    """All readers by name; makes their seeds."""
    configs = tuple({"config.json": c.to_json().encode()} for c in text.CONFIGS)
    return {
        "config": Reader(_read_config, configs, 240, text.CONFIG_WORDS),
        "flagfile": Reader(_read_flagfile, text.FLAGFILES, 70, text.FLAG_WORDS),
        "checkpoint": Reader(
            _read_checkpoint, binary.checkpoints(), 100, binary.NPY_WORDS
        ),
        "table": Reader(_read_table, text.TABLES, 100, text.CELLS),
        "parquet": Reader(_read_table, ({"t.parquet": text.parquet()},), 30),
        "delimited": Reader(_read_delimited, text.delimited(), 70, text.CELLS),
        "json_lines": Reader(
            _read_json_lines, text.json_lines(), 60, text.JSON_WORDS
        ),
        "conll": Reader(_read_columns, text.CONLL, 50, text.TAGS),
        "idx": Reader(_read_mnist, binary.mnist(), 100),
        "npz": Reader(_read_npz, binary.npz(), 100, binary.NPY_WORDS),
        "sqlite": Reader(_read_sqlite, binary.sqlite(), 60, binary.SQL_WORDS),
        "wav": Reader(_read_wav, binary.wav(), 100, binary.WAV_WORDS),
        "images": Reader(_read_images, binary.images(), 20, binary.IMAGE_WORDS),
    }
