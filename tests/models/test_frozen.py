"""Frozen weights: stored, mapped and found by name; refused if damaged."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing import frozen_words
from tff_pipeline import errors
from tff_pipeline.models import frozen, frozen_files
from tff_pipeline.models.weight_groups import weight_groups

ARRAYS = {
    "words/embeddings": np.arange(12, dtype=np.float32).reshape(4, 3),
    "counts": np.array(7, np.int64),
    "half": np.array([[1.5, -2.0]], np.float16),
    "brain": np.array([0.1, 3.0]).astype(tf.bfloat16.as_numpy_dtype),
    "codes": np.array([[-128, 127]], np.int8),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "big_endian": np.array([1.0, 2.0], ">f4"),
    "mask": np.array([True, False]),
}


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "base")


@pytest.fixture
def base(folder):
    """Frozen weights of the model that `frozen_words` makes, but small."""
    return frozen.store(folder, {"words/embeddings": np.ones([4, 3], "f4")})


def test_what_is_stored_is_what_is_mapped(folder):
    stored = frozen.store(folder, ARRAYS)
    again = frozen.load(folder)
    assert again == stored
    assert list(again.arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        mapped = again.arrays[name].mapped().numpy()
        assert mapped.shape == array.shape
        assert mapped.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(mapped, array)
        assert again.arrays[name].num_bytes == array.nbytes


def test_hash_is_of_names_and_values_and_not_of_the_place(tmp_path):
    def sha256(name, arrays):
        return frozen.store(str(tmp_path / name), arrays).sha256

    one, two = np.zeros([2, 3], "f4"), np.ones([2, 3], "f4")
    first = sha256("first", {"a": one, "b": two})
    assert sha256("same", {"a": one, "b": two}) == first
    for number, other in enumerate(
        [
            {"a": two, "b": one},
            {"b": two, "a": one},
            {"a": one, "c": two},
            {"a": one},
            {"a": one, "b": two.reshape(3, 2)},
            {"a": one.astype("i4"), "b": two},
        ]
    ):
        assert sha256(f"other {number}", other) != first


def test_arrays_are_taken_one_by_one(folder):
    class Made(dict):
        def items(self):
            for name in "abc":
                alive.append(name)
                yield name, np.full([2], ord(name), "f4")
                assert os.listdir(os.path.dirname(folder)), name

    alive = []
    frozen.store(folder, Made(a=1))
    loaded = frozen.load(folder)
    assert alive == ["a", "b", "c"]
    assert loaded.arrays["c"].mapped().numpy().tolist() == [99.0, 99.0]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "no arrays"),
        ({"a": np.zeros([0, 3], "f4")}, "the array a is of shape \\(0, 3\\)"),
        ({"a": np.array(["word"])}, "the array a is of shape \\(1,\\)"),
        ({"a": np.array([b"word"], object)}, "dtype object"),
    ],
)
def test_what_cannot_be_mapped_is_not_stored(folder, arrays, words):
    with pytest.raises(errors.DataError, match=f"(?i){words}"):
        frozen.store(folder, arrays)
    assert not os.path.exists(folder)


def test_stored_weights_are_not_overwritten(base, folder):
    with pytest.raises(errors.DataError, match="exists"):
        frozen.store(folder, {"other": np.zeros([1], "f4")})
    assert frozen.load(folder) == base


def damage(folder, how):
    """Damages the stored weights; returns words that the message must have."""
    path = os.path.join(folder, "00000.raw")
    manifest = os.path.join(folder, frozen.MANIFEST)
    with open(path, "rb") as file:
        content = file.read()
    if how == "no folder":
        shutil.rmtree(folder)
        return [manifest, "store"]
    if how == "no file":
        os.remove(path)
        return [path, "words/embeddings", "No such file"]
    if how == "longer":
        content += b"\0"
        words = ["49 bytes", "48"]
    elif how == "shorter":
        content = content[:-4]
        words = ["44 bytes", "48"]
    elif how == "swapped":
        content = np.zeros([4, 3], "f4").tobytes()
        words = ["SHA-256"]
    elif how == "one bit":
        content = bytes([content[0] ^ 1, *content[1:]])
        words = ["SHA-256"]
    else:
        with open(manifest, "w") as file:
            file.write(how)
        return [manifest, "damaged"]
    with open(path, "wb") as file:
        file.write(content)
    return [path, "words/embeddings", *words]


@pytest.mark.parametrize(
    "how",
    [
        *("no folder", "no file", "longer", "shorter", "swapped", "one bit"),
        *("", "{", "[]", '{"arrays": [{"name": "a"}]}', '{"arrays": 3}'),
        '{"arrays": [{"name": "a", "shape": [1], "dtype": "f", "sha256": ""}]}',
    ],
)
def test_damaged_weights_are_refused_in_a_sentence(base, folder, how):
    assert frozen.load(folder) == base  # Hashed once in this process.
    expected = damage(folder, how)
    with pytest.raises(errors.DataError) as raised:
        frozen.load(folder)
    message = str(raised.value)
    assert all(word in message for word in expected), message
    assert "\n" not in message


def test_a_file_is_hashed_once_and_again_when_it_was_touched(base, folder):
    path = base.arrays["words/embeddings"].path
    os.utime(path)
    frozen.load(folder)
    before = frozen_files._sha256.cache_info()
    frozen.load(folder)
    after = frozen_files._sha256.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)
    os.utime(path, ns=(1, 1))
    frozen.load(folder)
    assert frozen_files._sha256.cache_info().misses == before.misses + 1


def test_a_models_variable_is_the_file(base):
    with frozen.using(base):
        model = frozen_words.model(4, 3)
    groups = weight_groups(model)
    (variable,) = groups.frozen
    assert variable.name == "words/embeddings:0"
    assert frozen.weights_of(variable) is base
    assert np.array_equal(variable.numpy(), np.ones([4, 3]))
    assert groups.non_trainable == []
    assert [v.name for v in groups.trainable] == [
        *("hidden/kernel:0", "hidden/bias:0", "logits/kernel:0"),
        "logits/bias:0",
    ]
    assert groups.num_bytes() == {
        "trainable": 4 * (3 * 16 + 16 + 16 * 3 + 3),
        "non_trainable": 0,
        "frozen": 4 * 12,
    }
    # Keras sees the frozen one too.
    assert model.count_params() == 12 + 3 * 16 + 16 + 16 * 3 + 3


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_subclassed_model_and_mixed_precision(tmp_path, policy):
    class Net(tf.keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.inner = tf.keras.layers.Dense(2, name="first")

        def call(self, x):
            return self.inner(x)

    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    base = frozen.store(str(tmp_path / "base"), {"net/first/kernel": values})
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        with frozen.using(base):
            model = Net()
            output = model(tf.ones([1, 2]))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert output.numpy().tolist() == [[4.0, 6.0]]
    groups = weight_groups(model)
    assert [v.name for v in groups.frozen] == ["net/first/kernel:0"]
    assert [v.name for v in groups.trainable] == ["net/first/bias:0"]


def test_weights_may_be_of_several_folders_and_of_no_layer(tmp_path):
    one = frozen.store(str(tmp_path / "one"), {"a": np.array([1.0], "f4")})
    two = frozen.store(str(tmp_path / "two"), {"b": np.array([2], "i4")})
    with frozen.using(one), frozen.using(two):
        a = tf.Variable(tf.zeros([1]), name="a")
        b = tf.Variable([0], name="b")
        c = tf.Variable([3.0], name="c")
    assert [v.numpy().tolist() for v in (a, b, c)] == [[1.0], [2], [3.0]]
    assert [frozen.weights_of(v) for v in (a, b, c)] == [one, two, None]


@pytest.mark.parametrize(
    ("words", "size", "dtype", "name", "expected"),
    [
        (4, 4, "float32", "words", ["(4, 4)", "(4, 3)", "words/embeddings"]),
        (5, 3, "float32", "words", ["(5, 3)", "(4, 3)", "words/embeddings"]),
        (4, 3, "float64", "words", ["float64", "float32"]),
        (4, 3, "float32", "other", ["words/embeddings", "other/embeddings"]),
    ],
)
def test_a_model_that_is_not_of_the_weights_is_refused(
    base, words, size, dtype, name, expected
):
    tf.keras.mixed_precision.set_global_policy(dtype)
    try:
        with pytest.raises(errors.ConfigError) as raised, frozen.using(base):
            frozen_words.model(words, size, name=name)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    message = str(raised.value)
    assert all(word in message for word in [*expected, base.folder]), message


def test_a_block_that_makes_no_model_is_refused(base):
    with (
        pytest.raises(errors.ConfigError, match="no others"),
        frozen.using(base),
    ):
        pass


def test_two_variables_of_one_name_are_refused(base):
    with (
        pytest.raises(errors.ConfigError, match="two variables"),
        frozen.using(base),
    ):
        frozen_words.model(4, 3)
        frozen_words.model(4, 3)


def test_an_error_of_the_model_is_not_hidden(base):
    with pytest.raises(ZeroDivisionError), frozen.using(base):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "update",
    [
        lambda v: v.assign_add(tf.ones_like(v)),
        lambda v: v.assign_sub(tf.ones_like(v)),
        lambda v: v.scatter_nd_update([[0]], tf.zeros([1, 3])),
        lambda v: v.scatter_add(tf.IndexedSlices(tf.ones([1, 3]), [0])),
    ],
)
def test_an_update_in_place_is_an_error_and_not_a_crash(base, update):
    with frozen.using(base):
        model = frozen_words.model(4, 3)
    (variable,) = weight_groups(model).frozen
    with pytest.raises(errors.ConfigError, match="words/embeddings"):
        update(variable)
    assert np.array_equal(variable.numpy(), np.ones([4, 3]))


def test_a_graph_holds_the_path_and_not_the_numbers(tmp_path):
    base = frozen.store(
        str(tmp_path / "base"), {"words/embeddings": frozen_words.vectors()}
    )
    with tf.Graph().as_default() as graph:
        frozen_words.frozen_model_fn(base)()
    proto = graph.as_graph_def()
    constants = [node for node in proto.node if node.op == "ImmutableConst"]
    assert [
        node.attr["memory_region_name"].s.decode() for node in constants
    ] == [base.arrays["words/embeddings"].path]
    assert proto.ByteSize() < 20_000
