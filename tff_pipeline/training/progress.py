"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

import shutil
import sys
import time
from typing import Any, TextIO

import tqdm

from tff_pipeline.runs.metric_names import TEST, VALIDATION
from tff_pipeline.runs.metrics_file import Row

_SECONDS_BETWEEN_LINES = 1.0


class Progress:
    """Shows rounds as they end; a context manager."""

    def __init__(self, start: int, total: int, file: TextIO = sys.stdout):
        """Shows an empty bar where there is a terminal.

        Args:
          start: The number of rounds that were trained before.
          total: The number of rounds that the run will have.
          file: The place to write to. On a terminal it is a bar, elsewhere
            lines, at most one a second and always the last.
        """
        self._total = total
        self._file = file
        self._bar = None
        self._done = 0
        self._begun = time.monotonic()
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._evaluated = ""
        if file.isatty():
            self._bar = tqdm.tqdm(
                total=total,
                initial=start,
                file=file,
                unit="",
                ncols=shutil.get_terminal_size().columns,
                bar_format="round {n_fmt}/{total_fmt} |{bar:12}| {rate_fmt} "
                "{remaining} left{postfix}",
            )

    def __enter__(self) -> "Progress":
        return self

    def before(self, row: Row) -> None:
        """Shows an evaluation before the first round.

        Args:
          row: The row of round 0.
        """
        if self._bar is not None:
            self._evaluated = _evaluated(row)
            self._bar.set_postfix_str(self._evaluated)
            return
        print(
            f"round 0/{self._total}  {_metrics(row)}",
            file=self._file,
            flush=True,
        )

    def update(self, row: Row, last: bool) -> None:
        """Shows a round that ended.

        Args:
          row: The round's row of metrics.csv.
          last: Whether training ends with this round.
        """
        self._done += 1
        if self._bar is not None:
            # The last evaluation stays until the next one.
            self._evaluated = _evaluated(row) or self._evaluated
            words = " ".join([_shown(row, "train_", ""), self._evaluated])
            self._bar.set_postfix_str(words.strip(), refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if not last and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        rate = self._done / max(now - self._begun, 1e-9)
        left = (self._total - row["round"]) / rate
        print(
            f"round {row['round']}/{self._total}  {_metrics(row)}  "
            f"{rate:.2f} rounds/s  {_clock(left)} left",
            file=self._file,
            flush=True,
        )

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()


def _metrics(row: Row) -> str:
    """All metrics of a row by their columns."""
    return "  ".join(
        f"{name} {row[name]:.4f}"
        for name in row
        if name.startswith(("train_", TEST, VALIDATION))
    )


def _evaluated(row: Row) -> str:
    """The evaluations of a row in a few words, or an empty text."""
    shown = [
        _shown(row, TEST, "test"),
        _shown(row, VALIDATION, "validation"),
    ]
    return " ".join(shown).strip()


def _shown(row: Row, prefix: str, words: str) -> str:
    """Metrics of one kind in a few words, or an empty text."""
    shown = [
        f"{name[len(prefix) :]} {row[name]:.3f}"
        for name in row
        if name.startswith(prefix)
    ]
    return " ".join([words, *shown]) if shown else ""


def _clock(seconds: float) -> str:
    """Minutes and seconds, such as 2:05."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
