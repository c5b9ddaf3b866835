"""Digits and MNIST: what is in them, and every way a file can be wrong."""

import gzip
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tff_pipeline import errors
from tff_pipeline.datasets import digits, mnist
from tff_pipeline.datasets.federation.federated_data import (
    Examples,
    InMemoryData,
)

INT32 = np.dtype(">i4")
IMAGE = b"\x00\x00\x08\x03" + struct.pack(">3i", 2, 28, 28) + bytes(2 * 784)


def idx(values):
    """The bytes of an IDX file with `values`, uint8 or big-endian int32."""
    code = {np.dtype(np.uint8): 8, INT32: 12}[values.dtype]
    header = struct.pack(">4B", 0, 0, code, values.ndim)
    return (
        header
        + struct.pack(f">{values.ndim}i", *values.shape)
        + (values.tobytes())
    )


def write(folder, name, content):
    """Writes `content`, gzipped if `name` says so; returns the path."""
    path = folder / name
    path.write_bytes(
        gzip.compress(content) if name.endswith(".gz") else content
    )
    return str(path)


def write_mnist(folder, end="", **replaced):
    """Writes four small MNIST files; returns (images, labels) of both parts.

    Args:
      folder: Where.
      end: Of the names; ".gz" gzips them.
      **replaced: train_labels=array and the like.
    """
    draw = np.random.default_rng(0)
    parts = []
    for part, count in (("train", 12), ("t10k", 5)):
        images = draw.integers(0, 256, (count, 28, 28), np.uint8)
        labels = draw.integers(0, 10, count, np.uint8)
        images = replaced.get(f"{part}_images", images)
        labels = replaced.get(f"{part}_labels", labels)
        write(folder, f"{part}-images-idx3-ubyte{end}", idx(images))
        write(folder, f"{part}-labels-idx1-ubyte{end}", idx(labels))
        parts.append((images, labels))
    return parts


def write_writers(folder, train, test, end=""):
    """Writes QMNIST's label files with these writers' numbers."""
    for part, writers in (("train", train), ("test", test)):
        rows = np.arange(len(writers) * 8).reshape(-1, 8).astype(INT32)
        rows[:, 2] = writers
        write(folder, f"qmnist-{part}-labels-idx2-int{end}", idx(rows))


# Digits.


def test_digits_have_their_shapes_types_and_counts():
    train, test = digits.load()
    assert (len(train), len(test)) == (1437, 360)
    for part in (train, test):
        assert part.x.shape == (len(part), 8, 8, 1)
        assert part.x.dtype == np.uint8
        assert part.y.shape == (len(part),)
        assert part.y.dtype == np.int32
        assert (part.x.min(), part.x.max()) == (0, 16)


def test_digits_have_each_class_in_proportion_in_both_parts():
    train, test = (np.bincount(part.y) for part in digits.load())
    whole = train + test
    # The counts of the 1,797.
    assert whole.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (abs(test - whole / 5) < 1).all()


def test_digits_are_split_as_they_always_were():
    sums = [
        zlib.crc32(part.x.tobytes() + part.y.tobytes())
        for part in (*digits.load(), *digits.load())
    ]
    assert sums[:2] == sums[2:]
    assert sums[:2] == [1414497089, 3383088015]


def test_no_image_of_digits_is_in_both_parts():
    train, test = ({x.tobytes() for x in part.x} for part in digits.load())
    assert len(train) + len(test) == 1797
    assert not train & test


# Examples and clients.


def test_examples_without_as_many_labels_are_refused():
    with pytest.raises(ValueError, match="3 inputs but 2 labels"):
        Examples(np.zeros((3, 1)), np.zeros(2))


def test_a_client_has_its_examples_in_the_order_of_its_indices():
    examples = Examples(np.arange(10, 15), np.arange(5))
    clients = {"b": np.array([4, 0]), "a": np.array([2])}
    data = InMemoryData(examples, clients)
    assert data.client_ids == ("b", "a")
    assert (len(data), data.size("b"), data.size("a")) == (2, 2, 1)
    assert data.load("b").x.tolist() == [14, 10]
    assert data.load("b").y.tolist() == [4, 0]


# The IDX reader.


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("shape", [(), (8,), (28, 28)])
@pytest.mark.parametrize("dtype", [np.dtype(np.uint8), INT32])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_idx_gives_back_what_was_written(tmp_path, end, shape, dtype, count):
    values = np.random.default_rng(0).integers(0, 256, (count, *shape))
    if dtype == INT32:
        values = values * 8_000_000 - 2**30
    path = write(tmp_path, f"file{end}", idx(values.astype(dtype)))
    read = mnist.read_idx(path, dtype, list(shape))
    assert read.dtype == dtype
    assert read.shape == (count, *shape)
    np.testing.assert_array_equal(read, values)


def test_idx_reads_a_file_written_by_hand(tmp_path):
    content = bytes.fromhex("00000801 00000003 0700ff")
    path = write(tmp_path, "file", content)
    assert mnist.read_idx(path, np.uint8, []).tolist() == [7, 0, 255]
    content = bytes.fromhex("00000c02 00000001 00000002 fffffffe 00000100")
    path = write(tmp_path, "file", content)
    assert mnist.read_idx(path, INT32, [2]).tolist() == [[-2, 256]]


def refused(path, dtype=np.uint8, shape=(28, 28)):
    """The sentence with which read_idx refuses `path`; it names it."""
    with pytest.raises(errors.DataError) as caught:
        mnist.read_idx(str(path), dtype, list(shape))
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_idx_that_is_missing_or_a_folder_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "absent")
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "starts with the bytes none"),
        (IMAGE[:3], "starts with the bytes 000008,"),
        (IMAGE[:4], "ends within its header, after 4 bytes"),
        (IMAGE[:15], "ends within its header, after 15 bytes"),
        (IMAGE[:16], "holds 0 bytes of values where its header promises 1568"),
        (IMAGE[:-1], "holds 1567 bytes of values"),
        (IMAGE + b"\x00", "holds 1569 bytes of values"),
        (b"\x89PNG" + IMAGE, "starts with the bytes 89504e47"),
        # Labels under the name of images, int32 under that of uint8.
        (b"\x00\x00\x08\x01" + IMAGE[4:], "starts with the bytes 00000801"),
        (b"\x00\x00\x0c\x03" + IMAGE[4:], "starts with the bytes 00000c03"),
        (
            IMAGE[:4] + struct.pack(">3i", 2, 32, 32) + bytes(2 * 1024),
            "holds items of shape [32, 32], not [28, 28]",
        ),
        (
            IMAGE[:4] + struct.pack(">3i", -2, 28, 28) + bytes(2 * 784),
            "its header promises -1568",
        ),
        (
            IMAGE[:4] + struct.pack(">3i", 2**31 - 1, 28, 28),
            "its header promises 1683627179248",
        ),
    ],
    ids=[
        "empty",
        "within magic",
        "after magic",
        "within header",
        "no values",
        "a byte short",
        "a byte long",
        "another format",
        "labels",
        "another type",
        "another shape",
        "negative count",
        "enormous count",
    ],
)
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_that_is_damaged_is_refused(tmp_path, end, content, reason):
    assert reason in refused(write(tmp_path, f"file{end}", content))


def test_gzip_cut_short_anywhere_is_refused(tmp_path):
    packed = gzip.compress(IMAGE)
    path = tmp_path / "file.gz"
    for length in range(len(packed)):
        path.write_bytes(packed[:length])
        refused(path)


def test_gzip_with_a_flipped_bit_is_refused_or_unharmed(tmp_path):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (2, 28, 28), np.uint8)
    packed = gzip.compress(idx(images))
    path = tmp_path / "file.gz"
    unharmed = 0
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(damaged)
        try:
            read = mnist.read_idx(str(path), np.uint8, [28, 28])
        except errors.DataError as error:
            # But for a flip in the two bytes that say it is gzipped.
            words = "cannot be read" if place > 1 else "starts with the bytes"
            assert str(error).startswith(f"{path} {words}")
        else:
            np.testing.assert_array_equal(read, images)
            unharmed += 1
    # The header's time, flags and system are seven bytes without a meaning
    # for the values; and the last byte of the packed values is not all used.
    assert unharmed <= 8


@pytest.mark.parametrize("name", ["file.gz", "file"])
def test_the_content_says_whether_it_is_gzipped_not_the_name(tmp_path, name):
    path = tmp_path / name
    packed = gzip.compress(IMAGE) if name == "file" else IMAGE
    path.write_bytes(packed)
    found = mnist.read_idx(str(path), np.uint8, [28, 28])
    assert found.shape == (2, 28, 28)
    path.write_bytes(b"")
    assert "starts with the bytes none" in refused(path)


@given(
    st.binary(max_size=200),
    st.sampled_from(["plain", "gzip", "gzip content"]),
    st.sampled_from([np.dtype(np.uint8), INT32]),
    st.sampled_from([[], [2], [2, 2]]),
    st.booleans(),
)
@example(b"", "gzip content", np.dtype(np.uint8), [], False)
def test_any_bytes_are_an_array_or_a_data_error(
    tmp_path_factory, content, kind, dtype, shape, begins_well
):
    folder = tmp_path_factory.getbasetemp()
    if begins_well:
        code = 8 if dtype == np.uint8 else 12
        content = bytes([0, 0, code, 1 + len(shape)]) + content
    path = folder / ("fuzz" if kind == "plain" else "fuzz.gz")
    if kind == "gzip":
        content = gzip.compress(content)
    elif kind == "gzip content":
        content = b"\x1f\x8b\x08" + content
    path.write_bytes(content)
    try:
        values = mnist.read_idx(str(path), dtype, shape)
    except errors.DataError as error:
        assert str(path) in str(error)
    else:
        assert values.dtype == dtype
        assert list(values.shape[1:]) == shape


# MNIST's four files, and QMNIST's two.


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_is_what_its_files_hold(tmp_path, end):
    written = write_mnist(tmp_path, end)
    for part, (images, labels) in zip(mnist.load(str(tmp_path)), written):
        assert part.x.dtype == np.uint8
        assert part.y.dtype == np.int32
        np.testing.assert_array_equal(part.x, images[..., np.newaxis])
        np.testing.assert_array_equal(part.y, labels)


@pytest.mark.parametrize(
    "name",
    [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ],
)
def test_mnist_without_one_of_its_files_is_refused(tmp_path, name):
    write_mnist(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(errors.DataError) as caught:
        mnist.load(str(tmp_path))
    assert f"{tmp_path / name}.gz does not exist" in str(caught.value)
    assert "--data_dir" in str(caught.value)


def test_mnist_in_no_folder_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match="absent is no folder"):
        mnist.load(str(tmp_path / "absent"))


def renamed(folder, change):
    """Renames all files of a folder."""
    for file in list(folder.iterdir()):
        file.rename(file.with_name(change(file.name)))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    "change",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("t10k", "test"),
        lambda name: name.replace("-", "_").upper(),
    ],
    ids=["dot", "test", "capitals"],
)
def test_mnist_is_found_under_the_names_that_it_goes_by(tmp_path, end, change):
    written = write_mnist(tmp_path, end)
    renamed(tmp_path, change)
    for part, (images, labels) in zip(mnist.load(str(tmp_path)), written):
        np.testing.assert_array_equal(part.x, images[..., np.newaxis])
        np.testing.assert_array_equal(part.y, labels)


def test_mnist_in_folders_named_like_its_files_is_found(tmp_path):
    written = write_mnist(tmp_path)
    for file in list(tmp_path.iterdir()):
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        (file / file.name).write_bytes(content)
    train, _ = mnist.load(str(tmp_path))
    np.testing.assert_array_equal(train.y, written[0][1])


def test_emnist_lies_column_by_column(tmp_path):
    written = write_mnist(tmp_path, ".gz")
    renamed(
        tmp_path, lambda name: "emnist-digits-" + name.replace("t10k", "test")
    )
    train, test = mnist.load(str(tmp_path))
    images = written[0][0].swapaxes(1, 2)[..., np.newaxis]
    np.testing.assert_array_equal(train.x, images)
    np.testing.assert_array_equal(test.y, written[1][1])
    # Of MNIST's own files beside them it cannot be told which are meant.
    write_mnist(tmp_path)
    with pytest.raises(errors.DataError, match="could both be train-images"):
        mnist.load(str(tmp_path))


def test_qmnist_beside_mnist_is_not_taken_for_it(tmp_path):
    write_mnist(tmp_path)
    write(tmp_path, "qmnist-train-images-idx3-ubyte.gz", b"other")
    write_writers(tmp_path, [1], [2])
    assert len(mnist.load(str(tmp_path))[0]) == 12


@pytest.mark.parametrize("dtype", [np.int8, ">i2", ">i4"])
def test_labels_may_be_of_any_whole_type(tmp_path, dtype):
    written = write_mnist(tmp_path)
    labels = written[0][1]
    code = {1: 9, 2: 11, 4: 12}[np.dtype(dtype).itemsize]
    head = struct.pack(">4Bi", 0, 0, code, 1, len(labels))
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(head + labels.astype(dtype).tobytes())
    train, _ = mnist.load(str(tmp_path))
    assert train.y.dtype == np.int32
    np.testing.assert_array_equal(train.y, labels)
    path.write_bytes(head + (-labels.astype(dtype)).tobytes())
    with pytest.raises(errors.DataError, match=r"holds the label -\d"):
        mnist.load(str(tmp_path))


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_mnist_labels_above_9_are_refused(tmp_path, part):
    labels = np.array([0, 9, 10, 1, 2], np.uint8)
    images = np.zeros((5, 28, 28), np.uint8)
    write_mnist(
        tmp_path, **{f"{part}_labels": labels, f"{part}_images": images}
    )
    with pytest.raises(errors.DataError) as caught:
        mnist.load(str(tmp_path))
    path = tmp_path / f"{part}-labels-idx1-ubyte"
    assert str(caught.value).startswith(f"{path} holds the label 10;")


@pytest.mark.parametrize("part", ["train", "t10k"])
def test_mnist_with_more_labels_than_images_is_refused(tmp_path, part):
    labels = np.zeros(13, np.uint8)
    write_mnist(tmp_path, **{f"{part}_labels": labels})
    with pytest.raises(errors.DataError) as caught:
        mnist.load(str(tmp_path))
    assert f"{tmp_path}/{part}-images-idx3-ubyte holds" in str(caught.value)
    assert f"{part}-labels-idx1-ubyte holds 13 labels" in str(caught.value)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_writers_are_the_third_column_under_a_name(tmp_path, end):
    write_writers(tmp_path, [7, 4099, 7], [0, 12345], end)
    train, test = mnist.load_writers(str(tmp_path), 3, 2)
    assert train.tolist() == ["writer_0007", "writer_4099", "writer_0007"]
    assert test.tolist() == ["writer_0000", "writer_12345"]


def test_writers_are_those_of_the_first_10000_test_labels(tmp_path):
    write_writers(tmp_path, [1], np.arange(10003))
    _, test = mnist.load_writers(str(tmp_path), 1, 10000)
    assert len(test) == 10000
    assert test[-1] == "writer_9999"


def test_writers_without_their_file_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match="qmnist-train-labels-idx2-int"):
        mnist.load_writers(str(tmp_path), 1, 1)


@pytest.mark.parametrize(
    ("images", "words"), [((4, 2), "train"), ((3, 3), "test")]
)
def test_writers_of_fewer_images_are_refused(tmp_path, images, words):
    write_writers(tmp_path, [7, 8, 9], [1, 2])
    with pytest.raises(errors.DataError, match=f"qmnist-{words}-labels"):
        mnist.load_writers(str(tmp_path), *images)


def test_mnist_without_images_is_refused(tmp_path):
    write_mnist(
        tmp_path,
        t10k_images=np.zeros([0, 28, 28], np.uint8),
        t10k_labels=np.zeros(0, np.uint8),
    )
    with pytest.raises(errors.DataError, match="holds no images"):
        mnist.load(str(tmp_path))


# The real ones.


@pytest.fixture(scope="module")
def real_mnist(mnist_dir):
    return mnist.load(str(mnist_dir))


def test_real_mnist_has_60000_and_10000_images_of_28_by_28(real_mnist):
    train, test = real_mnist
    assert train.x.shape == (60000, 28, 28, 1)
    assert test.x.shape == (10000, 28, 28, 1)
    assert train.y.shape == (60000,)
    assert test.y.shape == (10000,)


def test_real_mnist_has_its_label_counts(real_mnist):
    train, test = (np.bincount(part.y).tolist() for part in real_mnist)
    assert train == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert test == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_real_mnist_has_its_pixel_mean_and_deviation(real_mnist):
    pixels = real_mnist[0].x / np.float64(255)
    assert pixels.mean() == pytest.approx(0.13066, abs=5e-6)
    assert pixels.std() == pytest.approx(0.30811, abs=5e-6)


def test_real_mnist_has_539_and_297_writers_and_none_in_both(mnist_dir):
    train, test = mnist.load_writers(str(mnist_dir), 60000, 10000)
    assert (len(train), len(test)) == (60000, 10000)
    _, train_counts = np.unique(train, return_counts=True)
    _, test_counts = np.unique(test, return_counts=True)
    assert (len(train_counts), len(test_counts)) == (539, 297)
    assert (train_counts.min(), train_counts.max()) == (19, 131)
    assert (test_counts.min(), test_counts.max()) == (8, 130)
    assert not set(train) & set(test)


def test_real_writers_files_hold_the_labels_of_the_images(
    mnist_dir, real_mnist
):
    # Column 0 is the digit: the rows are in the images' order.
    for prefix, part in zip(("train", "test"), real_mnist):
        path = mnist_dir / f"qmnist-{prefix}-labels-idx2-int.gz"
        rows = mnist.read_idx(str(path), INT32, [8])[: len(part)]
        np.testing.assert_array_equal(rows[:, 0], part.y)
