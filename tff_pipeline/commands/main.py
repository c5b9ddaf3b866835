"""Runs `tff-pipeline`: its first word says what to do, flags say how.

A command is a module of `console`: its docstring is what --help shows first,
`define_flags` defines its flags and `main` does the work and returns an exit
status, or `None` for 0. It imports TensorFlow in `main` alone, so that a
mistyped flag is answered at once. `FIRST_ARGUMENT`, where it has one, is the
flag that a first argument without a name stands for. Where it has
`TAKES_COMMAND`, `main` is given the arguments that stand after a --, and where
it has `TAKES_PATHS`, those that are no flags.
"""

import functools
import importlib
import os
import sys
from collections.abc import Sequence

import tff_pipeline

_CONSOLE = "tff_pipeline.commands.console"
COMMANDS = (
    "init",
    "train",
    "supervise",
    "sweep",
    "evaluate",
    "report",
    "export",
    "check-export",
    "compare",
    "verify",
    "audit",
    "privacy",
    "inspect-data",
    "check-model",
    "prepare-data",
    "prepare-model",
    "serve",
    "generate",
    "make-certs",
    "doctor",
)
# Words that stand for a command and flags, which more flags may follow.
_SHORT = {
    "quickstart": (
        "train",
        "--flagfile=configs/quickstart.flags",
        "--output_dir=runs/quickstart",
    ),
}


def main() -> None:
    """Runs the command that `sys.argv` names, and exits with its status."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(_help())
        sys.exit(0)
    if name in ("--version", "version"):
        print(f"tff-pipeline {tff_pipeline.__version__}")
        sys.exit(0)
    command, *flags = _SHORT.get(name, [name.replace("_", "-")])
    if command not in COMMANDS:
        print(
            f"error: {' '.join(name.split())!r} is not a command of "
            f"tff-pipeline; choose one of: {', '.join([*COMMANDS, *_SHORT])}.",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.argv[:2] = [f"tff-pipeline {command}", *flags]
    run(command)


def run(name: str) -> None:
    """Runs a command with the flags of `sys.argv`, and exits with its status.

    Args:
      name: One of `COMMANDS`.
    """
    command = importlib.import_module(_module(name))
    if name == "doctor":
        # It says which package is missing, so it runs without any.
        sys.exit(command.main())
    from tff_pipeline.flags import parsing

    first = getattr(command, "FIRST_ARGUMENT", None)
    if first and len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--{first}={sys.argv[1]}"
    work = command.main
    if getattr(command, "TAKES_COMMAND", False):
        place = [*sys.argv, "--"].index("--")
        work = functools.partial(work, sys.argv[place + 1 :])
        del sys.argv[place:]
    if getattr(command, "TAKES_PATHS", False):
        paths, flags = _parted(sys.argv[1:])
        work = functools.partial(work, paths)
        sys.argv[1:] = flags
    command.define_flags()
    parsing.run(work, usage(name))


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts arguments that are no flags from flags with their values.

    >>> _parted(["runs/a", "--metric", "loss", "runs/b", "--output=c"])
    (['runs/a', 'runs/b'], ['--metric', 'loss', '--output=c'])
    """
    parts: tuple[list[str], list[str]] = ([], [])
    value = False  # Whether the next argument is the value of a flag.
    for argument in arguments:
        flag = argument.startswith("-")
        parts[flag or value].append(argument)
        value = flag and "=" not in argument
    return parts


def usage(name: str) -> str:
    """Returns what --help of a command shows first.

    Args:
      name: One of `COMMANDS`.
    """
    text = importlib.import_module(_module(name)).__doc__ or ""
    for other in COMMANDS:
        text = text.replace(f"python {_script(other)}", as_typed(other))
    return text


def command_line(name: str) -> list[str]:
    """Returns what starts a command as the present one was started.

    Args:
      name: One of `COMMANDS`.

    Returns:
      This Python and its arguments, to which flags may be added.
    """
    if sys.argv[0].startswith("tff-pipeline"):
        return [sys.executable, "-m", __name__, name]
    scripts = os.path.dirname(os.path.abspath(sys.argv[0]))
    script = os.path.join(scripts, os.path.basename(_script(name)))
    return [sys.executable, script]


def as_typed(name: str) -> str:
    """Returns how a command is typed by those who typed the present one.

    Args:
      name: One of `COMMANDS`.

    Returns:
      "tff-pipeline NAME", or the script if a script is running.
    """
    if sys.argv[0].startswith("tff-pipeline"):
        return f"tff-pipeline {name}"
    return f"{python()} {_script(name)}"


def python() -> str:
    """Returns how this Python is typed here, in an active environment or not.

    Returns:
      Its path from here, if it lies below; else "python".
    """
    path = os.path.relpath(sys.executable)
    return "python" if path.startswith(os.pardir) else path


def _script(name: str) -> str:
    return f"scripts/{name.replace('-', '_')}.py"


def _module(name: str) -> str:
    return f"{_CONSOLE}.{name.replace('-', '_')}"


def _help() -> str:
    lines = ["tff-pipeline COMMAND --flag=value ...", ""]
    for name in COMMANDS:
        document = importlib.import_module(_module(name)).__doc__ or ""
        lines.append(f"  {name:<14}{document.splitlines()[0]}")
    lines += [
        f"  {'quickstart':<14}Trains on handwritten digits, in under a minute.",
        "",
        "tff-pipeline COMMAND --help shows the flags of one, --version the "
        "version.",
        "A flagfile that is not found here is taken from the package, such as",
        "--flagfile=configs/quickstart.flags.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
