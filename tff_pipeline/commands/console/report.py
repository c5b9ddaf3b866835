"""Writes report.html of a run anew: all that is known of it on one page.

python scripts/report.py --run_dir=runs/quickstart

Every run that is trained to its end writes one. This takes in what came after
it: evaluations, an audit, a profile.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_report_flags()


def main() -> None:
    """Writes the report and prints where it is."""
    run_dir, data_dir = runs.report_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import saved_runs

    print(f"Report  {saved_runs.report(run_dir, data_dir)}")
