"""Reads clients' data on the machines of a cluster, as the driver would."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.assembly import task as tasks
from tff_pipeline.cohorts.blocks import BlockReader
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.privacy.example_plan import ExamplePlan
from tff_pipeline.runs import environment
from tff_pipeline.runtime.ray.worker import Reader
from tff_pipeline.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class ReaderOfExperiment:
    """Makes the reader of an experiment's clients; it travels to the workers.

    Attributes:
      config: The experiment.
      frozen: Path of each file with frozen weights on the driver's machine ->
        its SHA-256.
      examples_plan: The plan that protects examples, if there is one.
    """

    config: ExperimentConfig
    frozen: Mapping[str, str]
    examples_plan: Optional[ExamplePlan]

    def __call__(self) -> Reader:
        """Reads what there is of data on this machine.

        Raises:
          PipelineError: If they are not there, or damaged.
        """
        config, data_dir = self.config, self.config.run.worker_data_dir
        if data_dir is not None:
            if not os.path.exists(data_dir):
                raise errors.ConfigError(
                    f"--worker_data_dir={data_dir} is not on this machine; "
                    "copy the data there, or name the folder that has them."
                )
            data = dataclasses.replace(config.data, data_dir=data_dir)
            config = dataclasses.replace(config, data=data)
        task = tasks.load_task(config)
        reader = BlockReader(config, task, self.examples_plan)
        return Reader(reader.read, facts(config, task), self._mapped(task))

    def _mapped(self, task: Task) -> Mapping[str, str]:
        """Finds the files with frozen weights here, by their content."""
        here = {sha256: path for path, sha256 in _frozen(task).items()}
        found = {}
        for path, sha256 in self.frozen.items():
            if sha256 in here:
                found[path] = here[sha256]
            elif sha256 in environment.hashes(path).values():
                found[path] = path
            else:
                raise errors.DataError(
                    f"The frozen weights {path} are not on this machine, or "
                    "are others; copy them there, or let all machines share "
                    "the folder."
                )
        return found


def reader_of(
    config: ExperimentConfig, task: Task, plan: Optional[ExamplePlan]
) -> ReaderOfExperiment:
    """Makes what the workers read clients with.

    Args:
      config: The experiment.
      task: The experiment's task on the driver.
      plan: The plan that protects examples, if there is one.
    """
    return ReaderOfExperiment(config, _frozen(task), plan)


def facts(config: ExperimentConfig, task: Task) -> Mapping[str, str]:
    """Describes the data that all machines must share, by short digests.

    Args:
      config: The experiment, with this machine's paths.
      task: Its task.
    """
    ids = json.dumps(list(map(str, task.train.client_ids)))
    hashes = json.dumps(sorted(tasks.file_hashes(config).values()))
    return {
        "clients": hashlib.sha256(ids.encode()).hexdigest()[:12],
        "data files": hashlib.sha256(hashes.encode()).hexdigest()[:12],
    }


def _frozen(task: Task) -> dict[str, str]:
    """Returns SHA-256 by path of the files with a task's frozen weights."""
    return {
        array.path: array.sha256
        for weights in task.frozen_weights
        for array in weights.arrays.values()
    }
