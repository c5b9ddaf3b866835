"""FEMNIST's files, and the two tasks on them."""

import csv
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.data import data_folder
from tests.testing.scripts import run_script
from tff_pipeline import errors, registry
from tff_pipeline.config.data import DataConfig
from tff_pipeline.datasets import femnist
from tff_pipeline.tasks.femnist import (
    cnn_without_dropout,
    logistic_regression,
)

FILES = (femnist.TRAIN, femnist.TEST, femnist.UNSEEN)
SMALL = {
    "pixels": np.zeros([3, 28, 28], np.uint8),
    "labels": np.array([0, 9, 61], np.uint8),
    "writer_ids": np.array(["a", "b"]),
    "writer_offsets": np.array([0, 1, 3], np.int32),
}


@pytest.fixture(scope="module")
def femnist_dir():
    return data_folder("femnist")


def load(name, **options):
    options = DataConfig(task=name, **options)
    return registry.load(name, registry.TASKS)(options, seed=0)


def write(folder, **changed):
    """Writes three small files, all alike; `changed` arrays go to the first."""
    for name in FILES[1:]:
        np.savez(folder / name, **SMALL)
    arrays = {**SMALL, **changed}
    arrays = {name: each for name, each in arrays.items() if each is not None}
    np.savez(folder / FILES[0], **arrays)
    return folder / FILES[0]


def refused(folder):
    """The sentence with which the files are refused."""
    with pytest.raises(errors.DataError) as caught:
        femnist.load(str(folder))
    return str(caught.value)


# The files.


def test_examples_are_what_the_files_hold(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    write(tmp_path, pixels=pixels)
    train, test, unseen = femnist.load(str(tmp_path))
    np.testing.assert_array_equal(train.examples.x[..., 0], pixels)
    assert train.examples.x.dtype == np.uint8
    for part in (train, test, unseen):
        assert part.examples.x.shape == (3, 28, 28, 1)
        assert part.examples.y.dtype == np.int32
        assert part.examples.y.tolist() == [0, 9, 61]
        assert part.writers.tolist() == ["a", "b", "b"]


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(tmp_path, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / name} does not exist; --data_dir")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"labels": None}, "has no array labels; it holds: pixels, writer_ids"),
        ({"labels": SMALL["labels"][:2]}, "holds 3 images but 2 labels"),
        ({"labels": np.array([0, 1, 62], np.uint8)}, "holds the label 62;"),
        ({"labels": np.zeros(3)}, "labels is float64 of shape (3,)"),
        ({"pixels": np.zeros([3, 784], np.uint8)}, "of shape (3, 784)"),
        ({"writer_ids": np.array(["a"])}, "into 1 writers' parts"),
        ({"writer_offsets": np.array([0, 2, 4], np.int32)}, "cut 3 images"),
        ({"writer_offsets": np.array([0, 4, 3], np.int32)}, "cut 3 images"),
        ({"writer_offsets": np.array([1, 2, 3], np.int32)}, "cut 3 images"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changed, reason):
    path = write(tmp_path, **changed)
    message = refused(tmp_path)
    assert message.startswith(str(path))
    assert reason in message


def test_pickled_objects_are_refused(tmp_path):
    path = write(tmp_path, writer_ids=np.array(["a", {}], dtype=object))
    message = refused(tmp_path)
    assert message.startswith(f"{path}: writer_ids holds pickled Python")


def test_file_cut_short_anywhere_is_refused(tmp_path):
    path = write(tmp_path)
    whole = path.read_bytes()
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        assert refused(tmp_path).startswith(f"{path} ")


def test_damaged_values_are_refused(tmp_path):
    path = write(tmp_path)
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("pixels.npy").header_offset + 600
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refused(tmp_path)


# The real ones.


@pytest.fixture(scope="module")
def cnn(femnist_dir):
    return load("femnist_cnn", data_dir=str(femnist_dir))


def test_real_writers_and_images_are_as_many_as_stated(cnn):
    assert (len(cnn.train), len(cnn.test_clients), len(cnn.unseen)) == (
        *(300, 300),
        240,
    )
    assert cnn.train.client_ids == cnn.test_clients.client_ids
    assert not set(cnn.train.client_ids) & set(cnn.unseen.client_ids)
    for clients, images, spread in (
        (cnn.train, 41495, (2, 150.5, 320)),
        (cnn.test_clients, 4763, (1, 17, 36)),
        (cnn.unseen, 7350, (1, 32, 80)),
    ):
        sizes = [clients.size(name) for name in clients.client_ids]
        assert sum(sizes) == images
        assert (min(sizes), np.median(sizes), max(sizes)) == spread
    # The central test set is that of those who train.
    assert len(cnn.test) == 4763
    assert np.unique(cnn.test.y).tolist() == list(range(62))


def test_real_images_are_ink_on_white_paper(cnn):
    model = cnn.build_model()
    ink = model.layers[0](cnn.test.x).numpy()
    assert (ink.min(), ink.max()) == pytest.approx((0, 1), abs=1e-6)
    assert np.median(ink) == pytest.approx(0, abs=1e-6)


def test_models_have_the_published_size(cnn):
    assert cnn.model_fn().count_params() == 1_206_590
    bare = cnn_without_dropout()
    assert bare.count_params() == 1_206_590
    kinds = [type(layer).__name__ for layer in bare.layers]
    assert "Dropout" not in kinds
    kinds = [type(layer).__name__ for layer in cnn.model_fn().layers]
    assert kinds.count("Dropout") == 2


def test_logistic_regression_is_linear_in_the_ink():
    model = logistic_regression()
    assert model.count_params() == 785 * 62
    paper = np.full([1, 28, 28, 1], 255, np.uint8)
    # It begins with zeros, where every class is as likely as another.
    assert not model(paper).numpy().any()
    draw = np.random.default_rng(0)
    kernel = draw.normal(size=[784, 62]).astype(np.float32)
    model.set_weights([kernel, np.arange(62, dtype=np.float32)])
    np.testing.assert_allclose(model(paper)[0], np.arange(62), atol=1e-4)
    dot = paper.copy()
    dot[0, 3, 4] = 0
    expected = kernel[3 * 28 + 4] + np.arange(62)
    np.testing.assert_allclose(model(dot)[0], expected, atol=1e-4)


def test_artificial_clients_share_the_300_writers_images(femnist_dir):
    task = load(
        "femnist_cnn",
        data_dir=str(femnist_dir),
        partition="dirichlet",
        num_clients=20,
    )
    assert (len(task.train), len(task.test), task.unseen) == (20, 4763, None)
    sizes = [task.train.size(name) for name in task.train.client_ids]
    assert sum(sizes) == 41495


def test_autoencoder_is_to_give_the_ink_back(femnist_dir):
    task = load(
        "femnist_autoencoder",
        data_dir=str(femnist_dir),
        max_test_examples=50,
    )
    assert task.model_fn().count_params() == 2_837_314
    assert len(task.unseen) == 240
    examples = task.train.load(task.train.client_ids[0])
    assert examples.y.dtype == np.float32
    wanted = 1 - examples.x.reshape(-1, 784) / 255
    np.testing.assert_allclose(examples.y, wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["femnist_cnn", "femnist_autoencoder"])
def test_tasks_without_their_files_say_which_they_need(name):
    with pytest.raises(errors.ConfigError, match="needs --data_dir") as caught:
        load(name)
    assert femnist.TRAIN in str(caught.value)


@pytest.mark.soak
def test_writers_learn_and_the_model_is_exported(femnist_dir, tmp_path, cnn):
    path = tmp_path / "run"
    done = run_script(
        "train.py",
        "--task=femnist_cnn",
        "--model_fn=tff_pipeline.tasks.femnist:cnn_without_dropout",
        f"--data_dir={femnist_dir}",
        f"--output_dir={path}",
        "--client_batch_size=20",
        "--max_examples_per_client=100",
        "--max_test_examples=1000",
        "--total_rounds=8",
        "--rounds_per_eval=8",
    )
    assert done.returncode == 0, done.stderr
    with open(path / "metrics.csv", newline="") as file:
        row = list(csv.DictReader(file))[-1]
    # The commonest class is one image in eighteen.
    assert float(row["eval_accuracy"]) > 0.2
    model = tf.saved_model.load(str(path / "saved_model"))
    serve = model.signatures["serving_default"]
    task = load(
        "femnist_cnn", data_dir=str(femnist_dir), max_test_examples=1000
    )
    classes = serve(image=tf.constant(task.test.x))["class_id"]
    assert np.mean(classes == task.test.y) == pytest.approx(
        float(row["eval_accuracy"]), abs=1e-6
    )
