"""Makes Matplotlib's SVG lie within a page and take its colours.

A line is drawn in a code of a colour, for which the page's own colour is put
afterwards, so that one picture serves a light and a dark page. Words stay text.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

# The code of the colour of text and axes.
INK = "#00000e"
_GRID = "#00000f"
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # A name may have a $.
    "axes.unicode_minus": False,
    "font.size": 9,
    "lines.linewidth": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": _GRID,
}


@contextlib.contextmanager
def axes(
    inches: tuple[float, float],
    margins: tuple[float, float, float, float],
) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yields an empty axis, and a function that returns it as SVG.

    Args:
      inches: The picture's width and height.
      margins: Left, bottom, width and height of the axis in shares of these.
    """
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
    text = text.replace(INK, "currentColor").replace(_GRID, "var(--grid)")
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


def line_colour(number: int) -> str:
    """Returns the code of one of the colours of lines.

    Args:
      number: 0 to 5, for the page's --line-1 to --line-6.
    """
    return f"#00000{number + 1}"
