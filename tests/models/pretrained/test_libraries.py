"""A package that reads checkpoints is named where it is not installed."""

import pathlib
import sys

import pytest

from tests.testing import gguf_models
from tff_pipeline import errors
from tff_pipeline.models.pretrained import gguf_file, huggingface

CHECKPOINTS = pathlib.Path(__file__).parent / "checkpoints"


@pytest.mark.parametrize("name", ["safetensors", "tokenizers", "gguf"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name):
    path = gguf_models.write(str(tmp_path / "model.gguf"))
    # As Python has a module that cannot be found.
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(errors.ConfigError) as caught:
        if name == "safetensors":
            huggingface.read(str(CHECKPOINTS / "llama"))
        else:
            gguf_file.read(path)
    assert str(caught.value).endswith(
        f"is read by the package {name}, which is not installed; run: pip "
        f"install {name}."
    )
