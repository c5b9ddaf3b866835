"""A picture of how examples are spread over clients."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from tff_pipeline.datasets.federation.census import Census
from tff_pipeline.files import durable

Array = npt.NDArray[Any]

_MOST_NAMES = 30  # Clients whose names can be read below the bars.
_MOST_BARS = 200
_MOST_COLOURS = 20
_MOST_ROWS = 100


def draw(census: Census, path: str, title: str) -> None:
    """Draws the clients side by side, and a histogram of their sizes.

    Up to 20 classes are stacked bars in as many colours; more are the rows of a
    heat map, the 100 most frequent of them. Of more than 200 clients, 200 are
    shown, evenly from the largest to the smallest.

    Args:
      census: Sizes and label counts of all clients.
      path: The PNG to write.
      title: The text above it.

    Raises:
      RunDirectoryError: If the picture cannot be written.
    """
    # Imported here, since scripts that draw nothing need not wait for it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    figure.suptitle(title)
    clients, sizes = figure.subplots(1, 2, width_ratios=[3, 1])
    shown = _shown(census)
    if census.labels is None:
        clients.bar(
            np.arange(len(shown)), census.sizes[shown], _width(shown), lw=0
        )
        clients.set_ylabel("examples")
    elif len(census.labels) <= _MOST_COLOURS:
        _stack(clients, census, shown)
    else:
        _heat(figure, clients, census, shown)
    _name(clients, census, shown)
    _histogram(sizes, census)
    with durable.explained(path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        figure.savefig(path, dpi=120, format="png")


def _shown(census: Census) -> Array:
    """Positions of the clients to show, int64 [clients]."""
    count = len(census.sizes)
    if count <= _MOST_BARS:
        return np.arange(count)
    largest_first = np.argsort(-census.sizes, kind="stable")
    return largest_first[np.linspace(0, count - 1, _MOST_BARS).astype(int)]


def _width(shown: Array) -> float:
    """Width of a bar; gaps of less than a pixel would flicker."""
    return 0.9 if len(shown) <= _MOST_NAMES else 1.0


def _stack(axis: Any, census: Census, shown: Array) -> None:
    """Draws each client as a bar of its classes, one on the other."""
    from matplotlib import colormaps

    assert census.labels is not None and census.counts is not None
    counts = census.counts[shown].toarray()
    few = len(census.labels) <= 10
    colours = colormaps["tab10" if few else "tab20"]
    places = np.arange(len(shown))
    bottom = np.zeros(len(shown))
    for number, (label, column) in enumerate(zip(census.labels, counts.T)):
        axis.bar(
            places,
            column,
            _width(shown),
            bottom,
            color=colours(number),
            label=str(label),
            lw=0,
        )
        bottom += column
    axis.set_ylabel("examples")
    # The same order as in the bars, from below.
    handles, names = axis.get_legend_handles_labels()
    axis.legend(
        handles[::-1],
        names[::-1],
        title="class",
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )


def _heat(figure: Any, axis: Any, census: Census, shown: Array) -> None:
    """Draws the share of each class in each client as a heat map."""
    assert census.labels is not None and census.counts is not None
    totals = np.asarray(census.counts.sum(axis=0)).ravel()
    rows = np.sort(np.argsort(-totals, kind="stable")[:_MOST_ROWS])
    of_all = np.asarray(census.counts[shown].sum(axis=1))
    shares = 100 * census.counts[shown][:, rows].toarray() / of_all
    image = axis.imshow(
        # So that what a client lacks stays white.
        np.ma.masked_equal(shares.T, 0),
        aspect="auto",
        cmap="viridis_r",
        interpolation="nearest",
        # A few clients of one class must not pale all others.
        vmax=np.percentile(shares[shares > 0], 99),
    )
    step = -(-len(rows) // 20)
    axis.set_yticks(np.arange(len(rows))[::step], census.labels[rows][::step])
    words = "class"
    if len(rows) < len(census.labels):
        words = f"class (the {len(rows)} most frequent of {len(census.labels)})"
    axis.set_ylabel(words)
    figure.colorbar(
        image, ax=axis, label="% of a client's labels", extend="max", pad=0.01
    )


def _name(axis: Any, census: Census, shown: Array) -> None:
    """Writes the clients' names, or their number, below the axis."""
    count = len(census.sizes)
    axis.set_xlim(-0.5, len(shown) - 0.5)
    if count <= _MOST_NAMES:
        names = [census.client_ids[position] for position in shown]
        axis.set_xticks(np.arange(count), names)
        if sum(map(len, names)) > 80:
            for text in axis.get_xticklabels():
                text.set(rotation=45, ha="right", rotation_mode="anchor")
    elif len(shown) == count:
        axis.set_xlabel(f"{count} clients")
    else:
        axis.set_xlabel(
            f"{len(shown)} of {count:,} clients, from the largest to the "
            "smallest"
        )
        axis.set_xticks([])
    axis.spines[["top", "right"]].set_visible(False)


def _histogram(axis: Any, census: Census) -> None:
    """Draws how many clients have how many examples."""
    smallest, largest = census.sizes.min(), census.sizes.max()
    bins = np.linspace(smallest - 0.5, largest + 0.5, 31)
    if largest - smallest < 30:
        bins = np.arange(smallest, largest + 2) - 0.5
    elif largest > 30 * max(1.0, float(np.median(census.sizes))):
        # A long tail would be one bar beside nothing.
        bins = np.geomspace(max(smallest, 1) - 0.5, largest + 0.5, 31)
        axis.set_xscale("log")
    axis.hist(census.sizes, bins, color="0.4")
    if smallest == largest:
        axis.set_xlim(smallest - 3, smallest + 3)
    axis.set_xlabel("examples a client")
    axis.set_ylabel("clients")
    if axis.get_xscale() == "linear":
        axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.spines[["top", "right"]].set_visible(False)
