"""Draws pictures as SVG that lies within a page and takes its colours.

A line is drawn in a code of a colour, for which the page's own colour is put
afterwards, so that one picture serves a light and a dark page. Words stay text.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# (name, x, y) of a line.
Line = tuple[str, Sequence[float], Sequence[float]]

_COLOURS = 6  # The page's --line-1 to --line-6.
_DASHES = ("-", (0, (4, 2)))
_GRID, _INK = "#00000f", "#00000e"
_INCHES = (4.6, 2.9)
_BUCKETS = 250
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # A name may have a $.
    "axes.unicode_minus": False,
    "font.size": 9,
    "lines.linewidth": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
}


def curves(
    lines: Sequence[Line],
    x_label: str,
    integer_x: bool = False,
    band: Optional[tuple[Sequence[float], Sequence[float]]] = None,
    mark: Optional[tuple[float, str]] = None,
) -> str:
    """Draws lines.

    Args:
      lines: The lines, at most 12, of which colour and dashes differ.
      x_label: The words below the horizontal axis.
      integer_x: Whether only whole numbers stand on that axis.
      band: The lower and upper edge of a band about the first line.
      mark: A height at which a thin line runs across, and its name.

    Returns:
      The SVG, without a title.
    """
    with _axes(_INCHES) as (axis, finish):
        if band is not None:
            low, high = (np.asarray(each, float) for each in band)
            places = thinned(high)
            x = np.asarray(lines[0][1], float)[places]
            axis.fill_between(
                x, low[places], high[places], color=_colour(0), alpha=0.2, lw=0
            )
        for place, (name, x, y) in enumerate(lines):
            x, y = np.asarray(x, float), np.asarray(y, float)
            kept = thinned(y)
            axis.plot(
                x[kept],
                y[kept],
                color=_colour(place),
                linestyle=_DASHES[place // _COLOURS % len(_DASHES)],
                label=name,
                marker="o" if len(x) == 1 else "",
            )
        if mark is not None:
            axis.axhline(
                mark[0], color=_INK, lw=1, linestyle=(0, (1, 2)), label=mark[1]
            )
        axis.set_xlabel(x_label)
        _ticks(axis, integer_x)
        axis.grid(lw=0.6)
        _legend(axis, len(lines) + (mark is not None))
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
    with _axes((_INCHES[0], height), margins) as (axis, finish):
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
    with _axes(_INCHES) as (axis, finish):
        bottom = np.zeros(len(parts[0][1]))
        for place, (name, heights) in enumerate(parts):
            top = bottom + np.asarray(heights, float)
            # One path a part, for a bar each would be a large file.
            axis.fill_between(
                np.repeat(np.arange(len(top) + 1), 2)[1:-1],
                np.repeat(bottom, 2),
                np.repeat(top, 2),
                color=_colour(place),
                alpha=1.0 if place < _COLOURS else 0.5,
                lw=0,
                label=name,
            )
            bottom = top
        axis.set_xlim(0, len(bottom))
        axis.set_xticks([])
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        _few_ticks(axis.yaxis, integer=True)
        _legend(axis, len(parts) if len(parts) > 1 else 0)
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
    with _axes(_INCHES) as (axis, finish):
        axis.bar(
            confidence,
            share,
            0.03,
            color=_colour(1),
            alpha=0.5,
            lw=0,
            label="share of the examples",
        )
        axis.plot(
            confidence,
            right,
            color=_colour(0),
            marker="o",
            markersize=3,
            label="model",
        )
        axis.plot(
            [0, 1],
            [0, 1],
            color=_INK,
            lw=1,
            linestyle=(0, (1, 2)),
            label="as sure as right",
        )
        axis.set_xlabel("confidence of the likeliest class")
        axis.set_ylabel("share that is right")
        axis.set_xlim(0, 1.02)
        axis.set_ylim(0, 1.02)
        axis.grid(lw=0.6)
        _legend(axis, 3)
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


@contextlib.contextmanager
def _axes(
    inches: tuple[float, float],
    margins: tuple[float, float, float, float] = (0.14, 0.16, 0.83, 0.66),
) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yields an empty axis, and a function that returns it as SVG."""
    # Imported here, since scripts that draw nothing need not wait for it.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches)

        def finish() -> str:
            text = io.StringIO()
            figure.savefig(
                text,
                format="svg",
                transparent=True,
                metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
            )
            return _for_page(text.getvalue())

        yield figure.add_axes(margins), finish


def _for_page(text: str) -> str:
    """Takes out of an SVG file what a page has itself, and fixed colours."""
    # A page has one style sheet, and knows the names of SVG.
    text = re.sub(
        r"<style.*?</style>|<metadata>.*?</metadata>", "", text, flags=re.S
    )
    text = text[text.index("<svg") :].replace("xlink:href", "href")
    box = re.search(r'viewBox="([^"]*)"', text)
    assert box is not None
    width = float(box[1].split()[2])
    text = re.sub(
        r"<svg[^>]*>",
        f'<svg viewBox="{box[1]}" aria-hidden="true" '
        f'style="max-width: {1.4 * width:.0f}px">',
        text,
        count=1,
    )
    # Markers and clips are named by hashes of what they are, and may be named
    # again in the next picture; nothing refers to the other names.
    referred = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(
        r' id="([^"]*)"',
        lambda found: found[0] if found[1] in referred else "",
        text,
    )
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", text)
    text = text.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    return re.sub(r"#00000([1-9])", r"var(--line-\1)", text)


def unique_names(svg: str, number: int) -> str:
    """Makes the names in a picture differ from those in all others of a page.

    Args:
      svg: The picture.
      number: The picture's number on its page.
    """
    return re.sub(
        r'( id="|href="#|url\(#)', lambda found: f"{found[0]}f{number}-", svg
    )


def _colour(place: int) -> str:
    return f"#00000{place % _COLOURS + 1}"


def _ticks(axis: Any, integer_x: bool) -> None:
    _few_ticks(axis.xaxis, integer_x)
    _few_ticks(axis.yaxis)


def _few_ticks(axis: Any, integer: bool = False) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, integer=integer))
    low, high = axis.get_view_interval()
    if max(abs(low), abs(high)) >= 1e5:
        axis.set_major_formatter(EngFormatter(sep=""))


def _legend(axis: Any, lines: int) -> None:
    """Names the lines above the axis, where they hide nothing."""
    if lines:
        axis.legend(
            loc="lower left",
            bbox_to_anchor=(-0.14, 1.0),
            ncols=min(lines, 3 if lines <= 3 else 4),
            frameon=False,
            fontsize=8,
            handlelength=1.5,
            columnspacing=1.0,
            borderaxespad=0.2,
        )
