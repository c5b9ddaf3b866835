"""What a run directory holds, and whose it is.

config.json       the ExperimentConfig
flags.txt         a flagfile that runs it again
environment.json  versions, machine, command line
metrics.csv       a row a round
tensorboard/      the same as scalars
checkpoints/      server states, `round_000010/` and so on
plots/            learning_curve.png
saved_model/      the trained Keras model
evaluations/      what evaluate.py found
audit.json        what audit.py found; audit.txt has it in words
profile.txt       where the time went, with --profile
noise_secret      with differential privacy: whoever has it can undo the noise
privacy.json      and what was promised and spent
privacy.txt       the same in words
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from typing import Optional

from tff_pipeline import durable, errors
from tff_pipeline.config import ExperimentConfig

_PACKAGES = (
    "tff-pipeline",
    "tensorflow",
    "tensorflow-federated",
    "tensorflow-privacy",
    "keras",
    "numpy",
    "jax",
    "scikit-learn",
)
_CONTENTS = (
    "config.json",
    "flags.txt",
    "environment.json",
    "metrics.csv",
    "tensorboard",
    "checkpoints",
    "plots",
    "saved_model",
    "evaluations",
    "audit.json",
    "audit.txt",
    "profile.txt",
    "noise_secret",
    "privacy.json",
    "privacy.txt",
)


class RunDirectory:
    """The paths inside a run directory."""

    def __init__(self, path: str):
        self.path = path
        self.config = os.path.join(path, "config.json")
        self.flags = os.path.join(path, "flags.txt")
        self.environment = os.path.join(path, "environment.json")
        self.metrics = os.path.join(path, "metrics.csv")
        self.tensorboard = os.path.join(path, "tensorboard")
        self.checkpoints = os.path.join(path, "checkpoints")
        self.learning_curve = os.path.join(path, "plots", "learning_curve.png")
        self.saved_model = os.path.join(path, "saved_model")
        self.audit = os.path.join(path, "audit.json")
        self.audit_text = os.path.join(path, "audit.txt")
        self.profile = os.path.join(path, "profile.txt")
        self.noise_secret = os.path.join(path, "noise_secret")
        self.privacy_json = os.path.join(path, "privacy.json")
        self.privacy_text = os.path.join(path, "privacy.txt")
        self.evaluations = os.path.join(path, "evaluations")

    def read_config(self, data_dir: Optional[str] = None) -> ExperimentConfig:
        """The config of the run that is here.

        Args:
          data_dir: The task's data, if they have moved since.

        Raises:
          RunDirectoryError: If none is here, or it cannot be read.
        """
        try:
            with open(self.config, encoding="utf-8") as file:
                config = ExperimentConfig.from_json(file.read())
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

    def claim(self, config: ExperimentConfig, overwrite: bool = False) -> None:
        """Makes this the directory of `config`, new or to be resumed.

        Args:
          config: What is about to run.
          overwrite: Whether to delete the run that is here first.

        Raises:
          ConfigError: If another experiment's run is here.
          RunDirectoryError: If the directory cannot be read or written.
        """
        with durable.explained(self.path):
            os.makedirs(self.path, exist_ok=True)
            if overwrite:
                self._clear()
            durable.remove_temporary(self.path)
        if os.path.exists(self.config):
            self._check_same(config)
        else:
            self._check_unclaimed()
            durable.write_text(self.environment, _environment())
            durable.write_text(self.flags, config.flagfile())
        durable.write_text(self.config, config.to_json())

    def _clear(self) -> None:
        for name in _CONTENTS:
            path = os.path.join(self.path, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            elif os.path.exists(path):
                os.remove(path)

    def _check_unclaimed(self) -> None:
        for path in (self.checkpoints, self.metrics):
            if os.path.exists(path):
                raise errors.RunDirectoryError(
                    f"{self.path} holds {os.path.basename(path)} but no "
                    "config.json; restore it, or give --overwrite to delete "
                    "the run."
                )

    def _check_same(self, config: ExperimentConfig) -> None:
        here = self.read_config().flags(identity_only=True)
        wanted = config.flags(identity_only=True)
        differing = [
            f"--{flag} (is {here.get(flag)}, asked for {wanted.get(flag)})"
            for flag in {**here, **wanted}
            if here.get(flag) != wanted.get(flag)
        ]
        if differing:
            raise errors.ConfigError(
                f"--output_dir={self.path} holds another run, which differs "
                f"in {', '.join(differing)}; give another folder, or "
                "--overwrite to delete that run."
            )


def _environment() -> str:
    """The JSON of what this runs on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    environment = {
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "command": sys.argv,
    }
    return json.dumps(environment, indent=2) + "\n"
