"""Defines absl flags, parses the command line and runs a script's `main`."""

import logging
import os
import sys
import textwrap
from collections.abc import Callable, Collection, Sequence
from typing import Any, Optional

from absl import flags
from absl import logging as absl_logging  # noqa: F401  (--verbosity)

from tff_pipeline import errors, silence
from tff_pipeline.config import fields
from tff_pipeline.config.fields import Allowed
from tff_pipeline.flags import exit_status, flagfile, foreign, last_word

FLAGS = flags.FLAGS
_LONGEST_NAME = 40
_HELP_COLUMNS = 80
_HELP_FULL = "--helpfull"
_HELP = {"--help", "-h", _HELP_FULL}
# Modules that `pip install` of this package leaves to a second step.
_SECOND_STEP = ("tensorflow_federated", "tensorflow_privacy")
# Heading -> names of the flags below it, in the order of --help.
SECTIONS: dict[str, list[str]] = {}
# What --help is limited to, where there is more than a beginner can use.
FIRST: set[str] = set()
_ALLOWED: dict[str, Allowed] = {}


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
    _ALLOWED[name] = allowed


def define_switch(title: str, name: str, help_text: str) -> None:
    """Defines a flag that is true where it is set, and false elsewhere.

    Args:
      title: The heading below which --help shows it.
      name: The flag's name, without its dashes.
      help_text: A sentence for --help.
    """
    flags.DEFINE_boolean(name, False, help_text)
    SECTIONS.setdefault(title, []).append(name)


def define_repeated(title: str, name: str, help_text: str) -> None:
    """Defines a flag that may be given several times, each time as text.

    Args:
      title: The heading below which --help shows it.
      name: The flag's name, without its dashes.
      help_text: A sentence for --help.
    """
    flags.DEFINE_multi_string(name, None, help_text)
    FLAGS[name].help = help_text  # Without a phrase that absl adds.
    SECTIONS.setdefault(title, []).append(name)


def kinds() -> dict[str, type]:
    """Returns the types of the values of `define_flag`'s flags, by name."""
    return {name: allowed.kind for name, allowed in _ALLOWED.items()}


def run(main: Callable[[], Optional[int]], usage: str) -> None:
    """Parses the flags, calls `main()` and exits with its status.

    A `PipelineError` is printed as one sentence; its class decides the exit
    status: 2 for usage, 1 for failure. Ctrl-C exits with 130. A supervisor is
    told which of these would only come again (`exit_status`).

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
        if not error.may_pass:
            status = exit_status.lasting(status)
    except ModuleNotFoundError as error:
        if error.name not in _SECOND_STEP:
            raise
        print(
            f"error: {error.name} is not installed; run: pip install --no-deps "
            "tensorflow-federated==0.87.0 tensorflow-privacy==0.9.0 (README.md "
            "says why that is a step of its own).",
            file=sys.stderr,
        )
        status = exit_status.lasting(1)
    except KeyboardInterrupt:
        print(
            "error: interrupted; what was saved still stands.", file=sys.stderr
        )
        status = exit_status.lasting(130)
    except BrokenPipeError:
        # Who read our output left. Python must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = exit_status.lasting(1)
    sys.exit(status)


def parse(argv: Sequence[str], usage: str = "", quiet: bool = False) -> None:
    """Sets `FLAGS` from a command line and the flagfiles that it names.

    With --help or -h it prints the flags that one begins with, with --helpfull
    all, and exits with status 0. Options that a flagfile gives to what the
    command line replaces are dropped, and that is printed.

    Args:
      argv: The program's name, and its arguments.
      usage: The text above the flags that --help shows.
      quiet: Whether to print nothing of options that are dropped.

    Raises:
      ConfigError: If a flag is unknown or its value cannot be read, an
        argument is no flag, or a flagfile cannot be read.
    """
    if asked := _HELP & set(argv[1:]):
        print(_help(usage, () if asked == {_HELP_FULL} else FIRST), flush=True)
        sys.exit(0)
    paths = [name for name, rule in _ALLOWED.items() if rule is fields.PATH]
    expanded = flagfile.expanded(argv[1:], paths)
    for name in (each.text.partition("=")[0] for each in expanded):
        # absl would look for minutes which flag was meant.
        if name.startswith("-") and len(name) > _LONGEST_NAME:
            raise errors.ConfigError(
                f"{name[:_LONGEST_NAME]!r}... is not a flag; flags are written "
                "--name=value, see --help."
            )
    # What an earlier call set counts no more.
    FLAGS.unparse_flags()
    _set([each.text for each in expanded if each.file is None])
    last = {
        each.text.partition("=")[0].lstrip("-"): each
        for each in expanded
        if each.text.startswith("-")
    }
    chosen = {
        name: FLAGS[name].value
        for name, argument in last.items()
        if argument.file is None and name in _ALLOWED
    }
    arguments, notes = last_word.settled(expanded, chosen)
    FLAGS.unparse_flags()
    _set(arguments)
    for name, allowed in _ALLOWED.items():
        foreign.check_value(name, FLAGS[name].value, allowed.test)
    for note in () if quiet else notes:
        print(f"note: {note}", flush=True)


def _set(arguments: Sequence[str]) -> None:
    """Sets `FLAGS` from arguments in which no flagfile is named."""
    try:
        rest = FLAGS(["", *arguments])
    except flags.UnrecognizedFlagError as error:
        known = [name for names in SECTIONS.values() for name in names]
        raise foreign.unknown_flag(error.flagname, known) from None
    except flags.Error as error:
        raise errors.ConfigError(str(error).replace("ERROR:: ", "")) from None
    if len(rest) > 1:
        raise errors.ConfigError(
            f"{rest[1]!r} is not a flag; flags are written --name=value, "
            "see --help."
        )


def _help(usage: str, only: Collection[str]) -> str:
    """Returns the text of --help, with those flags alone unless empty."""
    lines = [usage]
    for title, names in SECTIONS.items():
        shown_names = [name for name in names if not only or name in only]
        if shown_names:
            lines.append(f"{title}:")
        for name in shown_names:
            default = FLAGS[name].default
            shown = "" if default is None or default is False else f"={default}"
            lines += _flag_help(name + shown, FLAGS[name].help or "")
        if shown_names:
            lines.append("")
    lines += [
        "Output:",
        *_flag_help("verbosity=0", "Shows the messages of TensorFlow and TFF."),
        *_flag_help("flagfile=FILE", "Reads flags from a file, one a line."),
    ]
    if only:
        count = sum(map(len, SECTIONS.values()))
        lines += ["", f"{_HELP_FULL} shows all {count} flags."]
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
