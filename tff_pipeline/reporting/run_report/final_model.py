"""Looks at a run's final model and data, for what no file of the run says."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow_federated as tff

from tff_pipeline.config import ExperimentConfig
from tff_pipeline.config.algorithm import MODEL_OF_ALL
from tff_pipeline.datasets.federation import census
from tff_pipeline.datasets.federation.census import Census
from tff_pipeline.evaluation import over_clients, scores
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.evaluation.spread import is_defined
from tff_pipeline.objectives import class_curves
from tff_pipeline.objectives.class_curves import Reliability, Roc
from tff_pipeline.tasks.task import Task

Array = npt.NDArray[Any]

# Clients that are read one by one: reading and evaluating more takes long.
_MOST_CLIENTS = 1000


@dataclasses.dataclass(frozen=True)
class ClientGroup:
    """Clients on whose examples the final model was evaluated.

    Attributes:
      which: Which clients they are, in words.
      sizes: The number of examples of each, int [clients].
      metrics: Metric -> float [clients], NaN where it is not defined.
    """

    which: str
    sizes: Array
    metrics: Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class FinalModel:
    """What is known of a final model and its data; none of it is protected.

    Attributes:
      test: What `scores.score_test_set` says; empty if the task predicts
        neither classes nor numbers.
      rocs: The receiver operating characteristic of each class.
      reliability: How sure the model is, and how often right.
      clients: The groups of `--eval_clients`.
      census: How many examples training clients have of each class, without
        their names; `None` where they are too many to be read.
      classes: The classes' names.
    """

    test: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rocs: Sequence[Roc] = ()
    reliability: Optional[Reliability] = None
    clients: Sequence[ClientGroup] = ()
    census: Optional[Census] = None
    classes: Sequence[str] = ()


def look(
    config: ExperimentConfig,
    task: Task,
    weights: tff.learning.models.ModelWeights,
    exact: bool,
) -> FinalModel:
    """Evaluates the final model, and counts what clients hold.

    Of a run with differential privacy nothing is computed: figures here are
    exact, and the run has promised that of its clients none will be.

    Args:
      config: The experiment.
      task: The task that the model is of.
      weights: The model's weights, arrays in the order of its variables.
      exact: Whether the run tells exact figures of clients that train.
    """
    if config.private or config.clients.dp_target_epsilon is not None:
        return FinalModel()
    groups = _groups(config, task) if exact else {}
    found: dict[str, Any] = {"classes": tuple(task.class_names)}
    if exact and len(task.train) <= _MOST_CLIENTS:
        found["census"] = _census(task)
    if not task.predicts and not groups:
        return FinalModel(**found)
    evaluator = Evaluator(task)
    evaluator.assign(weights)

    def keep(y: Array, outputs: Array) -> None:
        if task.predicts == "class":
            found["rocs"] = class_curves.roc_curves(y, outputs)
            found["reliability"] = class_curves.reliability(y, outputs)

    if task.predicts:
        found["test"] = scores.score_test_set(
            evaluator, task, scores.DEFAULT_THRESHOLD, keep
        )
    found["clients"] = [
        ClientGroup(
            which,
            np.array([members.size(name) for name in members.client_ids]),
            {
                name: np.where(is_defined(name, values), values, np.nan)
                for name, values in over_clients.evaluate_clients(
                    evaluator, lambda _: weights, members
                ).items()
            },
        )
        for which, members in groups.values()
    ]
    return FinalModel(**found)


def _census(task: Task) -> Census:
    """Counts training clients' examples, and of classes their labels."""
    if task.predicts == "class":
        counted = census.count(task.train, task.padding_label)
        return dataclasses.replace(counted, client_ids=())
    names = task.train.client_ids
    return Census((), np.array([task.train.size(name) for name in names]))


def _groups(config: ExperimentConfig, task: Task) -> dict[str, Any]:
    """Returns the groups to evaluate: a name -> (words, clients)."""
    chosen = config.run.eval_clients
    if chosen is None or config.algorithm.name in MODEL_OF_ALL:
        # Clients' own models are for evaluate.py, which loads what they keep.
        return {}
    return {
        name: (which, members)
        for name, (which, members) in over_clients.client_groups(task).items()
        if chosen in (name, "both") and len(members) <= _MOST_CLIENTS
    }
