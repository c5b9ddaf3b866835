"""How often a backdoor works: the other half of what a defence costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]


class AttackSuccess:
    """Measures a backdoor on test examples that are not of its target."""

    def __init__(
        self, task: Task, trigger: Callable[[Array], Array], target: int
    ):
        """Draws the pattern into the test examples of other classes.

        Args:
          task: The task; it predicts classes.
          trigger: From inputs [n, ...] to inputs with the pattern.
          target: The class that they are to become. Examples that are of it
            anyhow would count as successes of any model.
        """
        labels = task.test.y.reshape(-1)
        others = task.test.take(np.flatnonzero(labels != target))
        self._examples = Examples(trigger(others.x), others.y)
        self._target = target

    def share(self, evaluator: Evaluator) -> float:
        """Measures the weights that the evaluator was assigned last.

        Args:
          evaluator: The evaluator of the task.

        Returns:
          The share of the examples that are taken to be of the target, from 0
          to 1; NaN if all test examples are of it.
        """
        if not len(self._examples):
            return float("nan")
        _, outputs = evaluator.measure_and_keep(self._examples)
        if outputs.shape[-1] == 1:
            # The logit of the second of two classes.
            predicted = (outputs[:, 0] > 0).astype(int)
        else:
            predicted = outputs.argmax(axis=-1)
        return float(np.mean(predicted == self._target))
