"""Reads each round's cohort while the round before it trains."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tff_pipeline import timing


@dataclasses.dataclass(frozen=True)
class Cohort:
    """The clients of one round, with their data.

    Attributes:
      client_ids: The clients' ids, in order.
      datasets: The data of each client, as the process takes them, in the
        same order.
      figures: Values of columns of metrics.csv that tell how the clients came
        to be these, by name.
      late_ids: The ids of clients that sent their message too late, where it
        matters what these keep.
      late: The data of these clients, in the same order.
    """

    client_ids: Sequence[str]
    datasets: Sequence[Any]
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    late_ids: Sequence[str] = ()
    late: Sequence[Any] = ()


class CohortReader:
    """Reads cohorts one round ahead, in a thread of its own.

    It is a context manager; its end stops the thread. At most one cohort waits
    to be used, so memory holds at most two.
    """

    def __init__(self, cohort_of: Callable[[int], Cohort], last: int):
        """Starts the thread; nothing is read before `read`.

        Args:
          cohort_of: A pure function from a round number, 1 or above, to the
            cohort of that round.
          last: The number of the last round; nothing is read after it.
        """
        self._cohort_of = cohort_of
        self._last = last
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._ahead: dict[int, concurrent.futures.Future[Cohort]] = {}

    def __enter__(self) -> "CohortReader":
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.shutdown(cancel_futures=True)

    def read(self, number: int) -> Cohort:
        """Returns a round's cohort, and begins to read the next round's.

        Args:
          number: The number of the round, 1 or above.

        Raises:
          Exception: The error that `cohort_of` raised; another call with the
            same number tries again.
        """
        waiting = self._ahead.pop(number, None) or self._submit(number)
        cohort = waiting.result()
        if number < self._last:
            self._ahead[number + 1] = self._submit(number + 1)
        return cohort

    def _submit(self, number: int) -> concurrent.futures.Future[Cohort]:
        def read() -> Cohort:
            with timing.span("reading ahead"):
                return self._cohort_of(number)

        return self._thread.submit(read)
