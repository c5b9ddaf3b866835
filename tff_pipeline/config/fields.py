"""Fields of dataclasses that are flags: their checks, help and names.

A `Group` of such fields checks all values when it is made. The other modules of
`config` declare the fields.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Optional

from tff_pipeline import errors

# What means something to flags/flagfile.py: quotes, ~, comments, variables.
_SPECIAL = re.compile(r"""^["'~]|\s#|\s\\$|\$""")


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Rule for the values that a field takes.

    Example:
      >>> FRACTION.words, FRACTION.test(0.2), FRACTION.test(1.0)
      ('at least 0 and below 1', True, False)

    Attributes:
      kind: The type of the values; a `float` may be written as an `int`.
      words: Words for the allowed values, which follow "must be" in errors.
      test: Function that tells of a value of this type whether it is allowed.
      names: The allowed values, where they are names.
    """

    kind: type
    words: str
    test: Callable[[Any], bool]
    names: tuple[str, ...] = ()

    def check(self, flag: str, value: Any) -> None:
        """Checks that a value is allowed.

        Args:
          flag: The flag's name, for the error.
          value: The value to check.

        Raises:
          ConfigError: If it is not.
        """
        kinds = (int, float) if self.kind is float else (self.kind,)
        # A bool is an int to Python.
        fits = isinstance(value, kinds) and (
            self.kind is bool or not isinstance(value, bool)
        )
        if fits and self.kind is float:
            # The comparison is for whole numbers that no float can hold.
            fits = abs(value) <= sys.float_info.max
        if not fits or not self.test(value):
            raise errors.ConfigError(f"--{flag}={value}: must be {self.words}.")


def known(names: Mapping[str, Any]) -> Allowed:
    """Allows the names of a table.

    >>> known({"iid": "...", "shards": "..."}).words
    'one of: iid, shards'

    Args:
      names: Table by name; a name added later is allowed from then on.
    """
    return Allowed(
        str, f"one of: {', '.join(names)}", lambda v: v in names, tuple(names)
    )


def listed(
    names: Mapping[str, Any],
    required: Optional[str] = None,
    empty: Optional[str] = None,
) -> Allowed:
    """Allows several names with commas between them, each at most once.

    >>> sinks = listed({"csv": "...", "tensorboard": "..."}, required="csv")
    >>> sinks.test("csv,tensorboard"), sinks.test("tensorboard")
    (True, False)

    Args:
      names: Table by name; a name added later is allowed from then on.
      required: A name that must be among them.
      empty: The word that stands for no name at all.
    """

    def test(value: str) -> bool:
        chosen = value.split(",")
        if value == empty:
            return True
        return (
            set(chosen) <= set(names)
            and len(set(chosen)) == len(chosen)
            and required in (None, *chosen)
        )

    words = f"names with commas between them, from: {', '.join(names)}"
    if required is not None:
        words += f"; {required} must be one of them"
    if empty is not None:
        words += f"; or {empty}"
    return Allowed(str, words, test)


# What a line of a flagfile can hold and give back.
TEXT = Allowed(
    str,
    "text of one line, without spaces around it",
    lambda v: (
        v.splitlines() == [v.strip()]
        # No half of a character, which is how Python has bytes of a path that
        # are not UTF-8.
        and re.search("[\0\ud800-\udfff]", v) is None
    ),
)
# The same, and a path: ~ at its start is the home folder to the flags.
PATH = dataclasses.replace(TEXT)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return TEXT.test(text)


PATTERN = Allowed(
    str, "a regular expression, without spaces around it", _is_pattern
)
REFERENCE = Allowed(
    str,
    "package.module:function",
    lambda v: re.fullmatch(r"[\w.]+:\w+", v) is not None,
)
NAMES = Allowed(
    str,
    "names with commas between them",
    lambda v: re.fullmatch(r"\w+(,\w+)*", v) is not None,
)
COUNT = Allowed(
    int,
    "a whole number of at least 1, below 2147483648",
    lambda v: 1 <= v < 2**31,
)
# Beyond these, draws of a Dirichlet distribution fail or never end.
CONCENTRATION = Allowed(
    float, "a finite number from 1e-06 to 1e+06", lambda v: 1e-6 <= v <= 1e6
)
BITS = Allowed(int, "a whole number from 1 to 30", lambda v: 1 <= v <= 30)
NATURAL = Allowed(int, "a whole number of at least 0", lambda v: v >= 0)
SEED = Allowed(
    int, "a whole number from 0 to 4294967295", lambda v: 0 <= v < 2**32
)
FINITE = Allowed(float, "a finite number", lambda v: True)
POSITIVE = Allowed(float, "a finite number above 0", lambda v: v > 0)
NOT_NEGATIVE = Allowed(float, "a finite number, 0 or above", lambda v: v >= 0)
PROBABILITY = Allowed(float, "above 0 and below 1", lambda v: 0 < v < 1)
SWITCH = Allowed(bool, "true or false", lambda v: True)
SHARE = Allowed(float, "from 0 to 1", lambda v: 0 <= v <= 1)
FRACTION = Allowed(float, "at least 0 and below 1", lambda v: 0 <= v < 1)


def field(
    default: Any,
    allowed: Allowed,
    help_text: str,
    flag: Optional[str] = None,
    identity: bool = True,
) -> Any:
    """Returns a dataclass field that is also a flag.

    Args:
      default: Its default; `None` where it may stay unset.
      allowed: The values that it takes.
      help_text: The text in the flag's `--help`.
      flag: The flag's name, where it is not the field's.
      identity: Whether two runs that differ in it are different experiments;
        if not, a run may be resumed with another value.
    """
    metadata = {
        "allowed": allowed,
        "help": help_text,
        "flag": flag,
        "identity": identity,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Group:
    """Group of fields that names their flags and checks their values.

    Raises:
      ConfigError: If a value is not allowed; its flag is named.
    """

    def flag(self, field: dataclasses.Field[Any]) -> str:
        """Returns the name of a field's flag.

        Args:
          field: One of the group's fields.
        """
        return field.metadata["flag"] or field.name

    def options(self) -> Iterator[tuple[str, dataclasses.Field[Any]]]:
        """Yields (flag name, field) of all fields that are flags."""
        for field in dataclasses.fields(self):
            if "allowed" in field.metadata:
                yield self.flag(field), field

    def __post_init__(self) -> None:
        for flag, field in self.options():
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                field.metadata["allowed"].check(flag, value)

    def settle(
        self, choice: str, table: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Fills in the options of the chosen name and refuses all others.

        Args:
          choice: The field whose value is the chosen name.
          table: Name -> the options that it takes, with their defaults; a name
            that is not in it takes none.

        Raises:
          ConfigError: If an option is set that the chosen name does not take.
        """
        flags = {field.name: flag for flag, field in self.options()}
        self.settle_options(flags[choice], getattr(self, choice), table)

    def settle_options(
        self, flag: str, chosen: str, table: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Does as `settle` where a flag of another group makes the choice.

        Args:
          flag: The flag that chooses, for the error.
          chosen: Its value.
          table: As for `settle`.

        Raises:
          ConfigError: If an option is set that the chosen name does not take.
        """
        optional = {name for options in table.values() for name in options}
        taken = table.get(chosen, {})
        flags = {field.name: name for name, field in self.options()}
        for field in dataclasses.fields(self):
            if field.name not in optional:
                continue
            value = getattr(self, field.name)
            if field.name in taken:
                if value is None:
                    object.__setattr__(self, field.name, taken[field.name])
            elif value is not None:
                users = [n for n, used in table.items() if field.name in used]
                raise errors.ConfigError(
                    f"--{flags[field.name]}={value} is not used with "
                    f"--{flag}={chosen}; leave it out, or choose one "
                    f"that uses it: {', '.join(users)}."
                )


def in_flagfile(value: Any) -> Any:
    """Returns a flag's value as a flagfile has it.

    >>> in_flagfile("cost in $"), in_flagfile("age"), in_flagfile(3)
    ("'cost in $'", 'age', 3)

    Args:
      value: The value. Text that a flagfile would take for something else
        comes back in single quotes.
    """
    if isinstance(value, str) and _SPECIAL.search(value):
        return f"'{value}'"
    return value


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists the names of values that differ, or that only one of the two has.

    >>> differing({"seed": 0, "rounds": 5}, {"seed": 0, "rounds": 9, "new": 1})
    ['rounds', 'new']

    Args:
      was: Name -> value of one configuration.
      now: Name -> value of another.
    """
    return [name for name in {**was, **now} if was.get(name) != now.get(name)]


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describes the values that differ, each with its old and its new value.

    >>> differences({"seed": 0, "rounds": 5}, {"seed": 0, "rounds": 9})
    ['rounds (was 5, now 9)']

    Args:
      was: Name -> value of one configuration.
      now: Name -> value of another.
    """
    return [
        f"{name} (was {was.get(name)}, now {now.get(name)})"
        for name in differing(was, now)
    ]
