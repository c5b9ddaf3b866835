"""Describes how a user's own model fits a task, without training it."""

import dataclasses
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tff_pipeline import experiment
from tff_pipeline.assembly import freezing
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.evaluation.central import Evaluator
from tff_pipeline.models.initial_weights import names_by_group
from tff_pipeline.models.weight_groups import weight_groups
from tff_pipeline.tasks import own_model
from tff_pipeline.tasks.task import Task

# Test examples that the loss is computed on.
_SHOWN = 1000


def lines(config: ExperimentConfig) -> list[str]:
    """Checks a model and says in a few lines what it takes and gives.

    Args:
      config: The experiment; `config.data.model_fn` names the model.

    Raises:
      ConfigError: If the model cannot be trained on the task.
      DataError: If the data are missing or damaged.
    """
    reference = str(config.data.model_fn)
    plain = dataclasses.replace(config.data, model_fn=None)
    task = experiment.load_task(dataclasses.replace(config, data=plain))
    own, fitting = own_model.used(task, reference)
    tf.keras.utils.set_random_seed(config.run.seed)
    shown = own.test.take(np.arange(min(_SHOWN, len(own.test))))
    model = own.build_model()
    groups = weight_groups(model)
    evaluator = Evaluator(own)
    weights = tf.nest.map_structure(lambda each: each.numpy(), groups.sent)
    measured = evaluator.evaluate(weights, shown)
    takes = "what it is given" if fitting.takes is None else _of(fitting.takes)
    told = [
        f"data     {_of(own.batch_spec[0])}{_range(shown.x)}",
        f"labels   {_of(own.batch_spec[1])}{_range(shown.y)}",
        f"takes    {takes}",
        f"gives    {_of(fitting.gives)}",
        *(f"changed  {words}" for words in fitting.words),
        _weights(own, model, config.data.model.freeze),
        f"untrained, on {len(shown):,} test examples: "
        + ", ".join(f"{name} {value:.4g}" for name, value in measured.items()),
        "It can be trained.",
    ]
    return told


def _of(spec: Any) -> str:
    sizes = ("any" if n is None else str(n) for n in spec.shape[1:])
    return f"{spec.dtype.name} [{' x '.join(sizes)}]"


def _range(values: Any) -> str:
    if values.dtype.kind not in "biuf" or not values.size:
        return ""
    low, high = np.nanmin(values), np.nanmax(values)
    return f", {low:.6g} to {high:.6g}"


def _weights(own: Task, model: tf.keras.Model, freeze: Optional[str]) -> str:
    """Counts the numbers of each group, as `--freeze` would make them."""
    chosen = set() if freeze is None else set(freezing.chosen(own, freeze))
    names = names_by_group(model)
    counts = dict.fromkeys(names, 0)
    for group, variables in weight_groups(model)._asdict().items():
        for name, variable in zip(names[group], variables):
            becomes = "frozen" if name in chosen else group
            counts[becomes] += variable.shape.num_elements()
    return (
        f"weights  {counts['trainable']:,} trained, "
        f"{counts['non_trainable']:,} sent but not trained, "
        f"{counts['frozen']:,} frozen"
    )
