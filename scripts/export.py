"""Exports a saved round as a Keras SavedModel.

python scripts/export.py --run_dir=runs/quickstart --output=model
"""

from tff_pipeline import errors, flags

flags.define_run_dir_flags()
flags.define_export_flags()


def main() -> None:
    run_dir, round_number, data_dir = flags.run_dir()
    output = flags.FLAGS.output
    if output is None:
        raise errors.ConfigError(
            "--output is not set; name the folder to write the model to."
        )
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline import experiment

    round_number = experiment.export(
        run_dir, output, round_number, data_dir, flags.FLAGS.overwrite
    )
    print(
        f"Round {round_number} is a Keras SavedModel in {output}. What goes in "
        "and what comes out:\n  saved_model_cli show --tag_set=serve "
        f"--signature_def=serving_default --dir={output}"
    )


if __name__ == "__main__":
    flags.run(main)
