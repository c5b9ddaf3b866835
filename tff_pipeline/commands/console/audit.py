"""Attacks a run's model to find out what it was trained on.

python scripts/audit.py --run_dir=runs/quickstart

Attacks RUN_DIR/saved_model (with --round=N, that round's model) with training
examples and test examples. Prints a table and a sentence on what it means, and
writes them to RUN_DIR/audit.txt, and as JSON to RUN_DIR/audit.json.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_audit_flags()


def main() -> None:
    """Attacks the run, prints the table and says where it was written."""
    question = runs.audit_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import audit

    text, _ = audit.audit(**question)
    print(text)
    print(f"\nWritten to {question['run_dir']}/audit.txt and audit.json")
