"""Tables of what was measured, in Markdown that reads well as it is."""

from collections.abc import Mapping, Sequence

from benchmarks.contenders import CONTENDERS
from benchmarks.measure import CHECKED, REFERENCE, Record
from benchmarks.workloads import WORKLOADS

# Above this, a contender did other work than the reference.
TOLERANCE = 1e-3
_OURS = "pipeline"


def is_equal(record: Record) -> bool:
    """Whether a contender ended with the reference's weights."""
    return record.relative_difference <= TOLERANCE  # And is not NaN.


def of_workload(records: Sequence[Record]) -> str:
    """All figures of one workload."""
    ours = {r.contender: r.median_seconds for r in records}.get(_OURS)
    rows = [
        [
            CONTENDERS[r.contender].words,
            _seconds(r.median_seconds),
            f"{_seconds(r.min_seconds)} to {_seconds(r.max_seconds)}",
            str(r.timed_rounds),
            f"{r.median_seconds / ours:.2f}" if ours else "",
            _seconds(r.cpu_seconds),
            f"{r.peak_mb:.0f}",
            f"{r.first_round_seconds:.1f}",
            f"{r.relative_difference:.0e}" + ("" if is_equal(r) else " !"),
        ]
        for r in records
    ]
    return _table(
        [
            "",
            "median s",
            "min to max s",
            "rounds",
            "x ours",
            "CPU s",
            "peak MB",
            "first round s",
            "difference",
        ],
        rows,
    )


def summary(records: Sequence[Record]) -> str:
    """Medians alone: a row a workload, a column a contender."""
    medians = {(r.workload, r.contender): r.median_seconds for r in records}
    workloads = list(dict.fromkeys(r.workload for r in records))
    names = [n for n in CONTENDERS if any(r.contender == n for r in records)]
    rows = []
    for workload in workloads:
        present = {n: medians.get((workload, n)) for n in names}
        fastest = min(value for value in present.values() if value is not None)
        row = [workload]
        for value in present.values():
            words = "" if value is None else _seconds(value)
            row.append(f"**{words}**" if value == fastest else words)
        rows.append(row)
    return _table(
        ["median s a round", *(CONTENDERS[name].words for name in names)], rows
    )


def document(
    records: Sequence[Record],
    notes: Sequence[str],
    versions: Mapping[str, Mapping[str, str]],
    header: Sequence[str],
) -> str:
    """The whole Markdown file.

    Args:
      records: Of all workloads.
      notes: What went wrong, or was not there; a line each.
      versions: Contender's name -> its packages' versions.
      header: How it was made, on what; a line each.
    """
    parts = ["# Benchmark", *header, summary(records), _LEGEND]
    for workload in dict.fromkeys(r.workload for r in records):
        of_it = [r for r in records if r.workload == workload]
        parts += [f"## {workload}", f"{WORKLOADS[workload].words}."]
        parts.append(of_workload(of_it))
    parts.append("## Versions")
    parts.append(
        "\n".join(
            f"- {CONTENDERS[name].words}: "
            + ", ".join(
                f"{package} {version}" for package, version in of.items()
            )
            for name, of in versions.items()
        )
    )
    if notes:
        parts += ["## Missing", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


_LEGEND = f"""\
Every contender does the same work on all cores: the same clients, batches,
first weights and learning rate. Their rounds take turns, one contender at a
time; the first round is not timed. CPU s is user and system time a round, over
all processes of a contender; peak MB is the sum of their peaks, in which what
they share counts several times. First round s begins with the start of the
process. Difference is how far its weights are, after {CHECKED} rounds, from
those of {REFERENCE} (or of the first contender, without it), relative to what
was learned; above {TOLERANCE:g} it is marked, and the command fails."""


def _seconds(value: float) -> str:
    """Three digits, as many as the spread of rounds bears out."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths)
        padded = [first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(map(line, [header, rule, *rows]))
