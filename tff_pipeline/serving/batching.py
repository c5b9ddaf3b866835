"""Answers requests that wait at the same time by one TensorFlow call.

While TensorFlow works on one batch, the next one gathers. TensorFlow runs on
one thread of its own, so that the event loop goes on reading, and spreads a
call over cores itself.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from tff_pipeline.serving.model import Signature
from tff_pipeline.serving.refusal import Refusal
from tff_pipeline.serving.request import Request

Array = npt.NDArray[Any]

Outputs = Mapping[str, Array]


@dataclasses.dataclass(eq=False)
class _Job:
    request: Request
    answer: "asyncio.Future[Outputs]"
    arrived: float


@dataclasses.dataclass(eq=False)
class _Group:
    """Holds jobs that may share a call, in the order in which they came."""

    jobs: "collections.deque[_Job]" = dataclasses.field(
        default_factory=collections.deque
    )
    rows: int = 0


class Batcher:
    """Answers requests, several at a time.

    Use it on one event loop: `start`, `run` from any number of tasks, `stop`.
    """

    def __init__(
        self,
        max_rows: int,
        max_wait_s: float,
        max_waiting: int,
        on_batch: Callable[[int], None] = lambda rows: None,
    ):
        """Sets the limits; nothing runs before `start`.

        Args:
          max_rows: Most rows of several requests in one call. A request of
            more goes through a call by itself: its rows are not pulled apart.
          max_wait_s: Longest time that a request waits for its batch to fill,
            in seconds, if TensorFlow has nothing else to do.
          max_waiting: Most requests that wait; others are refused.
          on_batch: Called with the rows of each call.
        """
        self._max_rows = max_rows
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._groups: dict[Hashable, _Group] = {}
        self._waiting = 0
        self._stopping = False
        self._thread = concurrent.futures.ThreadPoolExecutor(
            1, thread_name_prefix="tensorflow"
        )
        # Set when there is something to do, or no reason to wait any more.
        self._wake: Optional[asyncio.Event] = None
        self._task: Optional[asyncio.Task[None]] = None

    @property
    def waiting(self) -> int:
        """The number of requests that no call has begun for."""
        return self._waiting

    def start(self) -> None:
        """Begins to work on the running event loop."""
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Answers the requests that wait, then ends."""
        self._stopping = True
        if self._task is not None and self._wake is not None:
            self._wake.set()
            await self._task
        self._thread.shutdown()

    async def run(self, request: Request) -> Outputs:
        """Computes the outputs for one request.

        Args:
          request: The decoded request.

        Returns:
          The outputs by name, with the rows of this request alone.

        Raises:
          Refusal: If too many wait, or the model refuses the request.
        """
        if self._waiting >= self._max_waiting:
            raise Refusal(
                503,
                f"{self._waiting} requests are waiting for the model, and no "
                "more may (--max_waiting); try again later.",
            )
        if self._stopping or self._wake is None:
            raise Refusal(503, "The server is stopping; try another.")
        loop = asyncio.get_running_loop()
        job = _Job(request, loop.create_future(), loop.time())
        self._add(job)
        return await job.answer

    def _add(self, job: _Job) -> None:
        assert self._wake is not None
        group = self._groups.setdefault(_key(job), _Group())
        group.jobs.append(job)
        group.rows += job.request.rows or 1
        self._waiting += 1
        # Not for each: the worker sleeps until a batch is full or is late.
        if self._waiting == 1 or group.rows >= self._max_rows:
            self._wake.set()

    async def _work(self) -> None:
        assert self._wake is not None
        loop = asyncio.get_running_loop()
        while True:
            if not self._groups:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            # The longest wait first; a group's first job has waited longest.
            key = min(
                self._groups, key=lambda k: self._groups[k].jobs[0].arrived
            )
            group = self._groups[key]
            late = group.jobs[0].arrived + self._max_wait_s - loop.time()
            if (
                late > 0
                and self._max_rows > group.rows
                and not self._stopping
                and group.jobs[0].request.signature.batches
            ):
                self._wake.clear()
                timer = loop.call_later(late, self._wake.set)
                await self._wake.wait()
                timer.cancel()
                continue
            jobs = self._take(key)
            answers = await loop.run_in_executor(
                self._thread, _answers, [job.request for job in jobs]
            )
            self._on_batch(sum(job.request.rows or 1 for job in jobs))
            for job, answer in zip(jobs, answers):
                if job.answer.done():
                    continue
                if isinstance(answer, BaseException):
                    job.answer.set_exception(answer)
                else:
                    job.answer.set_result(answer)

    def _take(self, key: Hashable) -> list[_Job]:
        """Takes the next batch of a group: whole requests, at least one."""
        group = self._groups[key]
        taken = [group.jobs.popleft()]
        rows = taken[0].request.rows or 1
        while group.jobs:
            more = group.jobs[0].request.rows or 1
            if rows + more > self._max_rows:
                break
            taken.append(group.jobs.popleft())
            rows += more
        group.rows -= rows
        self._waiting -= len(taken)
        if not group.jobs:
            del self._groups[key]
        return taken


def _key(job: _Job) -> Hashable:
    """Returns a key that is equal for requests whose arrays can be joined."""
    request = job.request
    if request.rows is None or not request.signature.batches:
        return job
    shapes = tuple(array.shape[1:] for array in request.arrays.values())
    return request.signature.name, shapes


def _answers(
    requests: Sequence[Request],
) -> Sequence[Union[Outputs, BaseException]]:
    """Computes an answer, or an exception, for each request.

    Runs on TensorFlow's thread.
    """
    signature = requests[0].signature
    try:
        if len(requests) == 1:
            return [signature(requests[0].arrays)]
        return _in_one_call(signature, requests)
    except Exception as error:
        if len(requests) == 1:
            return [error]
        # One of them may be to blame; the others shall not suffer.
        return [answer for r in requests for answer in _answers([r])]


def _in_one_call(
    signature: Signature, requests: Sequence[Request]
) -> Sequence[Outputs]:
    joined = {
        name: np.concatenate([r.arrays[name] for r in requests])
        for name in signature.inputs
    }
    outputs = signature(joined)
    ends = np.cumsum([r.rows for r in requests]).tolist()
    for name, array in outputs.items():
        if array.shape[0] != ends[-1]:
            raise ValueError(
                f"The output {name!r} has {array.shape[0]} rows for "
                f"{ends[-1]} of input."
            )
    return [
        {name: array[end - r.rows : end] for name, array in outputs.items()}
        for r, end in zip(requests, ends)
        if r.rows is not None
    ]
