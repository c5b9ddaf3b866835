"""What a contender's process hears and says: rounds, one at a time.

A line of JSON each way, over two pipes of their own, so that nothing that a
framework prints comes between. A contender calls `Rounds.wait` before every
round, from its own loop or from the callback of a framework that owns the loop:

    build everything
    while True:
        rounds.wait(weights)
        one round

It is ended from outside.
"""

import importlib.metadata
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

import numpy as np

from benchmarks import processes

# Commands: one round; weights to the file `path`; versions of `packages`.
ROUND = "round"
WEIGHTS = "weights"
VERSIONS = "versions"


class Rounds:
    """The contender's end of the pipes."""

    def __init__(self, commands: int, answers: int):
        """Takes the descriptors of the two pipes, which no child inherits."""
        for descriptor in (commands, answers):
            os.set_inheritable(descriptor, False)
        self._commands: queue.SimpleQueue = queue.SimpleQueue()
        self._answers = os.fdopen(answers, "w")
        self._begun: Optional[float] = None
        listener = threading.Thread(
            target=self._listen, args=(commands,), daemon=True
        )
        listener.start()

    def wait(
        self,
        weights: Callable[[], Sequence[np.ndarray]],
        metrics: Optional[Mapping[str, float]] = None,
    ) -> None:
        """Ends the round under way, if any, and waits for the next.

        Args:
          weights: Returns the model's weights in the layout of Keras.
          metrics: What the round measured in training, if it did.
        """
        if self._begun is not None:
            seconds = time.perf_counter() - self._begun
            self._answer({"seconds": seconds, "metrics": dict(metrics or {})})
        while True:
            command = self._commands.get()
            if command["do"] == ROUND:
                self._begun = time.perf_counter()
                return
            if command["do"] == VERSIONS:
                names = command["packages"]
                self._answer({n: importlib.metadata.version(n) for n in names})
            else:
                np.savez(command["path"], *map(np.asarray, weights()))
                self._answer({})

    def _answer(self, answer: Mapping[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    def _listen(self, commands: int) -> None:
        with os.fdopen(commands) as lines:
            for line in lines:
                self._commands.put(json.loads(line))
        # The benchmark ended, however it did; so do the contender's workers,
        # some of which would go on for ever.
        processes.end_descendants(os.getpid())
        os._exit(0)
