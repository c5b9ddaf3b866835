"""Compares runs: what differs, how each ended, and which is best.

python scripts/compare.py --metric=accuracy runs/a runs/b runs/c
python scripts/compare.py runs --output=comparison

Names run directories, or folders that hold some. Runs that differ by --seed
alone are one setting, with mean and spread; settings are held against the best
by a paired test over the seeds that both have. --output writes a page with
learning curves, and two CSV files. Answers without TensorFlow.
"""

from collections.abc import Sequence

from tff_pipeline import errors
from tff_pipeline.flags import sweeps

TAKES_PATHS = True


def define_flags() -> None:
    """Defines the flags of this command."""
    sweeps.define_compare_flags()


def main(paths: Sequence[str]) -> None:
    """Prints the comparison, and where it was written.

    Args:
      paths: The arguments that are no flags: folders.
    """
    metric, output = sweeps.compare_question()
    if not paths:
        raise errors.ConfigError(
            "No run is named; name run directories or a folder of them, as in: "
            "compare runs/a runs/b."
        )
    # Here and not above: flags are refused before NumPy is imported.
    from tff_pipeline.commands import compare
    from tff_pipeline.reporting import comparison_text

    result = compare.compare(paths, metric)
    print(comparison_text.on_screen(result))
    if output is not None:
        task = result.settings[0].runs[0].config.data.task
        written = compare.write(result, output, f"Runs of {task}")
        print("\nWritten: " + ", ".join(written))
