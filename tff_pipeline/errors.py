"""Defines the errors that a user can cause, and their exit status.

A message is one sentence that names the flag or file, its value, what is
allowed and what to do. Scripts print it without a traceback; any other
exception is a bug of ours and keeps its traceback.
"""


class PipelineError(Exception):
    """Reports a failure that is not a mistake in the command line.

    Attributes:
      exit_status: What a script that prints it ends with.
      may_pass: Whether the same command may succeed another time.
    """

    exit_status = 1
    may_pass = False


class ConfigError(PipelineError, ValueError):
    """Reports a flag or a field of the configuration that is not allowed."""

    exit_status = 2


class DataError(PipelineError):
    """Reports a data file that is missing or damaged."""


class RunDirectoryError(PipelineError):
    """Reports a run directory that cannot be read or written."""


class TrainingError(PipelineError):
    """Reports that training cannot go on; what was saved stands."""

    may_pass = True


class NotFiniteError(TrainingError):
    """Reports updates that are not finite, and would be so again."""

    may_pass = False
