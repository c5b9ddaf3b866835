"""Checks that a Keras model of yours fits a task; trains nothing.

python scripts/check_model.py --task=digits_2nn --model_fn=package.module:name

Takes the flags and flagfiles of train.py. Prints what the model takes and
gives, what is done to its two ends, and the loss of its first weights. Exit
status 2 if it cannot be trained; the sentence says why.
"""

from tff_pipeline import errors
from tff_pipeline.flags import experiment as experiment_flags


def define_flags() -> None:
    """Defines the flags of this command."""
    experiment_flags.define_task_flags()


def main() -> None:
    """Prints a few lines on the model."""
    config = experiment_flags.task_config()
    if config.data.model_fn is None:
        raise errors.ConfigError(
            "--model_fn is not set; name a function, written "
            "package.module:function."
        )
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import check_model

    print("\n".join(check_model.lines(config)))
