"""Lets one process at a time write a run directory."""

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import durable, storage

# File systems without locks answer with one of these.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def held(path: str) -> Iterator[None]:
    """Holds the lock file `path`, which says by which process it is held.

    The kernel lets go of a lock whose process died, however it died. Where
    there are no such locks, on object stores above all, the process that the
    file names is looked for, which only works on its own machine.

    Args:
      path: The lock file; its folder is made if it is missing.

    Raises:
      RunDirectoryError: If another process holds it, or it cannot be written.
    """
    with durable.explained(path):
        storage.file_system(path).make_folder(os.path.dirname(path))
        descriptor = _lock(path) if storage.is_local(path) else None
        if descriptor is None:
            _take_over(path)
    try:
        with durable.explained(path):
            if descriptor is None:
                durable.write_text(path, _me())
            else:
                os.ftruncate(descriptor, 0)
                os.write(descriptor, _me().encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            storage.file_system(path).remove(path)
        if descriptor is not None:
            os.close(descriptor)
            # A run that was refused leaves nothing behind.
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))


def _lock(path: str) -> Optional[int]:
    """Opens and locks a file; returns `None` where there are no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed it since it was opened.
            if _same_file(descriptor, path):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            raise _refusal(path, _holder(path)) from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                return None
            raise


def _same_file(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _take_over(path: str) -> None:
    """Raises unless the file's holder, if it has one, has ended."""
    # An empty file is what looking for a lock made; holders' come whole.
    if not storage.exists(path) or not storage.file_system(path).size(path):
        return
    holder = _holder(path)
    host, process = holder.get("host"), holder.get("process")
    if host != socket.gethostname() or not isinstance(process, int):
        raise _refusal(
            path,
            holder,
            f"if that process has ended, remove {path}",
        )
    if _started(process) not in (None, holder.get("started")):
        return
    if _started(process) is not None and process != os.getpid():
        raise _refusal(path, holder)


def _holder(path: str) -> dict[str, object]:
    try:
        holder = json.loads(storage.read_text(path))
        return holder if isinstance(holder, dict) else {}
    except (OSError, ValueError):
        return {}


def _refusal(
    path: str, holder: dict[str, object], last_advice: str = ""
) -> errors.RunDirectoryError:
    advice = "wait for it, stop it, or give another --output_dir"
    return errors.RunDirectoryError(
        f"{os.path.dirname(path)} is being written by process "
        f"{holder.get('process', '?')} on {holder.get('host', '?')}; "
        f"{', or '.join(filter(None, [advice, last_advice]))}."
    )


def _me() -> str:
    """Describes this process, as JSON."""
    me = os.getpid()
    holder = {
        "host": socket.gethostname(),
        "process": me,
        "started": _started(me),
    }
    return json.dumps(holder) + "\n"


def _started(process: int) -> Optional[int]:
    """Returns when a process started, in ticks since boot, if it still runs.

    Process ids are used again: this tells two of them apart.
    """
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError):
        return None
