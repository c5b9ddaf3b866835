"""A folder to read from, and a watch over what a reader does besides."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import sys
from collections.abc import Iterator

from tests.testing.fuzz_readers import Files, Reader
from tests.testing.scripts import ROOT
from tff_pipeline import errors

# Seconds for one input, and bytes beyond what the process has already.
_PATIENCE = 20.0
_MEMORY = 3 * 2**30
_FORBIDDEN = (
    *("pickle.find_class", "os.system", "subprocess.Popen", "os.exec"),
    *("os.posix_spawn", "os.fork", "os.forkpty", "socket.connect"),
    *("os.symlink", "os.link", "os.chmod", "os.chown", "os.truncate"),
)
_CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Where Python and its packages look for themselves.
_OWN = (
    *map(os.path.realpath, (ROOT, sys.prefix, sys.base_prefix)),
    *map(os.path.realpath, filter(None, sys.path)),
    # Modules that are imported late, when lines are counted.
    *filter(None, [os.environ.get("LINE_COVERAGE")]),
    *("/proc/", "/sys/", "/dev/urandom", "/dev/null", "/usr/"),
)


class Hang(BaseException):
    """A reader takes too long; no `except Exception` stops it."""


class Sandbox:
    """Folders `given`, to read from, and `made`, to write to, in `root`."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.given, self.made = root / "given", root / "made"
        self.wrongs: list[str] = []
        self._reading = False
        for folder in (self.given, self.made):
            folder.mkdir()
        for name in ("outside", "outside.flags", "outside.npy", "outside.wav"):
            (root / name).write_text("--total_rounds=77\n")
        self._around = sorted(os.listdir(root))
        # A hook stays as long as the process; this one then sleeps.
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple) -> None:
        if not self._reading:
            return
        if event in _FORBIDDEN:
            self.wrongs.append(f"{event}{arguments!r}")
        elif event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            flags = arguments[2] or 0
            homes = (
                (str(self.made), str(self.given / "round_"))
                if flags & _WRITING
                else (str(self.root / "given"), str(self.made), *_OWN)
            )
            if not path.startswith(homes):
                self.wrongs.append(f"open{arguments!r}")
        elif event in _CHANGING:
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith((str(self.made), str(self.given))):
                self.wrongs.append(f"{event}{arguments!r}")

    def try_input(self, reader: Reader, files: Files, draw) -> bool:
        """Reads the files; returns whether they were taken, not refused.

        Raises:
          AssertionError: If the reader does anything else than to return or
            to raise a `PipelineError`, or does it elsewhere.
        """
        for folder in (self.given, self.made):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        for name, content in files.items():
            path = self.given / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.wrongs.clear()
        taken = True
        with _patience():
            self._reading = True
            try:
                reader.read(self.given, self.made, draw)
            except errors.PipelineError as error:
                taken = False
                assert str(error)
            finally:
                self._reading = False
        assert not self.wrongs, self.wrongs
        assert sorted(os.listdir(self.root)) == self._around
        found = {
            str(path.relative_to(self.given))
            for path in self.given.rglob("*")
            if path.is_file()
        }
        assert found <= set(files), found - set(files)
        return taken


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def give_up(number, frame):
        raise Hang(f"no answer in {_PATIENCE:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """No allocation far beyond what the process has succeeds."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
