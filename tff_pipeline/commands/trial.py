"""A trial of a sweep, and what is checked of all before the first starts."""

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.commands.trials import Settings, name_of
from tff_pipeline.config import ExperimentConfig
from tff_pipeline.files import durable, storage
from tff_pipeline.reporting import read_run
from tff_pipeline.reporting.read_run import Run
from tff_pipeline.runs.directory import RunDirectory
from tff_pipeline.runtime import child_process


@dataclasses.dataclass
class Trial:
    """A trial, and where it stands.

    Attributes:
      name: The name of its folder.
      settings: Its values of the flags that vary.
      directory: Its run directory.
      state: "waiting", "running", "finished", "hopeless", "failed" or
        "stopped".
      why: Words on its state; "" where there is nothing to add.
      process: The process that trains it, while it runs.
    """

    name: str
    settings: Settings
    directory: RunDirectory
    state: str = "waiting"
    why: str = ""
    process: Optional[subprocess.Popen[bytes]] = None

    def run(self) -> Optional[Run]:
        """Returns its run; `None` as long as no round of it has ended."""
        with contextlib.suppress(errors.PipelineError):
            return read_run.read(self.directory.path)
        return None

    def last_words(self, log: str, status: int) -> str:
        """Says how it failed.

        Args:
          log: The file of what it printed.
          status: How its process ended, as `subprocess` has it.

        Returns:
          Its error, or where to look.
        """
        ending = child_process.ending(status)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines = storage.read_text(log).splitlines()
            said = [line for line in lines if line.startswith("error: ")]
            if said:
                return f"{ending}: {said[-1][len('error: ') :]}"
        return f"{ending}; see {log}"


def clear(folder: str) -> None:
    """Removes what a sweep noted, where --overwrite begins it anew.

    Args:
      folder: The sweep's folder; its trials are deleted as they start.
    """
    with durable.explained(folder):
        for name in ("hopeless.json", "suggestions.jsonl"):
            storage.remove_any(os.path.join(folder, name))


def check_all(
    settings: Sequence[Settings],
    folder: str,
    config_of: Callable[[Settings, str], ExperimentConfig],
    check: Callable[[Any], None],
    overwrite: bool = False,
) -> None:
    """Checks all trials before the first one starts.

    Args:
      settings: Those of each trial.
      folder: The sweep's folder.
      config_of: Returns a trial's experiment from its settings and folder.
      check: Checks an experiment more; called once for the same data.
      overwrite: Whether runs that are there will be deleted.

    Raises:
      ConfigError: If a trial is not possible, two are the same, or another
        experiment's run is in its folder.
      RunDirectoryError: If a run that is there cannot be read.
    """
    known: dict[str, Settings] = {}
    checked = set()
    for each in settings:
        path = os.path.join(folder, name_of(each))
        config, directory = config_of(each, path), RunDirectory(path)
        if not overwrite and storage.exists(directory.config):
            directory.check_same(config)
        flags = config.flags(identity_only=True)
        flags["total_rounds"] = config.run.total_rounds
        key = json.dumps(flags, sort_keys=True)
        if key in known:
            raise errors.ConfigError(
                f"The trials {name_of(known[key])} and {name_of(each)} are the "
                "same experiment; leave one of the values out of --grid."
            )
        known[key] = each
        data = json.dumps(dataclasses.asdict(config.data), sort_keys=True)
        if data not in checked:
            checked.add(data)
            check(config)
