"""Errors that a user can cause: one sentence each, and the exit status.

A message names the flag or file, its value, what is allowed and what to do.
Scripts print it without a traceback; anything else is a bug of ours and keeps
its traceback.
"""


class PipelineError(Exception):
    """Something failed that is not a mistake in the command line."""

    exit_status = 1


class ConfigError(PipelineError, ValueError):
    """A flag or a field of the configuration has a value it must not have."""

    exit_status = 2


class DataError(PipelineError):
    """A data file is missing, damaged, or not what its name promises."""


class RunDirectoryError(PipelineError):
    """A run directory cannot be read, written, or belongs to another run."""


class TrainingError(PipelineError):
    """Training cannot go on; what was saved before still stands."""
