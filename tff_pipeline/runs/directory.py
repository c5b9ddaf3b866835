"""Names the files of a run directory, and gives it to one experiment.

config.json       the ExperimentConfig
flags.txt         a flagfile that runs it again
environment.json  versions, machine, command line, hashes of the data's files
rounds.jsonl      what was done, in records chained by their hashes
signature.json    who says so, with --signing_key
metrics.csv       a row a round
tensorboard/      the same as scalars, and the flags that were set
frozen/           with --freeze, the weights that neither train nor travel
checkpoints/      server states, `round_000010/` and so on; in `kept_rows/`
                  what clients keep
plots/            learning_curve.png
report.html       all this on one page
saved_model/      the trained Keras model
adapter/          where a base stays as it was, the adapter trained for it, in
                  the model's place but for encoders
evaluations/      what evaluate.py found
audit.json        what audit.py found; audit.txt has it in words
profile.txt       where the time went, with --profile
noise_secret      with differential privacy: whoever has it can undo the noise
privacy.json      and what was promised and spent
privacy.txt       the same in words
restarts.jsonl    when `supervise` started the run again, and why
run.lock          while a process writes here: which
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, Optional

from tff_pipeline import errors
from tff_pipeline.config import ExperimentConfig, fields
from tff_pipeline.files import durable, storage
from tff_pipeline.runs.checkpoint import CheckpointStore
from tff_pipeline.runs.environment import hashes

_CONTENTS = (
    "config.json",
    "flags.txt",
    "environment.json",
    "rounds.jsonl",
    "rounds.jsonl.damaged",
    "signature.json",
    "metrics.csv",
    "travels.txt",
    "tensorboard",
    "frozen",
    "checkpoints",
    "plots",
    "report.html",
    "saved_model",
    "adapter",
    "evaluations",
    "audit.json",
    "audit.txt",
    "profile.txt",
    "noise_secret",
    "privacy.json",
    "privacy.txt",
    # The last: while it is there, not all that --overwrite deletes is gone.
    "restarts.jsonl",
)


class RunDirectory:
    """The paths inside a run directory.

    Attributes:
      path: The directory. The others are paths of what it holds.

    >>> RunDirectory("runs/first").metrics
    'runs/first/metrics.csv'
    """

    def __init__(self, path: str):
        """Makes the object; nothing is read or written."""
        self.path = path
        self.config = os.path.join(path, "config.json")
        self.flags = os.path.join(path, "flags.txt")
        self.environment = os.path.join(path, "environment.json")
        self.rounds = os.path.join(path, "rounds.jsonl")
        self.signature = os.path.join(path, "signature.json")
        self.lock = os.path.join(path, "run.lock")
        self.metrics = os.path.join(path, "metrics.csv")
        self.travels = os.path.join(path, "travels.txt")
        self.tensorboard = os.path.join(path, "tensorboard")
        self.frozen = os.path.join(path, "frozen")
        self.checkpoints = os.path.join(path, "checkpoints")
        self.learning_curve = os.path.join(path, "plots", "learning_curve.png")
        self.report = os.path.join(path, "report.html")
        self.saved_model = os.path.join(path, "saved_model")
        self.adapter = os.path.join(path, "adapter")
        self.audit = os.path.join(path, "audit.json")
        self.audit_text = os.path.join(path, "audit.txt")
        self.profile = os.path.join(path, "profile.txt")
        self.noise_secret = os.path.join(path, "noise_secret")
        self.privacy_json = os.path.join(path, "privacy.json")
        self.privacy_text = os.path.join(path, "privacy.txt")
        self.restarts = os.path.join(path, "restarts.jsonl")
        self.evaluations = os.path.join(path, "evaluations")

    def read_config(self, data_dir: Optional[str] = None) -> ExperimentConfig:
        """Reads the config of the run that is here.

        Args:
          data_dir: The folder of the task's data, if they have moved since.

        Raises:
          RunDirectoryError: If none is here, or it cannot be read.
        """
        try:
            text = storage.read_text(self.config)
            config = ExperimentConfig.from_json(text)
        except FileNotFoundError:
            raise errors.RunDirectoryError(
                f"{self.config} does not exist; give a folder that "
                "scripts/train.py wrote."
            ) from None
        except (OSError, UnicodeDecodeError, errors.ConfigError) as error:
            raise errors.RunDirectoryError(
                f"{self.config} cannot be read ({error}); restore it, or "
                "start the run again with --overwrite."
            ) from None
        if data_dir is None:
            return config
        data = dataclasses.replace(config.data, data_dir=data_dir)
        return dataclasses.replace(config, data=data)

    def claim(
        self,
        config: ExperimentConfig,
        overwrite: bool = False,
        environment: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Makes this the directory of `config`, new or to be resumed.

        Args:
          config: The experiment that is about to run.
          overwrite: Whether to delete the run that is here first.
          environment: Software, machine and data of the run, as JSON; its
            `data` are SHA-256 by names of files. `None` if that is not known.

        Raises:
          ConfigError: If another experiment's run is here.
          RunDirectoryError: If the directory cannot be read or written, or the
            data are not those that the run began with.
        """
        with durable.explained(self.path):
            storage.file_system(self.path).make_folder(self.path)
            if overwrite:
                # What this run freezes was written just now.
                kept = config.data.model.freeze and "frozen"
                for name in (each for each in _CONTENTS if each != kept):
                    storage.remove_any(os.path.join(self.path, name))
            durable.remove_temporary(self.path)
        if storage.exists(self.config):
            self.check_same(config)
            self._check_data(environment)
        else:
            self._check_unclaimed()
            durable.write_text(self.flags, config.flagfile())
        if not CheckpointStore(self.checkpoints).rounds():
            # Says where the run begins; with nothing saved it begins here, even
            # again.
            text = json.dumps(environment or {}, indent=2) + "\n"
            durable.write_text(self.environment, text)
        durable.write_text(self.config, config.to_json())

    @property
    def exported(self) -> str:
        """The folder of the trained model, or of the adapter if that is it."""
        if storage.exists(self.saved_model):
            return self.saved_model
        return (
            self.adapter if storage.exists(self.adapter) else self.saved_model
        )

    def privacy_statement(self) -> dict[str, str]:
        """Reads the privacy statement: file name -> text; empty without one."""
        return {
            os.path.basename(path): storage.read_text(path)
            for path in (self.privacy_json, self.privacy_text)
            if storage.exists(path)
        }

    def read_travels(self) -> list[str]:
        """Reads what leaves and reaches a client, a line each, if known."""
        if not storage.exists(self.travels):
            return []
        return storage.read_text(self.travels).splitlines()

    def privacy_hashes(self) -> dict[str, str]:
        """Returns SHA-256 of the privacy statement's files by name.

        Raises:
          DataError: If one cannot be read.
        """
        paths = (self.privacy_json, self.privacy_text)
        return {
            name: sha256
            for path in paths
            for name, sha256 in hashes(path).items()
        }

    def read_environment(self) -> dict[str, Any]:
        """Reads where and on which data the run began; empty if not known."""
        try:
            environment = json.loads(storage.read_text(self.environment))
        except (OSError, ValueError, RecursionError):
            return {}
        return environment if isinstance(environment, dict) else {}

    def _check_data(self, environment: Optional[Mapping[str, Any]]) -> None:
        began = self.read_environment().get("data")
        now = (environment or {}).get("data")
        if not isinstance(began, dict) or now is None:
            return
        if differing := sorted(fields.differing(began, now)):
            raise errors.RunDirectoryError(
                f"Since the run in {self.path} began its data changed: "
                f"{', '.join(differing[:5])}; restore them, or start again "
                "with --overwrite."
            )

    def check_frozen(self, hashes: Mapping[str, str]) -> None:
        """Checks that frozen weights are those that the run was trained on.

        Args:
          hashes: Their names -> SHA-256, as `Task.frozen_hashes` tells them.

        Raises:
          RunDirectoryError: If the run was trained on others.
        """
        began = self.read_environment().get("data")
        if not isinstance(began, dict):
            return
        for name, sha256 in hashes.items():
            if began.get(name) != sha256:
                raise errors.RunDirectoryError(
                    f"The model of {self.path} was trained on other {name} "
                    f"than those that it loads now, of SHA-256 {sha256}; "
                    "restore the ones that the run began with."
                )

    def _check_unclaimed(self) -> None:
        for path in (self.checkpoints, self.metrics):
            if storage.exists(path):
                raise errors.RunDirectoryError(
                    f"{self.path} holds {os.path.basename(path)} but no "
                    "config.json; restore it, or give --overwrite to delete "
                    "the run."
                )

    def check_same(self, config: ExperimentConfig) -> None:
        """Checks that the run that is here is of this experiment.

        Args:
          config: The experiment that is about to run.

        Raises:
          ConfigError: If it is of another.
          RunDirectoryError: If none is here, or it cannot be read.
        """
        here = self.read_config().flags(identity_only=True)
        now = config.flags(identity_only=True)
        if differing := fields.differences(here, now):
            raise errors.ConfigError(
                f"--output_dir={self.path} holds another run, which differs "
                f"in --{', --'.join(differing)}; give another folder, or "
                "--overwrite to delete that run."
            )
