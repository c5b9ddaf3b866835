"""Trains what papers have published, and writes it into pages of docs/.

python -m benchmarks.baselines [--only=GROUP,...] [--seeds=3] [--data=FOLDER]

Figures are kept in benchmarks/results/baselines.json as soon as they are
measured; the same command again goes on from there.
"""

import argparse
import datetime
import os
import sys
from collections.abc import Mapping
from typing import Optional

from benchmarks import machine
from benchmarks.baselines import page
from benchmarks.baselines.groups import GROUPS
from benchmarks.baselines.results import Results
from benchmarks.baselines.training import Run, train
from benchmarks.contenders import ROOT
from tff_pipeline import errors, silence
from tff_pipeline.files import durable

_RESULTS = os.path.join(ROOT, "benchmarks", "results", "baselines.json")
_DOCS = os.path.join(ROOT, "docs")


def _names(text: str) -> list[str]:
    """Reads names of groups with commas between them."""
    for name in text.split(","):
        if name not in GROUPS:
            raise argparse.ArgumentTypeError(
                f"there is no {name!r}; choose of: {', '.join(GROUPS)}."
            )
    return text.split(",")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seeds; give 1 or more."
        )
    return int(text)


def _options(arguments: Optional[list[str]] = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=_names,
        default=list(GROUPS),
        metavar="GROUPS",
        help=f"with commas between; by default all: {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--seeds",
        type=_count,
        default=3,
        metavar="N",
        help="how many, from 0 on, where the paper does not say "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        default="data",
        metavar="FOLDER",
        help="holds heart_disease/, femnist/ and mnist/ (default: data)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="trains what was measured before, too",
    )
    parser.add_argument(
        "--page_only",
        action="store_true",
        help="trains nothing, and writes the pages from what was measured",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Measures and writes; returns the exit status."""
    options = _options()
    silence.silence()
    results = Results(_RESULTS)
    try:
        for name in [] if options.page_only else options.only:
            _train(name, options, results)
    except errors.PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    finally:
        pages = _write_pages(results)
    print(f"Written: {', '.join(map(os.path.relpath, pages))}")
    return 0


def _write_pages(results: Results) -> list[str]:
    """Writes all pages that have figures, and returns their paths."""
    paths = [os.path.join(_DOCS, "baselines.md")]
    durable.write_text(paths[0], page.document(results, GROUPS))
    for name, group in GROUPS.items():
        if group.page is not None:
            path = os.path.join(_DOCS, group.page)
            with open(path, encoding="utf-8") as file:
                text = page.filled(file.read(), results, name, group)
            durable.write_text(path, text)
            paths.append(path)
    return paths


def _train(name: str, options: argparse.Namespace, results: Results) -> None:
    """Trains a group and prints its figures, each at once."""
    if options.again:
        results.forget(name)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    made = f"{today}, {machine.words()}"

    def measure(run: Run, seed: int) -> Mapping[str, float]:
        figures, new = results.measured(
            name, run.name, seed, lambda: train(run, seed, options.data), made
        )
        words = ", ".join(f"{k} {v:.6g}" for k, v in figures.items())
        mark = "" if new else " (measured before)"
        print(f"{name} {run.name} seed {seed}: {words}{mark}", flush=True)
        return figures

    GROUPS[name].train(measure, options.seeds)
    results.complete(name)


if __name__ == "__main__":
    sys.exit(main())
