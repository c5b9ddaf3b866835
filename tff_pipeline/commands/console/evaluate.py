"""Evaluates a saved round: the central test set, and client by client.

python scripts/evaluate.py --run_dir=runs/quickstart

Prints a table and writes it to RUN_DIR/evaluations/round_000030.json.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_evaluation_flags()


def main() -> None:
    """Evaluates the round and prints the table."""
    question = runs.evaluation_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import saved_runs
    from tff_pipeline.reporting import evaluation_text

    path, report = saved_runs.evaluate(**question)
    print(evaluation_text.in_words(report))
    print(f"\nWritten to {path}")
