"""Memory that a process frees is used again, without new pages."""

import subprocess
import sys

_PROGRAM = """
import resource
import numpy as np
from tff_pipeline.runtime import freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

assert freed_memory.keep()
blocks = [np.ones(1 << 24, np.float32) for _ in range(2)]
del blocks
before = faults()
for _ in range(5):
    blocks = [np.ones(1 << 24, np.float32) for _ in range(2)]
    del blocks
print(faults() - before)
"""


def test_blocks_of_64_mib_come_from_freed_memory():
    output = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    # New pages would be 163,840 faults, or 320 of huge pages.
    assert int(output) < 100
