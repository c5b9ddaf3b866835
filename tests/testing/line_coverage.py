"""Runs pytest, and prints which lines of tff_pipeline the tests do not run.

    python -m tests.testing.line_coverage --at_least=90 [PYTEST ARGUMENTS]

The exit status is pytest's, or 2 if fewer lines are run than there should be.

SlipCover puts a probe into every line of the package alone. A function that
traces, as coverage.py has it before Python 3.12, is called for every line of
TFF and TensorFlow too: tests took between 1.3 and 4 times as long.

Every Python that starts measures itself (`at_start/sitecustomize.py`), with the
probes that the first one put in (`at_start/kept_probes.py`), and so do its
forks; those that a signal kills are not counted.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import slipcover

from tests.testing.fork_server import ROOT

PACKAGE = str(ROOT / "tff_pipeline")
AT_START = str(pathlib.Path(__file__).parent / "at_start")


def lines_run(folder):
    """Reads what processes wrote: file name -> set of line numbers."""
    ran = collections.defaultdict(set)
    for path in pathlib.Path(folder).glob("*.json"):
        try:
            written = json.loads(path.read_text())
        except ValueError:
            continue  # Killed while it wrote.
        for name, numbers in written.items():
            ran[name].update(numbers)
    return ran


def report(ran, at_least):
    """Prints files with lines that were not run; returns whether they are few.

    Args:
      ran: The lines run, as `lines_run` gives them.
      at_least: The share of lines that tests must run, in percent.
    """
    coverage = slipcover.Slipcover(
        source=[PACKAGE], exclude_also=[r"raise NotImplementedError"]
    ).get_coverage()
    for name, entry in coverage["files"].items():
        seen = ran.get(str(pathlib.Path(name).resolve()), set())
        missing = entry["missing_lines"]
        entry["missing_lines"] = [line for line in missing if line not in seen]
        entry["executed_lines"] = [line for line in missing if line in seen]
    # Merging with nothing is what sums up.
    slipcover.merge_coverage(coverage, {"files": {}})
    slipcover.print_coverage(coverage, skip_covered=True)
    percent = coverage["summary"]["percent_covered"]
    print(
        f"\nTests run {percent:.1f} % of the lines of tff_pipeline "
        f"(at least {at_least} % are wanted)."
    )
    return percent >= at_least


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--at_least", type=float, required=True)
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "code").mkdir()
        path = [AT_START, *filter(None, [os.environ.get("PYTHONPATH")])]
        measured = {
            "LINE_COVERAGE": folder,
            "PYTHONPATH": os.pathsep.join(path),
        }
        status = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            env={**os.environ, **measured},
            check=False,
        ).returncode
        ran = lines_run(folder)
    enough = report(ran, options.at_least)
    return status or (0 if enough else 2)


if __name__ == "__main__":
    sys.exit(main())
