"""Small valid files of arrays, clients, sound and images; their words."""

import contextlib
import gzip
import io
import pathlib
import sqlite3
import struct
import tempfile
import wave
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

from tff_pipeline.datasets import femnist
from tff_pipeline.datasets.readers import sqlite_writer
from tff_pipeline.runs.checkpoint import CheckpointStore

# A folder's files by name.
Files = Mapping[str, bytes]

STATE = {
    "model": [np.float32([1.5, np.nan]), np.int32(3)],
    "name": np.bytes_(b"x"),
}


def checkpoints() -> tuple[Files, ...]:
    with tempfile.TemporaryDirectory() as folder:
        store = CheckpointStore(folder)
        for number in (2, 4):
            store.save(number, STATE, notes={"rounds": number})
        return (files(folder),)


def files(folder: str) -> Files:
    root = pathlib.Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def idx(values: np.ndarray) -> bytes:
    code = {"u": 8, "i": 12}[values.dtype.kind]
    header = struct.pack(">4B", 0, 0, code, values.ndim)
    return (
        header
        + struct.pack(f">{values.ndim}i", *values.shape)
        + (values.tobytes())
    )


def mnist() -> tuple[Files, ...]:
    files = {}
    for part, end, count in (("train", "train", 4), ("t10k", "test", 2)):
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 2
        writers = np.arange(count * 8).reshape(-1, 8).astype(">i4")
        files[f"{part}-images-idx3-ubyte"] = idx(images)
        files[f"{part}-labels-idx1-ubyte"] = idx(labels)
        files[f"qmnist-{end}-labels-idx2-int"] = idx(writers)
    packed = {
        f"{name}.gz": gzip.compress(content, mtime=0)
        for name, content in files.items()
    }
    return files, packed


class _Payload:
    """What, unpickled, makes a file where no reader may."""

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("unpickled"),)


def npz_bytes(**arrays: object) -> bytes:
    """An NPZ file; what is no array is pickled into it."""
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


def npz() -> tuple[Files, ...]:
    y = np.arange(8) % 2
    x = np.arange(24, dtype=np.float32).reshape(8, 3)
    client_id = np.array(["k", "l"])[y]
    members = {"x": x, "y": y, "client_id": client_id}
    packed = io.BytesIO()
    np.savez_compressed(packed, **members, is_test=np.arange(8) > 4)
    outside = io.BytesIO(npz_bytes(**members))
    with zipfile.ZipFile(outside, "a") as archive:
        archive.writestr("../../outside.npy", b"\x93NUMPY")
    images = np.zeros((3, 28, 28), np.uint8)
    part = npz_bytes(
        pixels=images,
        labels=np.uint8([0, 1, 2]),
        writer_ids=np.array(["a", "b"]),
        writer_offsets=np.array([0, 2, 3]),
    )
    return (
        {"a.npz": npz_bytes(**members)},
        {"a.npz": packed.getvalue()},
        {"a.npz": outside.getvalue()},
        {"a.npz": npz_bytes(**{**members, "z": np.array([_Payload()])})},
        {
            "a.npz": npz_bytes(
                x=np.zeros((8, 5, 5), "?"), y=y * 1.0, client_id=y
            )
        },
        {name: part for name in (femnist.TRAIN, femnist.TEST, femnist.UNSEEN)},
    )


NPY_WORDS = (
    *(b"\x93NUMPY\x01\x00", b"|O", b"<f8", b"|V4", b"<M8[s]", b">U3", b"<c16"),
    *(b"'shape': (", b"(2147483648,)", b"(0, 3)", b"(8, 0)", b"()", b"True"),
    *(b"../../outside.npy", b"x.npy", b"(((((((((", b"\xff\xff", b"<f2", b"L"),
)


def rows(count: int):
    for number in range(count):
        for client, split in (("a", "train"), ("o'b", "train"), ("a", "test")):
            x = np.arange(3, dtype=np.float32) + number
            yield sqlite_writer.Row(client, split, x, np.int32(number % 2))


def sqlite_seed(script: str = "", without_constraints: bool = False) -> bytes:
    """A database of two clients, after `script`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.sqlite"
        sqlite_writer.write(str(path), rows(3), ["no", "yes"])
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


def sqlite() -> tuple[Files, ...]:
    scripts = (
        "",
        "DROP TABLE features; DROP TABLE class_names;",
        "DELETE FROM examples WHERE split_name = 'test'; DELETE FROM "
        "client_metadata WHERE split_name = 'test';",
    )
    return tuple({"a.sqlite": sqlite_seed(script)} for script in scripts)


SQL_WORDS = (
    *(b"CREATE VIEW", b"TABLE", b"INTEGER", b"BLOB", b"TEXT", b"[3]", b"[-1]"),
    *(b"float32", b"float16", b"O", b"[1e9]", b"[null]", b"train", b"test"),
    *(b"../../outside", b"\x0a\x05", b"sqlite_master", b"examples", b"x"),
)


def wav() -> tuple[Files, ...]:
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


WAV_WORDS = (
    *(b"RIFF", b"WAVE", b"fmt ", b"data", b"LIST", b"\x01\x00\x01\x00"),
    *(b"\xfe\xff", b"\x00\x00\x00\x80", b"../../outside.wav", b"PK\x01\x02"),
)


def images() -> tuple[Files, ...]:
    draw = np.random.default_rng(0)
    found = []
    for mode, form in (
        *(("L", "png"), ("RGB", "jpeg"), ("P", "png")),
        *(("I;16", "png"), ("RGBA", "tiff")),
    ):
        files = {}
        for name in ("a/cat/1", "a/dog/1", "b/cat/1"):
            target = io.BytesIO()
            pixels = draw.integers(0, 256, (8, 8, 3), np.uint8)
            image = Image.fromarray(pixels)
            if mode == "I;16":
                image = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8)
            image.convert(mode).save(target, form)
            files[f"{name}.{form}"] = target.getvalue()
        found.append(files)
    return tuple(found)


IMAGE_WORDS = (
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
