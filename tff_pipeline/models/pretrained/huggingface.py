"""Reads a Hugging Face folder: config.json, safetensors and tokenizer.json.

Llama and Mistral, GPT-2 and BERT can be read, see `families`, as
`save_pretrained` writes them.
"""

import os

from tff_pipeline.models.pretrained import (
    families,
    settings_file,
    tensor_files,
    tokenizer_file,
)
from tff_pipeline.models.pretrained.checkpoint import Checkpoint, check_layers

CONFIG = "config.json"
# What the names of the files end with that decide what is read.
ENDINGS = (".safetensors", ".json", ".jinja")
_LAYERS = ("num_hidden_layers", "n_layer")


def read(folder: str) -> Checkpoint:
    """Reads all of a folder but the weights' numbers.

    Args:
      folder: The folder.

    Returns:
      The pretrained transformer.

    Raises:
      ConfigError: If the package safetensors or tokenizers is not installed.
      DataError: If a file is missing or damaged; the model is of a kind that
        cannot be read; names or shapes of weights are not those of its config;
        or the tokenizer has more tokens than the model.
    """
    config = settings_file.load(os.path.join(folder, CONFIG))
    family = families.family(config)
    tensors = tensor_files.find(folder)
    names = tensors.shapes.keys()
    for name in _LAYERS:
        check_layers(config.values.get(name), names, folder)
    architecture = family.architecture(config, family.bare(names))
    left_out = family.left_out(architecture, names)
    tokenizer, settings = tokenizer_file.read(
        folder, architecture.vocabulary_size
    )
    return Checkpoint(
        folder,
        architecture,
        family.stored(architecture, names),
        {n: s for n, s in tensors.shapes.items() if n not in left_out},
        tensors.read,
        tensors.files,
        left_out,
        tokenizer,
        settings,
    )
