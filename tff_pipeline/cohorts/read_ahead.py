"""Cohorts, read a round before they are needed."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tff_pipeline import timing


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The clients of one round.

    Attributes:
      client_ids: Who they are.
      datasets: What the process takes, one a client.
      num_examples: How many examples they have together.
    """

    client_ids: Sequence[str]
    datasets: Sequence[Any]
    num_examples: int


class CohortReader:
    """Cohorts, each read a round ahead in a thread; a context manager."""

    def __init__(self, cohort_of: Callable[[int], Cohort], last: int):
        self._cohort_of = cohort_of
        self._last = last
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._ahead: dict[int, concurrent.futures.Future] = {}

    def __enter__(self) -> "CohortReader":
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown(cancel_futures=True)

    def read(self, number: int) -> Cohort:
        """A round's cohort; what kept it from being read may be tried again."""
        waiting = self._ahead.pop(number, None) or self._submit(number)
        cohort = waiting.result()
        if number < self._last:
            self._ahead[number + 1] = self._submit(number + 1)
        return cohort

    def _submit(self, number: int) -> concurrent.futures.Future:
        def read() -> Cohort:
            with timing.span("reading ahead"):
                return self._cohort_of(number)

        return self._thread.submit(read)
