"""Flags of compare."""

from typing import Optional

from tff_pipeline.config import fields
from tff_pipeline.flags import parsing


def define_compare_flags() -> None:
    """Defines the flags of scripts/compare.py."""
    _define_metric("Comparison")
    parsing.define_flag(
        "Comparison",
        "output",
        fields.PATH,
        "Names a folder, to which comparison.html, settings.csv and runs.csv "
        "are written. Default: nothing is written.",
    )


def compare_question() -> tuple[Optional[str], Optional[str]]:
    """Returns --metric and --output of scripts/compare.py."""
    return parsing.FLAGS["metric"].value, parsing.FLAGS["output"].value


def _define_metric(title: str) -> None:
    parsing.define_flag(
        title,
        "metric",
        fields.TEXT,
        "Names the metric that tells which run is best, as --target_metric "
        "does. Default: that of --target_metric, or the first that is "
        "evaluated and is not the loss.",
    )
