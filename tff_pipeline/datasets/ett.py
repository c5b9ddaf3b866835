"""Reads hourly load and oil temperature of electricity transformers.

Zhou et al. 2021, "Informer" (ETTh1 and ETTh2). Each CSV file of a folder,
gzipped or not, is a station, so that stations can be added; their dates may be
written as `readers.dates` understands.
"""

import dataclasses
import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tff_pipeline import errors
from tff_pipeline.datasets.federation.federated_data import Examples
from tff_pipeline.datasets.readers import dates, packed

Array = npt.NDArray[Any]

# Six loads (high, middle and low; useful and useless), and the temperature of
# the oil in degrees Celsius, which is predicted.
COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
TARGET = COLUMNS.index("OT")
_ENDS = (".csv.gz", ".csv")
_HOUR = pd.Timedelta(hours=1)
_MONTH = 30 * 24
# Informer's split: 12 months to train on, 4 to choose by, 4 to test on.
TRAIN_HOURS = 12 * _MONTH
TEST_HOURS = (16 * _MONTH, 20 * _MONTH)


@dataclasses.dataclass(frozen=True)
class Station:
    """A station's hourly readings.

    Attributes:
      name: The name of its file, without the ending.
      values: float32 [hours, 7], the columns of `COLUMNS`.
      months: str [hours], the month of each reading, such as "2016-07".
    """

    name: str
    values: Array
    months: Array


def load(data_dir: str) -> list[Station]:
    """Reads every station.

    Args:
      data_dir: A folder of `ETTh1.csv.gz` and the like, or one such file.

    Returns:
      The stations in the order of their names, of at least 14,400 hours each.

    Raises:
      DataError: If there are no files, or a file is damaged, lacks a column,
        has a value that is not a number, skips an hour or is too short.
    """
    if os.path.isfile(data_dir):
        return [_read(data_dir)]
    if not os.path.isdir(data_dir):
        raise errors.DataError(
            f"{data_dir} does not exist; --data_dir must name the folder of "
            "ETTh1.csv.gz and ETTh2.csv.gz."
        )
    names = sorted(
        name for name in os.listdir(data_dir) if name.lower().endswith(_ENDS)
    )
    if not names:
        raise errors.DataError(
            f"{data_dir} holds no .csv.gz or .csv file; --data_dir must name "
            "the folder of ETTh1.csv.gz and ETTh2.csv.gz."
        )
    stations = [_read(os.path.join(data_dir, name)) for name in names]
    known = [station.name for station in stations]
    if len(set(known)) < len(known):
        raise errors.DataError(
            f"{data_dir} holds a station twice, as .csv and as .csv.gz; "
            "remove one of them."
        )
    return stations


def _read(path: str) -> Station:
    table = _table(path)
    missing = [name for name in ("date", *COLUMNS) if name not in table.columns]
    if missing:
        raise errors.DataError(
            f"{path} lacks the columns {', '.join(missing)}; it has "
            f"{', '.join(map(str, table.columns))}."
        )
    if len(table) < TEST_HOURS[1]:
        raise errors.DataError(
            f"{path} holds {len(table):,} hours; the split into 12, 4 and 4 "
            f"months of 30 days needs {TEST_HOURS[1]:,}."
        )
    values = np.stack([_numbers(path, table[name]) for name in COLUMNS], axis=1)
    hours = dates.read(table["date"])
    _check_hours(path, table["date"], hours)
    name = os.path.basename(path)
    end = next(end for end in _ENDS if name.lower().endswith(end))
    return Station(
        name[: -len(end)], values, hours.dt.strftime("%Y-%m").to_numpy(str)
    )


def _table(path: str) -> pd.DataFrame:
    """Reads a CSV file; semicolons go with decimal commas."""
    content = packed.read(path)
    header = content.split(b"\n", 1)[0]
    european = header.count(b";") > header.count(b",")
    try:
        table = pd.read_csv(
            io.BytesIO(content),
            sep=";" if european else ",",
            decimal="," if european else ".",
            encoding="utf-8-sig",
        )
    except ValueError as error:
        raise errors.DataError(
            f"{path} cannot be read as CSV ({str(error).strip()}); mend it."
        ) from None
    names = {name: str(name).strip() for name in table.columns}
    names |= {n: "date" for n, bare in names.items() if bare.lower() == "date"}
    return table.rename(columns=names)


def _check_hours(path: str, texts: pd.Series, hours: pd.Series) -> None:
    """Checks that each date is an hour after the one before.

    The advice is for what is wrong there.
    """
    unknown = np.flatnonzero(hours.isna())
    # Line 1 is the header, so that row i stands in line i + 2.
    if unknown.size:
        raise errors.DataError(
            f"{path} has the date {texts[unknown[0]]} in line "
            f"{unknown[0] + 2}, which is not understood; write all dates "
            f"alike, such as {dates.UNDERSTOOD}."
        )
    steps = hours.diff()[1:]
    wrong = np.flatnonzero(steps != _HOUR)
    if not wrong.size:
        return
    step = steps.iloc[wrong[0]]
    if (steps == steps.iloc[0]).all() and step > pd.Timedelta(0):
        advice = f"all are {step} apart: keep or make one reading an hour"
    elif _is_summer_time(steps):
        advice = "the clock was changed there: write the times in UTC"
    elif step < pd.Timedelta(0):
        advice = "it is earlier: sort the lines by date"
    elif step == pd.Timedelta(0):
        advice = "it is the same: leave one of them out"
    else:
        advice = f"but {step} after it: fill in what is missing between"
    line = wrong[0] + 3
    raise errors.DataError(
        f"{path} has the date {texts[line - 2]} in line {line}, not one hour "
        f"after the line before; {advice}."
    )


def _is_summer_time(steps: pd.Series) -> bool:
    """Returns whether hours are skipped in spring and repeated in autumn."""
    changes = np.flatnonzero(steps != _HOUR)
    return set(steps.iloc[changes]) == {0 * _HOUR, 2 * _HOUR} and bool(
        (np.diff(changes) > _MONTH).all()
    )


def _numbers(path: str, column: pd.Series) -> Array:
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise errors.DataError(
            f"{path} has {column[wrong[0]]} for {column.name} in line "
            f"{wrong[0] + 2}, which is no number; mend it."
        )
    return values


def training_readings(stations: list[Station]) -> dict[str, Array]:
    """Cuts the stations' 12 months of training by calendar month.

    Args:
      stations: The stations.

    Returns:
      Client's name, such as "ETTh1_2016-07" -> float32 [hours, 7]. Clients
      share no reading.
    """
    clients = {}
    for station in stations:
        months = station.months[:TRAIN_HOURS]
        for month in np.unique(months):
            readings = station.values[:TRAIN_HOURS][months == month]
            clients[f"{station.name}_{month}"] = readings
    return clients


def training_windows(
    clients: dict[str, Array], history: int, horizon: int
) -> tuple[Examples, Array]:
    """Cuts each client's readings into all windows that they hold.

    Args:
      clients: Client's name -> float32 [hours, 7], as `training_readings`
        returns them.
      history: The number of hours that a forecast knows.
      horizon: The number of hours after these that it predicts.

    Returns:
      (examples, owners): `x` float32 [n, history, 7], `y` float32 [n, horizon],
      the temperature, and str [n], the client of each window.
    """
    parts, owners = [], []
    for client, readings in clients.items():
        if len(readings) >= history + horizon:
            parts.append(_windows(readings, history, horizon))
            owners += [client] * len(parts[-1])
    return _joined(parts), np.array(owners)


def test_windows(
    stations: list[Station], history: int, horizon: int
) -> tuple[Examples, Array]:
    """Cuts windows whose predicted hours lie in the 4 months of testing.

    There are as many as in Informer, 2,857 per station with a horizon of 24.
    The first windows know hours before these months.

    Args:
      stations: The stations.
      history: The number of hours that a forecast knows.
      horizon: The number of hours after these that it predicts.

    Returns:
      (examples, owners), see `training_windows`; an owner is the station with
      the month of the first hour that is predicted.
    """
    first, last = TEST_HOURS
    parts, owners = [], []
    for station in stations:
        parts.append(
            _windows(station.values[first - history : last], history, horizon)
        )
        months = station.months[first : first + len(parts[-1])]
        owners += [f"{station.name}_{month}" for month in months]
    return _joined(parts), np.array(owners)


def _windows(readings: Array, history: int, horizon: int) -> Examples:
    windows = np.lib.stride_tricks.sliding_window_view(
        readings, history + horizon, axis=0
    ).swapaxes(1, 2)
    return Examples(windows[:, :history], windows[:, history:, TARGET])


def _joined(parts: list[Examples]) -> Examples:
    return Examples(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
    )
