"""Defines absl flags, parses the command line and runs a script's `main`."""

import logging
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Optional

from absl import flags
from absl import logging as absl_logging  # noqa: F401  (--verbosity)

from tff_pipeline import errors, silence
from tff_pipeline.config.fields import Allowed
from tff_pipeline.flags import flagfile

FLAGS = flags.FLAGS
_LONGEST_NAME = 40
_HELP_COLUMNS = 80
# Heading -> names of the flags below it, in the order of --help.
SECTIONS: dict[str, list[str]] = {}


def define_flag(
    title: str, name: str, allowed: Allowed, help_text: str, default: Any = None
) -> None:
    """Defines a flag.

    Args:
      title: The heading below which --help shows it.
      name: The flag's name, without its dashes.
      allowed: The values that it takes; its kind decides absl's.
      help_text: A sentence for --help. Names that are allowed follow it.
      default: The value where the flag is not set.
    """
    define = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_boolean,
    }[allowed.kind]
    if allowed.names:
        help_text += f" One of: {', '.join(allowed.names)}."
    define(name, default, help_text)
    SECTIONS.setdefault(title, []).append(name)


def define_switch(title: str, name: str, help_text: str) -> None:
    """Defines a flag that is true where it is set, and false elsewhere.

    Args:
      title: The heading below which --help shows it.
      name: The flag's name, without its dashes.
      help_text: A sentence for --help.
    """
    flags.DEFINE_boolean(name, False, help_text)
    SECTIONS.setdefault(title, []).append(name)


def run(main: Callable[[], Optional[int]], usage: str) -> None:
    """Parses the flags, calls `main()` and exits with its status.

    A `PipelineError` is printed as one sentence; its class decides the exit
    status: 2 for usage, 1 for failure. Ctrl-C exits with 130.

    This is not `absl.app.run`: TensorFlow, when imported after that has begun,
    enters graph mode (tensorflow/python/distribute/combinations.py asks for the
    GPUs too early), and scripts import it only when their flags hold.

    Args:
      main: The script's work; it returns an exit status, or `None` for 0.
      usage: The text above the flags that --help shows.
    """
    try:
        parse(sys.argv, usage)
        if FLAGS.verbosity < 0:
            silence.silence()
        else:
            logging.basicConfig(level=logging.INFO)
        status = main()
        sys.stdout.flush()
    except errors.PipelineError as error:
        # One line, whatever a flag's value holds.
        print("error:", *str(error).split(), file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print(
            "error: interrupted; what was saved still stands.", file=sys.stderr
        )
        status = 130
    except BrokenPipeError:
        # Who read our output left. Python must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


def parse(argv: Sequence[str], usage: str = "") -> None:
    """Sets `FLAGS` from a command line and the flagfiles that it names.

    With --help or -h it prints all flags and exits with status 0.

    Args:
      argv: The program's name, and its arguments.
      usage: The text above the flags that --help shows.

    Raises:
      ConfigError: If a flag is unknown or its value cannot be read, an
        argument is no flag, or a flagfile cannot be read.
    """
    if {"--help", "-h"} & set(argv[1:]):
        print(_help(usage), flush=True)
        sys.exit(0)
    expanded = flagfile.expanded(argv[1:])
    for name in (each.partition("=")[0] for each in expanded):
        # absl would look for minutes which flag was meant.
        if name.startswith("-") and len(name) > _LONGEST_NAME:
            raise errors.ConfigError(
                f"{name[:_LONGEST_NAME]!r}... is not a flag; flags are written "
                "--name=value, see --help."
            )
    try:
        arguments = FLAGS([argv[0], *expanded])
    except flags.Error as error:
        raise errors.ConfigError(str(error).replace("ERROR:: ", "")) from None
    if len(arguments) > 1:
        raise errors.ConfigError(
            f"{arguments[1]!r} is not a flag; flags are written --name=value, "
            "see --help."
        )


def _help(usage: str) -> str:
    lines = [usage]
    for title, names in SECTIONS.items():
        lines.append(f"{title}:")
        for name in names:
            default = FLAGS[name].default
            shown = "" if default is None or default is False else f"={default}"
            lines += _flag_help(name + shown, FLAGS[name].help or "")
        lines.append("")
    lines += [
        "Output:",
        *_flag_help("verbosity=0", "Shows the messages of TensorFlow and TFF."),
        *_flag_help("flagfile=FILE", "Reads flags from a file, one a line."),
    ]
    return "\n".join(lines)


def _flag_help(flag: str, help_text: str) -> list[str]:
    """Lines of --help: a flag with its default, its sentence below it."""
    indent = " " * 6
    return [
        f"  --{flag}",
        *textwrap.wrap(
            help_text,
            _HELP_COLUMNS,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        ),
    ]
