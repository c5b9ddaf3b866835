"""Every reader of a file that a user can give, and small files that it takes.

A reader is reached as a user reaches it: through the task, the run directory,
the command line; and then a client's examples are loaded, as a round does.
"""

import contextlib
import dataclasses
import gzip
import io
import pathlib
import random
import re
import sqlite3
import struct
import tempfile
import wave
import zipfile
from collections.abc import Callable, Mapping
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from PIL import Image

from tff_pipeline import flags, prepare, registry
from tff_pipeline.config import (
    ClientConfig,
    DataConfig,
    ExperimentConfig,
    OptimizerConfig,
)
from tff_pipeline.datasets import (
    credit,
    ett,
    femnist,
    heart_disease,
    movielens,
    shakespeare,
    sqlite_writer,
    stackexchange,
    tcga_brca,
    word_vectors,
)
from tff_pipeline.tasks.task import Task
from tff_pipeline.training.checkpoint import CheckpointStore
from tff_pipeline.training.run_directory import RunDirectory

# A folder's files by name.
Files = Mapping[str, bytes]
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


_CONFIGS = (
    ExperimentConfig(),
    ExperimentConfig(
        DataConfig(partition="dirichlet", num_clients=5, dirichlet_alpha=0.1),
        ClientConfig(3, optimizer=OptimizerConfig("client", "adam", 0.1)),
    ),
    ExperimentConfig(
        DataConfig(
            "csv", "a/b.csv", client_column="k", label_column="y", augment="x"
        )
    ),
)
_CONFIG_WORDS = (
    *(b'"data": ', b'"side": "server"', b'"name": "dp_gaussian"', b"NaN"),
    *(b'"__class__": ', b'"\\ud800"', b"[" * 3000, b'{"a": ' * 3000),
    *(b'"data_dir": "../../outside"', b'"output_dir": "/dev/zero"'),
)


def _read_flagfile(folder, output, draw):
    path = folder / "run.flags"
    try:
        flags._parse(["train.py", f"--flagfile={path}", "--output_dir=run"])
        flags.experiment_config()
    finally:
        flags.FLAGS.unparse_flags()


_FLAGFILES = (
    {"run.flags": ExperimentConfig().flagfile().encode()},
    {
        "run.flags": b"# A run.\n--flagfile=more.flags\n\n--noprofile\n"
        b"--total_rounds=3\n// More.\n--seed=7\n"
        b"--client_optimizer=adam\n--client_adam_beta_1=0.5\n",
        "more.flags": b"--task=mnist_cnn\n--data_dir=../mnist\n",
    },
)
_FLAG_WORDS = (
    *(b"--flagfile=run.flags\n", b"--flagfile=../outside.flags\n"),
    *(b"--flagfile=/dev/zero\n", b"--flagfile=~/x\n", b"-flagfile="),
    *(b"--flagfile=", b"--flagfile\n", b"--help\n", b"--helpxml\n"),
    *(b"--undefok=x\n", b"--x=1\n", b"--\n", b"--notask\n", b"--profile\n"),
    *(b"--num_clients=", b"--dirichlet_alpha=", b"--verbosity=-9\n", b"#"),
)

# Checkpoints.

_STATE = {
    "model": [np.float32([1.5, np.nan]), np.int32(3)],
    "name": np.bytes_(b"x"),
}


def _read_checkpoint(folder, output, draw):
    store = CheckpointStore(str(folder))
    # What is read is what was saved, or refused.
    found = store.load_latest(_STATE)
    for state in (store.load(4, _STATE), *([found[1]] if found else [])):
        for name, value in (("model", state["model"]), ("name", state["name"])):
            for given, wanted in zip(
                value if name == "model" else [value],
                _STATE[name] if name == "model" else [_STATE[name]],
            ):
                assert np.asarray(given).tobytes() == wanted.tobytes()
    store.load_privacy(4)
    store.load_weights()


def _checkpoints() -> tuple[Files, ...]:
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        for number in (2, 4):
            store.save(number, _STATE, {"rounds": number})
        return (_files(folder),)


def _files(folder: str) -> Files:
    root = pathlib.Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


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


_ROWS = b"who,a,b,c,part,y\n" + b"".join(
    b'k%d,%d.5,"x, %d",%d,%s,%d\n'
    % (i % 3, i, i % 2, i % 4, (b"train", b"test")[i % 2], i % 2)
    for i in range(12)
)


def _parquet() -> bytes:
    table = pa.csv.read_csv(io.BytesIO(_ROWS))
    table = table.append_column("b2", table["b"].dictionary_encode())
    target = pa.BufferOutputStream()
    pa.parquet.write_table(table, target, compression="none")
    return target.getvalue().to_pybytes()


_TABLES = (
    {"t.csv": _ROWS},
    {"t.csv": _ROWS.replace(b", ", b"").replace(b",", b";")},
    {"t.tsv": _ROWS.replace(b", ", b"").replace(b",", b"\t")},
    {"t.csv": _ROWS.replace(b"x, ", b'x ""\r\n').replace(b"\n", b"\r\n")},
    {"1.csv": _ROWS, "2.csv": _ROWS},
    {"t.csv.gz": gzip.compress(_ROWS, mtime=0)},
)
_CELLS = (
    *(
        b'"',
        b'""',
        b'"a\nb"',
        b",,,",
        b"who",
        b"y",
        b"NA",
        b"1e999",
        b"x" * 300,
    ),
    *(b"\r", b"\t", b"+1", b"x" * 300, b"Test", b"0x1", b"1e38", b"1970-01-01"),
)


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


def _delimited() -> tuple[Files, ...]:
    patient = b"63,1,1,145,233,1,2,150,0,2.3,3,0,6,%d\n"
    hospital = b"".join(patient % (i % 2) for i in range(6))
    features = ",".join(f"f{i}" for i in range(39)).encode()
    brca = b"pid,E,T," + features + b"\n"
    brca += b"".join(b"p%d,1,30" % i + b",1.5" * 39 + b"\n" for i in range(4))
    default = b"ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE," + b",".join(
        [b"PAY_%d" % i for i in (0, 2, 3, 4, 5, 6)]
        + [b"BILL_AMT%d" % i for i in range(1, 7)]
        + [b"PAY_AMT%d" % i for i in range(1, 7)]
    )
    person = b"39, Private, 7, BA, 13, No, Sales, Not, White, Male, 1, 0, 40, "
    adult = b"".join(person + b"US, %s50K%s\n" for _ in range(3))
    return (
        {
            f"heart_disease.load/processed.{name}.data": hospital
            for name in heart_disease.HOSPITALS
        },
        {"movielens.load/u.data": b"1\t2\t3\t88\n2\t1\t5\t99\n" * 3},
        {"movielens.load/ratings.dat": b"1::2::3::88\n2::1::5::99\n" * 3},
        {
            "tcga_brca.load/brca.csv": brca,
            "tcga_brca.load/train_test_split.csv": b"pid,fold2\np0,train_0\n"
            b"p1,test_0\np2,train_3\np3,test_3\n",
        },
        {
            "credit.credit_default/UCI_Credit_Card.csv": default
            + b",default payment next month\n"
            + (b"1,20000,2,2,1,24" + b",2" * 18 + b",1\n") * 3
        },
        {
            "credit.adult/adult.data": adult.replace(b"%s", b"<=", 1)
            .replace(b"%s", b"", 1)
            .replace(b"%s50K%s", b">50K"),
            "credit.adult/adult.test": b"|1x3 Cross validator\n"
            + person
            + b"US, >50K.\n",
        },
        {
            "credit.german/german.data": b"A11 6 A34 A43 1169 A65 A75 4 A93 "
            b"A101 4 A121 67 A143 A152 2 A173 1 A192 A201 1\n" * 3
        },
        {
            "ett.load/a.csv": b"date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT\n"
            + b"2016-07-01 00:00:00,5,2,1,0,4,1,30\n"
            + b"2016-07-01 01:00:00,5,2,1,0,4,1,30\n"
            + b"2016-07-01 02:00:00,5,2,1,0,4,1,30\n"
        },
    )


# Lines of JSON, and of words.


def _read_json_lines(folder, output, draw):
    for module in (stackexchange, shakespeare):
        if (folder / module.FILE).exists():
            module.load(str(folder), "a_task")
            return
    kind = "classification"
    for path in folder.iterdir():
        if b'"b0"' not in path.read_bytes():
            kind = draw.choice(("classification", "regression"))
        prepare.write(str(path), str(output / "o.db"), {"task_type": kind})


def _json_lines() -> tuple[Files, ...]:
    own = b"".join(
        b'{"client_id": "k%d", "x": [%d, 0.5], "y": %d, "split": "test"}\n'
        % (i % 2, i, i % 2)
        for i in range(4)
    )
    post = '{"client": "a/1", "posts": [{"text": "t", "title": "u", "tags": '
    post += '["v"]}, {"text": "w"}]}\n'
    role = '{"client": "A", "speeches": [["To be", "or"], ["not", "to"]]}\n'
    return (
        {"o.jsonl": own},
        {"o.jsonl": re.sub(b'"y": (.)', rb'"y": "b\1"', own)},
        {"o.jsonl.gz": gzip.compress(own, mtime=0)},
        {stackexchange.FILE: post.encode() * 2},
        {shakespeare.FILE: role.encode() * 2},
    )


_JSON_WORDS = (
    *(b'"x": ', b'"y": ', b"NaN", b"-Infinity", b"1e400", b"[1, [2]]"),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b"[" * 2000,
        b"[1]",
        b'{"x": 1}',
        b"9" * 5000,
    ),
    *(b'"client_id": "../../outside"', b'"split": ', b'"posts": ', b"1e39"),
)


def _read_columns(folder, output, draw):
    if (folder / "vectors.txt").exists():
        word_vectors.read(str(folder / "vectors.txt"), {"eu"}, 2)
        return
    unseen = draw.choice((None, 0, 1))
    load_task("ner_tagger", folder, draw, unseen_clients=unseen)


_SENTENCES = b"EU NNP B-NP I-ORG\nrejects VBZ B-VP O\n\nEU NNP B-NP I-ORG\n\n"
_CONLL = (
    {
        "eng.train": b"-DOCSTART- -X- O O\n\n" + _SENTENCES * 2,
        "eng.testb": b"\xef\xbb\xbf" + _SENTENCES,
    },
    {
        "a.conll": b"EU\tB-ORG\nrejects\tO\n\n" * 6,
        "b.conll": "@EU \U0001f600\tB-PER\r\nI\tI-PER\r\n\r\n".encode() * 5,
    },
    {"vectors.txt": b"2 3\neu 0.5 1 -2\nthe 1e-3 0 0\n"},
)
_TAGS = (
    *(b"B-", b"I-X", b"O", b"-DOCSTART-\n", b"\n\n", b"\t", b"E-ORG", b" "),
    *(
        b"\xe2\x80\x8b",
        b"B-\x00",
        b"nan",
        b"\x1c",
        b"\xc2\xa0",
        b"a\tO\n" * 400,
    ),
)


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


def _idx(values: np.ndarray) -> bytes:
    code = {"u": 8, "i": 12}[values.dtype.kind]
    header = struct.pack(">4B", 0, 0, code, values.ndim)
    return (
        header
        + struct.pack(f">{values.ndim}i", *values.shape)
        + (values.tobytes())
    )


def _mnist() -> tuple[Files, ...]:
    files = {}
    for part, end, count in (("train", "train", 4), ("t10k", "test", 2)):
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 2
        writers = np.arange(count * 8).reshape(-1, 8).astype(">i4")
        files[f"{part}-images-idx3-ubyte"] = _idx(images)
        files[f"{part}-labels-idx1-ubyte"] = _idx(labels)
        files[f"qmnist-{end}-labels-idx2-int"] = _idx(writers)
    packed = {
        f"{name}.gz": gzip.compress(content, mtime=0)
        for name, content in files.items()
    }
    return files, packed


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


class _Payload:
    """What, unpickled, makes a file where no reader may."""

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("unpickled"),)


def npz(**arrays: object) -> bytes:
    """An NPZ file; what is no array is pickled into it."""
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def _npz() -> tuple[Files, ...]:
    y = np.arange(8) % 2
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    client_id = np.array(["k", "l"])[y]
    members = {"x": x, "y": y, "client_id": client_id}
    packed = io.BytesIO()
    np.savez_compressed(packed, **members, is_test=np.arange(8) > 4)
    outside = io.BytesIO(npz(**members))
    with zipfile.ZipFile(outside, "a") as archive:
        archive.writestr("../../outside.npy", b"\x93NUMPY")
    images = np.zeros((3, 28, 28), np.uint8)
    part = npz(
        pixels=images,
        labels=np.uint8([0, 1, 2]),
        writer_ids=np.array(["a", "b"]),
        writer_offsets=np.array([0, 2, 3]),
    )
    return (
        {"a.npz": npz(**members)},
        {"a.npz": packed.getvalue()},
        {"a.npz": outside.getvalue()},
        {"a.npz": npz(**{**members, "z": np.array([_Payload()])})},
        {"a.npz": npz(x=np.zeros((8, 5, 5), "?"), y=y * 1.0, client_id=y)},
        {name: part for name in (femnist.TRAIN, femnist.TEST, femnist.UNSEEN)},
    )


_NPY_WORDS = (
    *(b"\x93NUMPY\x01\x00", b"|O", b"<f8", b"|V4", b"<M8[s]", b">U3", b"<c16"),
    *(b"'shape': (", b"(2147483648,)", b"(0, 3)", b"(8, 0)", b"()", b"True"),
    *(b"../../outside.npy", b"x.npy", b"(((((((((", b"\xff\xff", b"<f2", b"L"),
)


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


def _rows(count: int):
    for number in range(count):
        for client, split in (("a", "train"), ("o'b", "train"), ("a", "test")):
            x = np.arange(3, dtype=np.float32) + number
            yield sqlite_writer.Row(client, split, x, np.int32(number % 2))


def sqlite_seed(script: str = "", without_constraints: bool = False) -> bytes:
    """A database of two clients, after `script`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.sqlite"
        sqlite_writer.write(str(path), _rows(3), ["no", "yes"])
        with contextlib.closing(sqlite3.connect(path)) as connection:
            # Small pages, of which less is empty.
            connection.executescript(
                f"{script} PRAGMA page_size = 512; VACUUM;"
            )
            if without_constraints:
                connection.executescript(
                    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET "
                    "sql = replace(replace(replace(sql, 'NOT NULL', ''), "
                    "'TEXT', ''), 'INTEGER', '');"
                )
        return path.read_bytes()


def _sqlite() -> tuple[Files, ...]:
    scripts = (
        "",
        "DROP TABLE features; DROP TABLE class_names;",
        "DELETE FROM examples WHERE split_name = 'test'; DELETE FROM "
        "client_metadata WHERE split_name = 'test';",
    )
    return tuple({"a.sqlite": sqlite_seed(script)} for script in scripts)


_SQL_WORDS = (
    *(b"CREATE VIEW", b"TABLE", b"INTEGER", b"BLOB", b"TEXT", b"[3]", b"[-1]"),
    *(b"float32", b"float16", b"O", b"[1e9]", b"[null]", b"train", b"test"),
    *(b"../../outside", b"\x0a\x05", b"sqlite_master", b"examples", b"x"),
)


# Recordings and images.


def _read_wav(folder, output, draw):
    path = folder / "fsdd.zip"
    path = path if path.exists() and draw.random() < 0.5 else folder
    load_task("spoken_digits_cnn", path, draw)


def _wav() -> tuple[Files, ...]:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(200)))
    content = target.getvalue()
    names = ("0_ann_0.wav", "1_ann_5.wav", "1_bob_7.wav")
    archives = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            for name in names:
                archive.writestr(f"fsdd/{name}", content)
        archives.append({"fsdd.zip": packed.getvalue()})
    return {name: content for name in names}, *archives


_WAV_WORDS = (
    *(b"RIFF", b"WAVE", b"fmt ", b"data", b"LIST", b"\x01\x00\x01\x00"),
    *(b"\xfe\xff", b"\x00\x00\x00\x80", b"../../outside.wav", b"PK\x01\x02"),
)


def _read_images(folder, output, draw):
    size = draw.choice((None, (4, 4)))
    prepare.write(str(folder), str(output / "o.db"), {}, size)


def _images() -> tuple[Files, ...]:
    draw = np.random.default_rng(0)
    found = []
    for mode, form in (("L", "png"), ("RGB", "jpeg"), ("P", "png")):
        files = {}
        for name in ("a/cat/1", "a/dog/1", "b/cat/1"):
            target = io.BytesIO()
            pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).convert(mode).save(target, form)
            files[f"{name}.{form}"] = target.getvalue()
        found.append(files)
    return tuple(found)


_IMAGE_WORDS = (
    *(b"IHDR", b"IDAT", b"tEXt", b"zTXt", b"iCCP", b"acTL", b"eXIf"),
    *(
        b"\xff\xd8\xff\xe1",
        b"\xff\xc0",
        b"\xff\xda",
        b"GIF89a",
        b"BM",
        b"II*\0",
    ),
)


def readers() -> dict[str, Reader]:
    """All readers by name; makes their seeds."""
    configs = tuple({"config.json": c.to_json().encode()} for c in _CONFIGS)
    return {
        "config": Reader(_read_config, configs, 240, _CONFIG_WORDS),
        "flagfile": Reader(_read_flagfile, _FLAGFILES, 70, _FLAG_WORDS),
        "checkpoint": Reader(_read_checkpoint, _checkpoints(), 100, _NPY_WORDS),
        "table": Reader(_read_table, _TABLES, 100, _CELLS),
        "parquet": Reader(_read_table, ({"t.parquet": _parquet()},), 30),
        "delimited": Reader(_read_delimited, _delimited(), 70, _CELLS),
        "json_lines": Reader(_read_json_lines, _json_lines(), 60, _JSON_WORDS),
        "conll": Reader(_read_columns, _CONLL, 50, _TAGS),
        "idx": Reader(_read_mnist, _mnist(), 100),
        "npz": Reader(_read_npz, _npz(), 100, _NPY_WORDS),
        "sqlite": Reader(_read_sqlite, _sqlite(), 60, _SQL_WORDS),
        "wav": Reader(_read_wav, _wav(), 100, _WAV_WORDS),
        "images": Reader(_read_images, _images(), 20, _IMAGE_WORDS),
    }
