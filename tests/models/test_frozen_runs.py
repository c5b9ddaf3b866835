"""Runs of a model with frozen weights, from the flags to the export."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.testing.scripts import rows_of, run_script
from tff_pipeline.models import frozen

WORDS, SIZE = 20_000, 16
HEAD = 64 * SIZE * 10 + 10
# Each grey value is a word.
MODULE = """
import tensorflow as tf
from tff_pipeline.models import frozen

base = frozen.load("base")

def model_fn():
    with frozen.using(base):
        return tf.keras.Sequential([
            tf.keras.Input([8, 8, 1], dtype="uint8"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Embedding(%d, %d, name="words", trainable=False),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10),
        ])
"""


def values(seed):
    draw = np.random.default_rng(seed)
    return draw.normal(size=[WORDS, SIZE]).astype(np.float32)


def store(folder, seed):
    shutil.rmtree(folder / "base", ignore_errors=True)
    return frozen.store(
        str(folder / "base"), {"words/embeddings": values(seed)}
    )


def train(folder, rounds):
    arguments = [
        *("--task=digits_2nn", "--num_clients=6", "--clients_per_round=3"),
        *("--model_fn=frozen_digits:model_fn", "--output_dir=run"),
        *("--server_optimizer=momentum", f"--total_rounds={rounds}"),
        "--rounds_per_checkpoint=2",
    ]
    return run_script("train.py", *arguments, cwd=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run of four rounds; its base is of seed 0."""
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "frozen_digits.py").write_text(MODULE % (WORDS, SIZE))
    store(folder, seed=0)
    done = train(folder, rounds=4)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of `trained`, to change."""
    return shutil.copytree(trained, tmp_path / "copy")


def test_the_run_names_the_weights_and_neither_keeps_nor_sends_them(trained):
    environment = json.loads((trained / "run" / "environment.json").read_text())
    base = frozen.load(str(trained / "base"))
    assert environment["data"]["frozen weights 1"] == base.sha256
    sizes = [
        os.path.getsize(os.path.join(root, name))
        for root, _, names in os.walk(trained / "run" / "checkpoints")
        for name in names
    ]
    assert sizes
    # The head, its momentum, and little else; the embedding is 1.3 MB.
    assert max(sizes) < 4 * 2 * HEAD + 20_000 < 4 * WORDS * SIZE / 10
    for row in rows_of(trained / "run"):
        assert row["bytes_down"] == str(4 * HEAD)
        # And what the client counts for.
        assert row["bytes_up"] == str(4 * HEAD + 4)


def test_the_exported_model_serves_without_the_frozen_folder(folder):
    shutil.rmtree(folder / "base")
    saved = tf.saved_model.load(str(folder / "run" / "saved_model"))
    image = np.random.default_rng(0).integers(17, size=[5, 8, 8, 1], dtype="u1")
    logits = saved.signatures["serving_default"](image=tf.constant(image))
    by_name = {v.name: v.numpy() for v in saved.variables}
    (kernel,) = (v for v in by_name.values() if v.shape == (64 * SIZE, 10))
    (bias,) = (v for v in by_name.values() if v.shape == (10,))
    x = values(0)[image.reshape(5, 64)].reshape(5, -1)
    np.testing.assert_allclose(
        logits["logits"], x @ kernel + bias, rtol=1e-5, atol=1e-4
    )


@pytest.mark.soak
def test_it_goes_on_with_the_same_weights_elsewhere(folder):
    done = train(folder, rounds=6)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(folder / "run")) == 6
    whole = folder / "whole"
    whole.mkdir()
    shutil.copy(folder / "frozen_digits.py", whole)
    store(whole, seed=0)
    assert train(whole, rounds=6).returncode == 0
    assert rows_of(folder / "run") == rows_of(whole / "run")


@pytest.mark.parametrize("command", ["train", "evaluate", "export"])
def test_a_run_is_not_taken_up_on_other_weights(folder, command):
    store(folder, seed=1)
    if command == "train":
        done = train(folder, rounds=6)
    elif command == "evaluate":
        done = run_script("evaluate.py", "--run_dir=run", cwd=folder)
    else:
        done = run_script(
            "export.py", "--run_dir=run", "--output=out", cwd=folder
        )
    assert done.returncode == 1
    assert "frozen weights 1" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "out").exists()


def test_damaged_weights_end_a_run_before_it_begins(folder):
    with open(folder / "base" / "00000.raw", "r+b") as file:
        file.write(b"\xff")
    done = train(folder, rounds=6)
    assert done.returncode != 0
    assert "words/embeddings" in done.stderr
    assert "SHA-256" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(rows_of(folder / "run")) == 4
