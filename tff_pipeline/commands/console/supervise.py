"""Starts a training run again from its checkpoint when its process dies.

python scripts/supervise.py -- train --flagfile=my.flags --output_dir=runs/1

What stands after -- is the command that trains, as it would stand alone. A
mistake in its flags or data ends it for good, and so do Ctrl-C and SIGTERM,
which it is handed on: it finishes its round and saves.
"""

from collections.abc import Sequence

from tff_pipeline import errors
from tff_pipeline.commands import main as commands
from tff_pipeline.flags import experiment as experiment_flags
from tff_pipeline.flags import parsing, tools

TAKES_COMMAND = True
_SUPERVISED = "train"


def define_flags() -> None:
    """Defines the flags of this command."""
    tools.define_supervise_flags()


def main(command: Sequence[str]) -> int:
    """Trains until the run is complete or cannot be completed.

    Args:
      command: What stands after --: "train" and its flags.

    Returns:
      The exit status that the last process of the run answered.
    """
    settings = tools.supervise_settings()
    if not command or command[0] != _SUPERVISED:
        named = repr(" ".join(command[0].split())) if command else "nothing"
        raise errors.ConfigError(
            f"What stands after -- is {named}, which cannot be supervised; "
            f"write {_SUPERVISED} and its flags there, as in: supervise -- "
            f"{_SUPERVISED} --output_dir=runs/1."
        )
    parsing.SECTIONS.clear()
    experiment_flags.define_experiment_flags()
    # The run itself tells which flags it drops.
    parsing.parse(command, commands.usage(_SUPERVISED), quiet=True)
    config = experiment_flags.experiment_config()
    # Here and not above: flags are refused before NumPy is imported.
    from tff_pipeline.commands.supervise import Supervisor
    from tff_pipeline.runs.directory import RunDirectory

    return Supervisor(
        [*commands.command_line(_SUPERVISED), *command[1:]],
        RunDirectory(str(config.run.output_dir)),
        overwrite=parsing.FLAGS.overwrite,
        **settings,
    ).run()
