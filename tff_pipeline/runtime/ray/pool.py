"""Workers on a Ray cluster: each shard is computed, whoever fails.

Ray starts and ends workers and carries messages. What it leaves to its users is
here: a deadline for each shard, another try on another worker, the least
number of workers, and a check that all read the same clients with the same
software. Only the driver tries again, never Ray, so that there is one rule.
"""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Optional

import ray
import ray.exceptions

from tff_pipeline import errors
from tff_pipeline.runtime.passes import OfShard
from tff_pipeline.runtime.ray import agreement
from tff_pipeline.runtime.ray.layout import Broadcast, Program, Shard
from tff_pipeline.runtime.ray.options import PoolOptions
from tff_pipeline.runtime.ray.watchdog import limited
from tff_pipeline.runtime.ray.worker import About, Reader, Worker

# A call of Ray's that should take a second, and did not come back in this time,
# does not come back: the machine that it waits for is frozen.
_RAY_SECONDS = 120
# One that waits for a machine may be asked anew after this time.
_START_SECONDS = 600
_TURN_SECONDS = 0.5
# How many shards, for each worker, may be done before the one that comes next.
_AHEAD = 4


@dataclasses.dataclass
class _Member:
    """A worker, and what it was asked.

    Attributes:
      actor: Ray's handle.
      answer: The reference to what it was asked last, or `None`.
      until: When the answer must be there.
      about: What it said when it joined; `None` before.
      shard: The number of the shard that it computes, or `None`.
    """

    actor: Any
    answer: Any
    until: float
    about: Optional[About] = None
    shard: Optional[int] = None

    def __str__(self) -> str:
        if self.about is None:
            return "a worker that had not joined"
        return f"worker {self.about.pid} on {self.about.host}"


class RayPool:
    """Computes shards on the workers of a cluster that was joined.

    Attributes:
      losses: How many workers were lost so far.
    """

    def __init__(
        self,
        make_reader: Callable[[], Reader],
        facts: Mapping[str, str],
        options: PoolOptions,
        announce: Callable[[str], None],
    ):
        """Asks for no worker yet.

        Args:
          make_reader: Makes the reader of clients on a worker's machine; sent
            by `pickle`.
          facts: What a worker must share with the driver.
          options: The number of workers, and limits.
          announce: Takes a line about each event.
        """
        self._make = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(
            Worker
        ).remote
        self._make_reader = make_reader
        self._facts = facts
        self._options = options
        self._announce = announce
        self._members: list[_Member] = []
        self._programs: dict[str, Any] = {}
        self._refused = 0
        self.losses = 0

    def compute(
        self, program: Program, broadcast: Broadcast, shards: Sequence[Shard]
    ) -> Iterator[OfShard]:
        """Yields the results of shards, in their order.

        Args:
          program: The computation.
          broadcast: What the shards have in common.
          shards: The shards.

        Raises:
          TrainingError: If there are too few workers for too long, or a shard
            ended too many.
          PipelineError: If too many workers are not like the driver; or what a
            worker raised, such as for damaged data.
        """
        with limited(_RAY_SECONDS, "sending a round to the cluster"):
            if program.digest not in self._programs:
                self._programs[program.digest] = ray.put(program)
            arguments = self._programs[program.digest], ray.put(broadcast)
        waiting = collections.deque(range(len(shards)))
        tries: collections.Counter[int] = collections.Counter()
        done: dict[int, OfShard] = {}
        next_out = 0
        alone_until = None
        try:
            while next_out < len(shards):
                with limited(_RAY_SECONDS, "asking the workers of the cluster"):
                    self._fill()
                    joined = [m for m in self._members if m.about is not None]
                    if len(joined) >= self._options.min_workers:
                        alone_until = None
                        most = next_out + _AHEAD * len(joined)
                        self._hand_out(shards, waiting, most, arguments)
                    else:
                        alone_until = self._patience(alone_until, len(joined))
                    self._wait()
                    for member in list(self._members):
                        self._settle(member, shards, waiting, tries, done)
                while next_out in done:
                    next_out += 1
                    yield done.pop(next_out - 1)
        finally:
            # After an error no worker is busy for nobody.
            for member in list(self._members):
                if member.shard is not None:
                    self._kill(member)

    def wait_for(self, count: int) -> list[About]:
        """Waits until so many workers have joined.

        Args:
          count: The number, at most that of the options.

        Returns:
          What the workers said of themselves.

        Raises:
          TrainingError: If they do not come in time.
          PipelineError: If too many are not like the driver.
        """
        until = None
        while True:
            joined = [m.about for m in self._members if m.about is not None]
            if len(joined) >= count:
                return joined
            until = self._patience(until, len(joined))
            with limited(_RAY_SECONDS, "waiting for workers of the cluster"):
                self._fill()
                self._wait()
                for member in list(self._members):
                    self._settle(member, (), collections.deque(), {}, {})

    def usage(self) -> list[Mapping[str, float]]:
        """Measures the workers that have joined; see `Worker.usage`."""
        with limited(_RAY_SECONDS, "asking the workers of the cluster"):
            answers = [
                member.actor.usage.remote()
                for member in self._members
                if member.about is not None
            ]
            return list(ray.get(answers, timeout=_RAY_SECONDS))

    def close(self) -> None:
        """Ends the workers."""
        with limited(_RAY_SECONDS, "ending the workers of the cluster"):
            for member in list(self._members):
                self._kill(member)

    def _fill(self) -> None:
        """Asks for the workers that are missing; Ray places those it can.

        A worker that no machine has room for begins when a machine joins, so
        late machines need nothing else.
        """
        while len(self._members) < self._wanted:
            actor: Any = self._make(self._make_reader)
            until = time.monotonic() + _START_SECONDS
            self._members.append(_Member(actor, actor.about.remote(), until))

    def _hand_out(
        self,
        shards: Sequence[Shard],
        waiting: "collections.deque[int]",
        most: int,
        arguments: tuple[Any, Any],
    ) -> None:
        """Gives a shard to each worker that has none, below the number `most`.

        What is done long before its turn would fill the driver's memory.
        """
        for member in self._members:
            if member.about is None or member.shard is not None:
                continue
            if not waiting or waiting[0] >= most:
                return
            member.shard = waiting.popleft()
            member.answer = member.actor.compute.remote(
                *arguments, shards[member.shard]
            )
            member.until = time.monotonic() + self._options.shard_seconds

    def _wait(self) -> None:
        """Waits for any answer, or a short time."""
        answers = [m.answer for m in self._members if m.answer is not None]
        if answers:
            ray.wait(answers, timeout=_TURN_SECONDS, fetch_local=False)
        else:
            time.sleep(_TURN_SECONDS)

    def _settle(
        self,
        member: _Member,
        shards: Sequence[Shard],
        waiting: "collections.deque[int]",
        tries: Any,
        done: dict[int, OfShard],
    ) -> None:
        """Takes a worker's answer, if it is there, or gives the worker up."""
        if member.answer is None:
            return
        try:
            value = self._answer(member)
        except (ray.exceptions.RayError, TimeoutError, MemoryError) as error:
            number, why = member.shard, _in_words(error)
            self.losses += 1
            self._announce(f"{member} is lost: {why}.")
            self._kill(member)
            if number is None:
                return
            waiting.appendleft(number)
            tries[number] += 1
            if tries[number] >= self._options.max_tries:
                clients = shards[number].clients
                raise errors.TrainingError(
                    f"Clients {clients.start + 1} to {clients.stop} of a round "
                    f"ended {tries[number]} workers, the last one by this: "
                    f"{why}; raise --max_shard_tries or --shard_seconds, or "
                    "give workers more memory. The last checkpoint stands."
                ) from None
            return
        if value is None:
            return
        member.answer = None
        if member.about is not None:
            assert member.shard is not None
            done[member.shard], member.shard = value, None
            return
        differ = agreement.differences(self._facts, value.facts)
        if differ:
            self._refuse(member, value.host, differ)
            return
        member.about = value
        self._announce(f"{member} has joined.")

    def _refuse(self, member: _Member, host: str, differ: list[str]) -> None:
        """Goes on without a worker that would give other results.

        Another one in its place might begin on the same machine.
        """
        self._kill(member)
        self._refused += 1
        why = (
            f"The worker on {host} is not like the driver in "
            f"{', '.join(differ)}, and would give other results; install and "
            "copy there what is here."
        )
        if self._wanted < self._options.min_workers:
            raise errors.PipelineError(f"{why} The last checkpoint stands.")
        self._announce(why)

    @property
    def _wanted(self) -> int:
        """The number of workers to ask for, without those refused."""
        return self._options.workers - self._refused

    def _answer(self, member: _Member) -> Any:
        """Returns a worker's answer, `None` if it is not there yet.

        Raises:
          TimeoutError: If it is late.
          RayError: If the worker is lost.
        """
        if not ray.wait([member.answer], timeout=0, fetch_local=False)[0]:
            if time.monotonic() > member.until:
                raise TimeoutError("it took too long")
            return None
        try:
            # With a limit: the answer may lie on a machine that is gone.
            return ray.get(member.answer, timeout=_RAY_SECONDS / 2)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, MemoryError):
                raise MemoryError from None
            if isinstance(cause, errors.PipelineError):
                where = (
                    "" if member.about is None else f"On {member.about.host}: "
                )
                raise type(cause)(f"{where}{cause}") from None
            raise

    def _kill(self, member: _Member) -> None:
        """Ends a worker; nothing is asked of it any more."""
        self._members.remove(member)
        with contextlib.suppress(ray.exceptions.RayError):  # It has ended.
            ray.kill(member.actor, no_restart=True)

    def _patience(self, until: Optional[float], joined: int) -> float:
        """Returns until when to wait for workers; raises if that is past."""
        now, seconds = time.monotonic(), self._options.wait_seconds
        if until is None:
            return now + seconds
        if now > until:
            raise errors.TrainingError(
                f"{joined} workers have joined in {seconds:.0f} s, and "
                f"--min_workers={self._options.min_workers}; start more "
                "machines, or lower that. The last checkpoint stands."
            )
        return until


def _in_words(error: BaseException) -> str:
    """Says why a worker was lost, in part of a sentence."""
    if isinstance(error, (MemoryError, ray.exceptions.OutOfMemoryError)):
        return "its memory ran out"
    if isinstance(error, (TimeoutError, ray.exceptions.GetTimeoutError)):
        return "it took too long"
    if isinstance(error, ray.exceptions.RayActorError):
        return "its process or its machine has ended"
    return type(error).__name__
