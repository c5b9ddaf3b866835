"""Reads the JSON files of a checkpoint, and names the setting that is wrong."""

import json
import os
from collections.abc import Collection, Mapping
from typing import Any, Optional

from tff_pipeline import errors


class Settings:
    """Settings of a checkpoint by name, checked when they are asked for.

    >>> settings = Settings("config.json", {"hidden_size": 64, "bias": False})
    >>> settings.whole("hidden_size"), settings.whole("n_inner", 256)
    (64, 256)

    Attributes:
      place: The file, for errors.
      values: Name -> value.
    """

    def __init__(self, place: str, values: Mapping[str, Any]):
        self.place = place
        self.values = values

    def whole(self, name: str, default: Optional[int] = None) -> int:
        """Returns a whole number of at least 1.

        Args:
          name: The setting's name.
          default: What stands for one that is missing or null, if not `None`.

        Raises:
          DataError: If it is missing without a default, or no such number.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self._error(name, value, "a whole number of at least 1")
        return value

    def number(self, name: str, default: float) -> float:
        """Returns a finite positive number, `default` if it is missing.

        Raises:
          DataError: If it is no such number.
        """
        value = self._value(name, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value < 1e30:
            raise self._error(name, value, "a positive number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Returns a truth value, `default` if it is missing.

        Raises:
          DataError: If it is neither true nor false.
        """
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self._error(name, value, "true or false")
        return value

    def choice(
        self, name: str, allowed: Collection[Any], default: Any = None
    ) -> Any:
        """Returns a setting of which only some values can be read.

        Args:
          name: The setting's name.
          allowed: These values.
          default: What stands for one that is missing or null, if not `None`.

        Raises:
          DataError: If it is missing without a default, or another value.
        """
        value = self._value(name, default)
        if not isinstance(value, (str, bool)) or value not in allowed:
            raise self._error(
                name,
                value,
                f"one of: {', '.join(json.dumps(each) for each in allowed)}",
            )
        return value

    def absent(self, name: str, what: str) -> None:
        """Checks that a setting is missing, null, false or empty.

        Args:
          name: The setting's name.
          what: What it would ask for, which cannot be read.

        Raises:
          DataError: If it is set.
        """
        if self.values.get(name):
            raise errors.DataError(
                f"{self.place} has {name}={self._shown(self.values[name])}; "
                f"{what} cannot be read, so give a checkpoint without."
            )

    def _value(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise errors.DataError(
                f"{self.place} has no {name}; restore it, or give the file "
                "that belongs to the weights."
            )
        return value

    def _error(self, name: str, value: Any, words: str) -> errors.DataError:
        return errors.DataError(
            f"{self.place} has {name}={self._shown(value)}, which must be "
            f"{words}."
        )

    def _shown(self, value: Any) -> str:
        return json.dumps(value, default=str)[:80]


def load(path: str) -> Settings:
    """Reads a JSON file that holds an object.

    Args:
      path: The file.

    Raises:
      DataError: If it is missing, no JSON, or no object.
    """
    try:
        with open(path, "rb") as file:
            values = json.load(file)
        if not isinstance(values, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise errors.DataError(
            f"{path} cannot be read ({words}); restore it, or name the folder "
            "that holds it."
        ) from None
    return Settings(path, values)


def load_if_there(path: str) -> Settings:
    """Reads a JSON file as `load`; one that is missing has no settings."""
    if not os.path.isfile(path):
        return Settings(path, {})
    return load(path)
