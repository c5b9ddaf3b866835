"""Notes which lines of tff_pipeline this process runs.

Python imports it at its start where this folder is on PYTHONPATH, to which
`tests.testing.line_coverage` adds it.
"""

import atexit
import json
import os
import pathlib
import sys
import tempfile

try:
    import slipcover
except ImportError:
    slipcover = None  # Another Python than the tests', which is not measured.
else:
    from kept_probes import KeptProbes, PackageFinder

_PACKAGE = pathlib.Path(__file__).parents[3] / "tff_pipeline"


def begin(folder):
    """Writes what this process and its forks ran, as each of them ends.

    Args:
      folder: The folder for the files, one or more a process: JSON, from a
        module's file to its lines. Its folder `code` is for `KeptProbes`.

    Returns:
      A function without arguments that writes what ran so far, for a process
      that may be killed before its end.
    """
    lines = KeptProbes(os.path.join(folder, "code"))
    matcher = slipcover.FileMatcher(sources=[str(_PACKAGE)])
    sys.meta_path.insert(0, PackageFinder(lines, matcher))
    leave = os._exit

    def write():
        ran = {
            name: sorted(numbers)
            for name, numbers in list(lines.newly_seen.items())
        }
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=folder, suffix=".json", delete=False
            ) as file:
                json.dump(ran, file)
        except OSError:
            pass  # A test that lets disks fail is not to fail for this.

    def write_and_leave(status):
        write()
        leave(status)

    atexit.register(write)
    os._exit = write_and_leave
    return write


write_lines_run = None
if slipcover is not None and "LINE_COVERAGE" in os.environ:
    write_lines_run = begin(os.environ["LINE_COVERAGE"])
