"""Reads what is known of single clients' devices: CSV files, a row a client.

Nothing is guessed: a value that is missing is refused, never taken as 0. Errors
name files, lines and columns, but no client, for a client's id is data.
"""

import bisect
import csv
import dataclasses
import functools
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

from tff_pipeline import errors
from tff_pipeline.files import storage

_ID = "client_id"
_SPEED = ("samples_per_second", "kbps_down", "kbps_up")
_SESSION = ("start_s", "end_s")
_RATE = ("learning_rate_factor",)


class Speed(NamedTuple):
    """Speed of a device.

    Attributes:
      samples_per_second: The examples that it trains on in a second.
      kbps_down: The bits that it receives in a second, in thousands.
      kbps_up: The bits that it sends in a second, in thousands.
    """

    samples_per_second: float
    kbps_down: float
    kbps_up: float


@dataclasses.dataclass(frozen=True)
class Sessions:
    """Times at which clients are there; they begin again after the last.

    >>> sessions = Sessions({"a": ((0.0, 60.0), (90.0, 100.0))})
    >>> sessions.left("a", 50.0), sessions.left("a", 70.0)
    (10.0, None)
    >>> sessions.left("a", 150.0), sessions.left("b", 50.0)
    (10.0, None)

    Attributes:
      by_client: The sessions of each client that has any, by id: pairs of start
        and end in seconds, ascending, which do not overlap.
    """

    by_client: Mapping[str, Sequence[tuple[float, float]]]

    @functools.cached_property
    def period_s(self) -> float:
        """The end of the last session, in seconds, after which they repeat."""
        return max(rows[-1][1] for rows in self.by_client.values())

    def left(self, client_id: str, at_s: float) -> Optional[float]:
        """Returns how long a client stays; `None` if it is not there.

        Args:
          client_id: The client's id, with sessions or without.
          at_s: The time on the simulated clock, in seconds.
        """
        sessions = self.by_client.get(client_id, ())
        at_s %= self.period_s
        place = bisect.bisect_right(sessions, (at_s, math.inf)) - 1
        if place < 0 or at_s >= sessions[place][1]:
            return None
        return sessions[place][1] - at_s


def read_speeds(path: str, client_ids: Sequence[str]) -> list[Speed]:
    """Reads the speeds of all clients.

    Args:
      path: The file of `--device_speeds`.
      client_ids: The ids of the clients; rows of others are left out.

    Returns:
      The clients' speeds, in the order of `client_ids`.

    Raises:
      DataError: If the file cannot be read, a value is missing or not above 0,
        or a client has no row or two.
    """
    rows = _one_each("device_speeds", path, _SPEED, client_ids)
    return [Speed(*row) for row in rows]


def read_learning_rates(path: str, client_ids: Sequence[str]) -> list[float]:
    """Reads the factors on the clients' learning rate.

    Args:
      path: The file of `--client_learning_rates`.
      client_ids: The ids of the clients; rows of others are left out.

    Returns:
      The factors, in the order of `client_ids`.

    Raises:
      DataError: As for `read_speeds`.
    """
    rows = _one_each("client_learning_rates", path, _RATE, client_ids)
    return [factor for (factor,) in rows]


def read_sessions(path: str, client_ids: Sequence[str]) -> Sessions:
    """Reads when clients are there.

    Args:
      path: The file of `--device_sessions`.
      client_ids: The ids of the clients. Rows of others are left out; clients
        without a row never come.

    Raises:
      DataError: If the file cannot be read, a value is missing, negative or not
        finite, a session does not end after its start or overlaps another of
        its client, or no client has one.
    """
    flag, known = "device_sessions", set(client_ids)
    found: dict[str, list[tuple[float, float]]] = {}
    for line, client_id, (start, end) in _rows(flag, path, _SESSION):
        if end <= start:
            raise errors.DataError(
                f"--{flag}={path}, line {line}: end_s is {end:g} and start_s "
                f"{start:g}; a session must end after it began. Mend the line."
            )
        if client_id in known:
            found.setdefault(client_id, []).append((start, end))
    if not found:
        raise errors.DataError(
            f"--{flag}={path} has no session of any of the {len(known)} "
            f"clients that train; its {_ID} must be that of the data."
        )
    for sessions in found.values():
        sessions.sort()
        for before, after in zip(sessions, sessions[1:]):
            if after[0] < before[1]:
                raise errors.DataError(
                    f"--{flag}={path} has a client with two sessions at a time "
                    f"({before[0]:g} to {before[1]:g} and {after[0]:g} to "
                    f"{after[1]:g} seconds); join them to one row."
                )
    return Sessions(found)


def _one_each(
    flag: str, path: str, columns: Sequence[str], client_ids: Sequence[str]
) -> list[tuple[float, ...]]:
    """Reads a file in which every client has one row of positive numbers."""
    rows: dict[str, tuple[float, ...]] = {}
    for line, client_id, values in _rows(flag, path, columns):
        for name, value in zip(columns, values):
            if not value:
                raise errors.DataError(
                    f"--{flag}={path}, line {line}: {name} is 0, and must be "
                    "above 0; mend the line."
                )
        if client_id in rows:
            raise errors.DataError(
                f"--{flag}={path}, line {line}, is a second row of one "
                f"{_ID}; leave one of the two."
            )
        rows[client_id] = values
    missing = sum(client_id not in rows for client_id in client_ids)
    if missing:
        raise errors.DataError(
            f"--{flag}={path} has no row for {missing} of the "
            f"{len(client_ids)} clients that train; add theirs, for none is "
            "made up."
        )
    return [rows[client_id] for client_id in client_ids]


def _rows(
    flag: str, path: str, columns: Sequence[str]
) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Yields (line, client's id, values of the columns), finite and >= 0."""
    try:
        text = storage.read_text(path)
    except FileNotFoundError:
        raise errors.DataError(
            f"--{flag}={path} does not exist; name a CSV file with the "
            f"columns {_ID}, {', '.join(columns)}."
        ) from None
    except UnicodeDecodeError:
        raise errors.DataError(
            f"--{flag}={path} is no text in UTF-8; save it as such."
        ) from None
    except OSError as error:
        raise errors.DataError(
            f"--{flag}={path} cannot be read ({error.strerror or error}); it "
            "must be a file that you may read."
        ) from None
    # As spreadsheets save it, a mark stands before the first name.
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = [name.strip() for name in next(lines, [])]
        if sorted(header) != sorted([_ID, *columns]):
            raise errors.DataError(
                f"--{flag}={path}: its first line must name the columns "
                f"{_ID}, {', '.join(columns)}, and no others."
            )
        for cells in lines:
            if not cells:
                continue
            if len(cells) != len(header):
                raise errors.DataError(
                    f"--{flag}={path}, line {lines.line_num}, has "
                    f"{len(cells)} values for {len(header)} columns; mend the "
                    "line."
                )
            row = dict(zip(header, map(str.strip, cells)))
            where = f"--{flag}={path}, line {lines.line_num}"
            if not row[_ID]:
                raise errors.DataError(
                    f"{where}: {_ID} is empty; every row is of a client."
                )
            values = tuple(_number(where, name, row[name]) for name in columns)
            yield lines.line_num, row[_ID], values
    except csv.Error as error:
        raise errors.DataError(
            f"--{flag}={path}, line {lines.line_num}, is no line of a CSV file "
            f"({error}); mend the line."
        ) from None


def _number(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value < math.inf:
        return value
    what = "is not a finite number"
    if not text:
        what = "is missing"
    elif value < 0:
        what = "is negative"
    raise errors.DataError(
        f"{where}: {column} {what}, and must be 0 or above; mend the line, for "
        "no value is made up."
    )
