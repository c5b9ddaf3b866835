"""Serves an exported model over REST, as TensorFlow Serving does, to try it.

python scripts/serve.py --model=runs/quickstart/saved_model

Then open the address that it prints in a browser, or

curl -d '{"instances": [...]}' http://127.0.0.1:8501/v1/models/NAME:predict
"""

from tff_pipeline.flags import tools


def define_flags() -> None:
    """Defines the flags of this command."""
    tools.define_serve_flags()


def main() -> None:
    """Serves the model until it is asked to stop."""
    settings = tools.serve_settings()
    # Here and not above: flags are refused before anything is imported.
    from tff_pipeline.serving import command

    command.serve(settings)
