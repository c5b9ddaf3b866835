"""Finishers: the steps that follow a run's last round.

`--finishers` chooses them from `registry.FINISHERS`. An entry of that table is
a function of one `FinishContext`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from tff_pipeline import registry
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runs.round_log import RoundLog

# Finishers that only read files, such as a picture's, need no TensorFlow.
if TYPE_CHECKING:
    from tff_pipeline.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class FinishContext:
    """All that a finisher may know of the run that ended.

    Attributes:
      config: The experiment.
      task: The data and the model that it was trained on.
      directory: The run directory; metrics and the last checkpoint are in it.
      round_number: The number of rounds that were trained.
      weights: The trained model's weights, `tff.learning.models.ModelWeights`
        of NumPy arrays.
      state_digest: SHA-256 of the server's last state, as in rounds.jsonl.
      log: The round log, for a record of what the finisher did.
    """

    config: ExperimentConfig
    task: "Task"
    directory: RunDirectory
    round_number: int
    weights: Any
    state_digest: str
    log: RoundLog


def finish(context: FinishContext) -> None:
    """Calls the finishers that `--finishers` names, in that order.

    Args:
      context: The run that ended.

    Raises:
      PipelineError: If one of them cannot do its work.
    """
    names = context.config.run.finishers
    for name in () if names == "none" else names.split(","):
        registry.load(name, registry.FINISHERS)(context)
