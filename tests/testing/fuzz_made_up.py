"""Files that are made up whole: of the right format, with anything in them."""

import contextlib
import json
import pathlib
import sqlite3
import tempfile

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.testing.fuzz_binary_seeds import npz_bytes, sqlite_seed
from tff_pipeline.config import ExperimentConfig

_WORDS = st.sampled_from(
    [
        *("0", "1", "-1", "1e39", "nan", "inf", "9" * 30, "1.5", "", "+1"),
        *("train", "Test", '"', "../../outside", "k", "O", "B-X", "I-Y"),
        *("{}", "[3]", "[-1]", "[2147483648, 4]", "float32", "iid", "sgd"),
    ]
)
_TEXT = _WORDS | st.text(st.characters(blacklist_categories=["Cs"]), max_size=5)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats()
    | _TEXT
    | st.sampled_from(["\ud800", 10**400, -(2**63), 2**64])
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)
    ),
    max_leaves=6,
)
_ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])


@st.composite
def configs(draw):
    """The configuration with any values in a few fields."""
    values = json.loads(ExperimentConfig().to_json())
    for _ in range(draw(st.integers(1, 4))):
        group = values[draw(st.sampled_from(sorted(values)))]
        if isinstance(group, dict):
            names = st.sampled_from(sorted(group)) | _TEXT
            group[draw(names)] = draw(_JSON)
    return {"config.json": json.dumps(values).encode()}


@st.composite
def flagfiles(draw):
    """Flags that there are, and others, with any text for values."""
    names = st.sampled_from([*ExperimentConfig().flags(), "flagfile", "help"])
    lines = draw(st.lists(st.tuples(names | _TEXT, _TEXT), max_size=8))
    text = draw(_ENDS).join(f"--{name}={value}" for name, value in lines)
    return {"run.flags": text.encode()}


@st.composite
def tables(draw):
    """Any cells under the names that are asked for."""
    row = st.tuples(*[_TEXT] * 6)
    rows = draw(st.lists(row, min_size=1, max_size=6))
    separator = draw(st.sampled_from(",;\t"))
    lines = [("who", "a", "b", "c", "part", "y"), *rows, *rows]
    text = draw(_ENDS).join(map(separator.join, lines))
    return {"t.csv": text.encode()}


@st.composite
def json_lines(draw):
    """Objects with any client, input and label, some of them alike."""
    label = draw(st.sampled_from([_JSON, st.integers(0, 2), _TEXT]))
    some = st.fixed_dictionaries(
        {
            "client_id": _JSON,
            "x": st.lists(st.floats(), min_size=2, max_size=2) | _JSON,
            "y": label,
        },
        optional={"split": _JSON},
    )
    objects = draw(st.lists(some, min_size=1, max_size=4))
    return {"o.jsonl": "\n".join(map(json.dumps, objects)).encode()}


@st.composite
def column_files(draw):
    """Sentences of any tokens, with tags of which some are tags."""
    tag = st.sampled_from(["O", "B-X", "I-X", "I-Y", "O", "O"]) | _TEXT
    token = st.tuples(_TEXT, tag).map(draw(st.sampled_from("\t ")).join)
    lines = st.lists(token | st.just("") | st.just("-DOCSTART-"), max_size=20)
    end = draw(_ENDS)
    return {
        name: (end.join(draw(lines)) + end).encode()
        for name in ("train.txt", "test.txt")
    }


@st.composite
def array_files(draw):
    """Arrays of any type and shape; some have as many entries."""
    count = draw(st.integers(0, 6))

    def array():
        shape = npst.array_shapes(min_dims=0, max_dims=3, min_side=0)
        inner = draw(st.just(()) | shape)
        kinds = npst.scalar_dtypes() | npst.unicode_string_dtypes()
        kinds |= st.sampled_from(["<f4", "u1", "<i8", "U3", "S2", "?", "O"])
        kind = draw(kinds)
        if kind == "O":
            return np.full((count, *inner), None)
        return draw(npst.arrays(kind, (count, *inner)))

    names = [
        "x",
        "y",
        *draw(st.sets(st.sampled_from(["client_id", "is_test"]))),
    ]
    return {"a.npz": npz_bytes(**{name: array() for name in names})}


@st.composite
def databases(draw):
    """The tables with any values in a few cells."""
    blob = st.binary(max_size=8)
    value = _SCALARS.filter(
        lambda v: not isinstance(v, int) or abs(v) < 2**63
    ).filter(lambda v: v != "\ud800")
    columns = {
        "examples": ("split_name", "client_id", "serialized_example_proto"),
        "client_metadata": ("client_id", "split_name", "num_examples"),
        "features": ("name", "dtype", "shape"),
        "class_names": ("class_id", "name"),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.sqlite"
        path.write_bytes(sqlite_seed(without_constraints=True))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for _ in range(draw(st.integers(1, 3))):
                table = draw(st.sampled_from(sorted(columns)))
                column = draw(st.sampled_from(columns[table]))
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE rowid % ? = 0",
                    (draw(value | blob), draw(st.integers(1, 3))),
                )
            connection.commit()
        return {"a.sqlite": path.read_bytes()}


# Reader's name -> what it is given.
MADE_UP = {
    "config": configs(),
    "flagfile": flagfiles(),
    "table": tables(),
    "json_lines": json_lines(),
    "conll": column_files(),
    "npz": array_files(),
    "sqlite": databases(),
}
