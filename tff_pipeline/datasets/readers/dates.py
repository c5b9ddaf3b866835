"""Reads dates and times as people and programs write them."""

import re

import numpy as np
import pandas as pd

UNDERSTOOD = (
    "2016-07-31 13:00:00, 31/07/2016 13:00, 07/31/2016 1:00 PM, 31.07.2016 "
    "13:00 or seconds since 1970"
)
_WRITTEN = (
    r"^(?P<a>\d{1,4})(?P<between>[-/.])(?P<b>\d{1,2})(?P=between)(?P<c>\d{1,4})"
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?:[.,]\d+)?)?\s*(?P<half>[AaPp])?(?:\.?[Mm]\.?)?)?"
    r"\s*(?P<zone>Z|UTC|[-+]\d{2}:?\d{2})?$"
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
# The day first, as 01JAN2020 and 1-Jan-2020, or the month, as January 1, 2020.
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})[-\s./]*(?P<month>[A-Za-z]{3,9})"
    r"|(?P<month_first>[A-Za-z]{3,9})\.?\s+(?P<day_after>\d{1,2}))"
    r"[-\s./,]*(?P<year>\d{4})(?::|(?=\s)|$)(?P<time>.*)"
)
_SHORT_YEAR = r"\d{1,2}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)"
_SECONDS, _MILLISECONDS = 10, 13  # Digits of a time since 1970.


def read(texts: pd.Series) -> pd.Series:
    """Converts dates, all written alike, to times.

    Where day and month may be in either order, the order is taken in which no
    month is above 12; where both are possible, the one in which the times have
    more steps of the most frequent length. A date without a time is midnight
    (spreadsheets leave that out). Times with a zone are converted to UTC.

    Example:
      >>> times = read(pd.Series(["31/01/2016 23:00", "01/02/2016"]))
      >>> times.astype(str).tolist()
      ['2016-01-31 23:00:00', '2016-02-01 00:00:00']

    Args:
      texts: The dates, as text; a year of two digits is one of this century.

    Returns:
      The times, datetime64[ns], NaT where a text is not understood.
    """
    day, *others = _readings(texts.astype(str).str.strip())
    for month in others:
        if (month.isna().sum(), -_regular(month)) < (
            day.isna().sum(),
            -_regular(day),
        ):
            day = month
    return day


def orders(texts: pd.Series) -> list[pd.Series]:
    """Reads dates in each order of day and month in which all are dates.

    Example:
      >>> [each[0].month_name() for each in orders(pd.Series(["03/04/2020"]))]
      ['April', 'March']

    Args:
      texts: The dates, as for `read`, or with English months, as in 01JAN2020;
        a year of two digits may be of any century.

    Returns:
      One series of times for each order, as `read` returns it; none if a text
      is not understood or has a year of two digits.
    """
    texts = texts.astype(str).str.strip().map(_without_name)
    if texts.str.match(_SHORT_YEAR).any():
        return []
    return [each for each in _readings(texts) if not each.isna().any()]


def _without_name(text: str) -> str:
    """Writes a date with a month's name as 2020-01-31; leaves others alone.

    >>> _without_name("01JAN2020:08:30"), _without_name("Sept. 1, 2020")
    ('2020-1-01 08:30', '2020-9-1')
    """
    match = _NAMED.fullmatch(text)
    if match is None:
        return text
    name = (match["month"] or match["month_first"]).lower()
    months = [
        number
        for number, month in enumerate(_MONTHS, start=1)
        if month.startswith(name)
    ]
    if len(months) != 1:
        return text
    day = match["day"] or match["day_after"]
    return f"{match['year']}-{months[0]}-{day} {match['time'].strip()}".strip()


def _readings(texts: pd.Series) -> list[pd.Series]:
    """Returns times with the day first and with the month first, or one."""
    digits = texts.str.fullmatch(r"\d+")
    if len(texts) and digits.all() and texts.str.len().nunique() == 1:
        units = {_SECONDS: "s", _MILLISECONDS: "ms"}
        unit = units.get(len(texts.iloc[0]))
        if unit is not None:
            return [pd.to_datetime(texts.astype(np.int64), unit=unit)]
    parts = texts.str.extract(_WRITTEN)
    a, b, c = (pd.to_numeric(parts[name]) for name in "abc")
    if (parts["a"].str.len() == 4).any():
        return [_times(parts, a, b, c)]
    year = c.where(parts["c"].str.len() == 4, c + 2000)
    return [_times(parts, year, b, a), _times(parts, year, a, b)]


def _regular(times: pd.Series) -> int:
    """Returns how many steps have the most frequent length."""
    counts = times.diff().value_counts()
    return int(counts.iloc[0]) if len(counts) else 0


def _times(
    parts: pd.DataFrame, year: pd.Series, month: pd.Series, day: pd.Series
) -> pd.Series:
    hour, minute, second = (
        pd.to_numeric(parts[name]).fillna(0)
        for name in ("hour", "minute", "second")
    )
    half = parts["half"].str.lower()
    twelve = half.notna() & (hour == 12)
    hour = hour.where(~twelve, 0) + 12 * (half == "p")
    wrong = (hour > 23) | (minute > 59) | (second > 59)
    days = pd.to_datetime(
        pd.DataFrame({"year": year, "month": month, "day": day}),
        errors="coerce",
    )
    times = days + pd.to_timedelta(3600 * hour + 60 * minute + second, "s")
    return (times - _offsets(parts["zone"])).mask(wrong)


def _offsets(zones: pd.Series) -> pd.Series:
    """Returns how far each zone, such as +02:00, is ahead of UTC."""
    found = zones.str.extract(r"([-+])(\d{2}):?(\d{2})")
    minutes = 60 * pd.to_numeric(found[1]) + pd.to_numeric(found[2])
    minutes = minutes.where(found[0] != "-", -minutes).fillna(0)
    return pd.to_timedelta(minutes, "min")
