"""SlipCover, sparing a process what another one did before it.

To put probes into the whole package takes three seconds, and every Python that
the tests start imports it.
"""

import marshal
import os
import pathlib
import tempfile

import slipcover
from slipcover import importer, probe

# A probe that has fired stays where it is: to remove one is to change the code
# of functions that other threads may be in.
_NEVER = 2**30
# Stands for the function that probes are given to; lines begin at 1.
_SIGNAL = 0


class KeptProbes(slipcover.Slipcover):
    """Keeps modules with their probes in `folder`, as Python keeps .pyc files.

    The folder is for one run of the tests, in which no module changes.
    """

    def __init__(self, folder):
        super().__init__(d_miss_threshold=_NEVER)
        self._folder = pathlib.Path(folder)

    def instrument(self, co, parent=None):
        if parent is not None:
            return super().instrument(co, parent)
        path = self._folder / co.co_filename.replace(os.sep, "+")
        try:
            kept = marshal.loads(path.read_bytes())
        except (OSError, ValueError, EOFError, TypeError):
            made = super().instrument(co)
            _write(path, marshal.dumps(self._packed(made)))
            return made
        return self._unpacked(*kept)

    def _packed(self, code):
        """A code object that can be written, and what its constants are to be.

        Returns:
          The code without its probes, and by place among its constants the line
          of a probe, `_SIGNAL`, or the same of a function within.
        """
        lines = iter(line for _, line in self.code2index[code])
        parts = {}
        for place, constant in enumerate(code.co_consts):
            if isinstance(constant, type(code)):
                parts[place] = self._packed(constant)
            elif constant is probe.signal:
                parts[place] = _SIGNAL
            elif type(constant).__name__ == "PyCapsule":
                parts[place] = next(lines)
        plain = list(code.co_consts)
        for place in parts:
            plain[place] = None
        return code.replace(co_consts=tuple(plain)), parts

    def _unpacked(self, code, parts):
        constants = list(code.co_consts)
        for place, part in parts.items():
            if part == _SIGNAL:
                constants[place] = probe.signal
            elif isinstance(part, int):
                constants[place] = probe.new(
                    self, code.co_filename, part, self.d_miss_threshold
                )
            else:
                constants[place] = self._unpacked(*part)
        return code.replace(co_consts=tuple(constants))


class PackageFinder(importer.SlipcoverMetaPathFinder):
    """Finds modules of tff_pipeline; the 8,000 of TensorFlow are not asked."""

    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] != "tff_pipeline":
            return None
        return super().find_spec(fullname, path, target)


def _write(path, content):
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)
    except OSError:
        pass  # A test that lets disks fail is not to fail for this.
