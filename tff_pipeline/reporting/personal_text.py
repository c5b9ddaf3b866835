"""What clients' own models reached, in words."""

from collections.abc import Mapping, Sequence

from tff_pipeline.config.run import SEEN
from tff_pipeline.runs.metric_names import lower_is_better

_PREFIX, _MARK = f"{SEEN}_", "_gain"


def compared_metrics(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Lists the metrics in which clients' own models are compared.

    Args:
      rows: The rows of a run's metrics.csv.

    Returns:
      Their names; empty where clients have no models of their own.
    """
    columns = dict.fromkeys(name for row in rows for name in row)
    return [
        name[len(_PREFIX) : -len(_MARK)]
        for name in columns
        if name.startswith(_PREFIX) and name.endswith(_MARK)
    ]


def in_words(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Describes what clients' own models reached, a line a metric.

    Args:
      rows: The rows of a run's metrics.csv.

    Returns:
      Lines with the mean over clients after the last round that was evaluated,
      beside the one model that is evaluated centrally; the worst tenth (or, of
      a loss, the highest); and the best mean of all rounds, which is chosen on
      the same examples.
    """
    lines = []
    for name in compared_metrics(rows):
        start = f"{_PREFIX}{name}"
        measured = [row for row in rows if f"{start}{_MARK}" in row]
        last = measured[-1]
        lower = lower_is_better(name)
        best = (min if lower else max)(
            measured, key=lambda row: row[f"{start}_mean"]
        )
        worst = last[f"{start}_{'p90' if lower else 'p10'}"]
        lines.append(
            f"{name} {last[f'{start}_mean']:.4f} (one model for all "
            f"{last[f'{start}_global']:.4f}, gain "
            f"{last[f'{start}{_MARK}']:+.4f}); a tenth of the clients at "
            f"{worst:.4f} or {'above' if lower else 'below'}; best "
            f"{best[f'{start}_mean']:.4f} after round {best['round']:.0f}"
        )
    return lines
