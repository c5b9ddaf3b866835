"""Draws curves and bars as SVG that lies within a page; see `picture`."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from tff_pipeline.reporting.run_report import picture

Array = npt.NDArray[Any]
# (name, x, y) of a line.
Line = tuple[str, Sequence[float], Sequence[float]]

_COLOURS = 6  # The page's --line-1 to --line-6.
_DASHES = ("-", (0, (4, 2)))
_DOTS = (0, (1, 2))
_INCHES = (4.6, 2.9)
_BUCKETS = 250
_MOST_COLUMNS = 5  # Of a legend, or 3 where a name is longer than this.
_SHORT = 10


def curves(
    lines: Sequence[Line],
    x_label: str,
    integer_x: bool = False,
    band: Optional[tuple[Sequence[float], Sequence[float]]] = None,
    mark: Optional[tuple[float, str]] = None,
    y_label: str = "",
) -> str:
    """Draws lines.

    Args:
      lines: The lines, at most 12, of which colour and dashes differ; one
        without a name is not in the legend.
      x_label: The words below the horizontal axis.
      integer_x: Whether only whole numbers stand on that axis.
      band: The lower and upper edge of a band about the first line.
      mark: A height at which a thin line runs across, and its name.
      y_label: The words beside the vertical axis.

    Returns:
      The SVG, without a title.
    """
    names = [name for name, *_ in lines if name]
    names += [] if mark is None else [mark[1]]
    with picture.axes(_INCHES, _margins(names)) as (axis, finish):
        if band is not None:
            low, high = (np.asarray(each, float) for each in band)
            places = thinned(high)
            across = np.asarray(lines[0][1], float)[places]
            axis.fill_between(
                across,
                low[places],
                high[places],
                color=_colour(0),
                alpha=0.2,
                lw=0,
            )
        artists = []
        for place, (name, xs, ys) in enumerate(lines):
            x, y = np.asarray(xs, float), np.asarray(ys, float)
            kept = thinned(y)
            drawn = axis.plot(
                x[kept],
                y[kept],
                color=_colour(place),
                linestyle=_DASHES[place // _COLOURS % len(_DASHES)],
                marker="o" if len(x) == 1 else "",
            )
            artists += drawn if name else []
        if mark is not None:
            artists.append(
                axis.axhline(mark[0], color=picture.INK, lw=1, linestyle=_DOTS)
            )
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        _ticks(axis, integer_x)
        axis.grid(lw=0.6)
        _legend(axis, names, artists)
        return finish()


def bars(
    names: Sequence[str], values: Sequence[float], x_label: str, left: float
) -> str:
    """Draws horizontal bars, the first on top, each with its value.

    Args:
      names: The bars' names.
      values: Their lengths, finite.
      x_label: The words below the axis.
      left: The share of the width that names need.

    Returns:
      The SVG, without a title.
    """
    height = 0.6 + 0.2 * len(names)
    margins = (left, 0.45 / height, 0.9 - left, 1 - 0.55 / height)
    with picture.axes((_INCHES[0], height), margins) as (axis, finish):
        places = np.arange(len(names))
        axis.barh(places, values, 0.7, color=_colour(0), lw=0)
        axis.set_yticks(places, names)
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(len(names) - 0.4, -0.6)
        _few_ticks(axis.xaxis)
        for place, value in enumerate(values):
            axis.annotate(
                f"{value:.3g}",
                (max(value, 0), place),
                (3, 0),
                textcoords="offset points",
                va="center",
            )
        axis.set_xlabel(x_label)
        axis.grid(axis="x", lw=0.6)
        return finish()


def stacks(
    parts: Sequence[tuple[str, Sequence[float]]], x_label: str, y_label: str
) -> str:
    """Draws vertical bars side by side, each of several parts.

    Args:
      parts: Name and height in each bar of each part, from below.
      x_label: The words below the bars.
      y_label: The words beside them.

    Returns:
      The SVG, without a title.
    """
    names = [name for name, _ in parts if name]
    with picture.axes(_INCHES, _margins(names)) as (axis, finish):
        bottom = np.zeros(len(parts[0][1]))
        artists = []
        for place, (name, heights) in enumerate(parts):
            top = bottom + np.asarray(heights, float)
            # One path a part, for a bar each would be a large file.
            drawn = axis.fill_between(
                np.repeat(np.arange(len(top) + 1), 2)[1:-1],
                np.repeat(bottom, 2),
                np.repeat(top, 2),
                color=_colour(place),
                alpha=1.0 if place < _COLOURS else 0.5,
                lw=0,
            )
            artists += [drawn] if name else []
            bottom = top
        axis.set_xlim(0, len(bottom))
        axis.set_xticks([])
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        _few_ticks(axis.yaxis, integer=True)
        _legend(axis, names, artists)
        return finish()


def reliability(confidence: Array, right: Array, share: Array) -> str:
    """Draws how often predictions are right, beside how sure they are.

    Args:
      confidence: The mean confidence in each bin, float [bins].
      right: The share that is right in each bin, float [bins].
      share: The share of all examples in each bin, float [bins].

    Returns:
      The SVG, without a title.
    """
    names = ["share of the examples", "model", "as sure as right"]
    with picture.axes(_INCHES, _margins(names)) as (axis, finish):
        held = axis.bar(
            confidence, share, 0.03, color=_colour(1), alpha=0.5, lw=0
        )
        line = axis.plot(
            confidence, right, color=_colour(0), marker="o", markersize=3
        )
        even = axis.plot(
            [0, 1], [0, 1], color=picture.INK, lw=1, linestyle=_DOTS
        )
        axis.set_xlabel("confidence of the likeliest class")
        axis.set_ylabel("share that is right")
        axis.set_xlim(0, 1.02)
        axis.set_ylim(0, 1.02)
        axis.grid(lw=0.6)
        _legend(axis, names, [held, *line, *even])
        return finish()


def thinned(values: Array) -> Array:
    """Chooses the places of a line's points that are drawn.

    Of more than 500 points the lowest and the highest of each of 250 stretches
    stay, and both ends, so that no peak is lost.

    Example:
      >>> len(thinned(np.zeros(500))), len(thinned(np.zeros(2000))) <= 502
      (500, True)

    Args:
      values: The heights, float [points].

    Returns:
      int64 [at most 502], ascending.
    """
    count = len(values)
    if count <= 2 * _BUCKETS:
        return np.arange(count)
    chosen = {0, count - 1}
    edges = np.linspace(0, count, _BUCKETS + 1).astype(int)
    for start, end in zip(edges[:-1], edges[1:]):
        stretch = values[start:end]
        finite = np.isfinite(stretch)
        chosen.add(start + int(np.argmin(np.where(finite, stretch, np.inf))))
        chosen.add(start + int(np.argmax(np.where(finite, stretch, -np.inf))))
    return np.array(sorted(chosen))


def _colour(place: int) -> str:
    return picture.line_colour(place % _COLOURS)


def _ticks(axis: Any, integer_x: bool) -> None:
    _few_ticks(axis.xaxis, integer_x)
    _few_ticks(axis.yaxis)


def _few_ticks(axis: Any, integer: bool = False) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=integer))
    low, high = axis.get_view_interval()
    if max(abs(low), abs(high)) >= 1e5:
        axis.set_major_formatter(EngFormatter(sep=""))


def _margins(names: Sequence[str]) -> tuple[float, float, float, float]:
    """Places an axis below a legend of these names, in shares of a picture."""
    rows = -(-len(names) // _columns(names)) if names else 0
    return 0.15, 0.16, 0.82, 0.8 - 0.065 * rows


def _columns(names: Sequence[str]) -> int:
    short = max(map(len, names)) <= _SHORT
    return min(len(names), _MOST_COLUMNS if short else 3)


def _legend(axis: Any, names: Sequence[str], artists: Sequence[Any]) -> None:
    """Names what is drawn above the axis, where that hides nothing."""
    if not names:
        return
    columns = _columns(names)

    def by_column(each: Sequence[Any]) -> list[Any]:
        # Matplotlib fills columns, and people read rows.
        return [x for place in range(columns) for x in each[place::columns]]

    axis.legend(
        by_column(artists),
        by_column(names),
        loc="lower left",
        bbox_to_anchor=(-0.16, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=1.5,
        columnspacing=1.0,
        borderaxespad=0.2,
    )
