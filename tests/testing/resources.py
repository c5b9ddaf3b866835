"""What a process uses, and how little it may be allowed."""

import contextlib
import os
import resource


def used(pid):
    """(resident memory in MB, threads, open files) of a process."""
    with open(f"/proc/{pid}/status") as file:
        lines = (line.partition(":") for line in file)
        status = {name: value.split() for name, _, value in lines}
    megabytes = int(status["VmRSS"][0]) / 1024
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return megabytes, int(status["Threads"][0]), files


@contextlib.contextmanager
def no_file_above(size):
    """No file may grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
