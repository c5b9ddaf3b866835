"""Keeps freed memory in the process, for the next client's tensors.

glibc gives large blocks back to the kernel as they are freed, and takes new
pages for the next ones. A client of a model of 20 million weights then costs
some 38,000 page faults, a third of its time; one of a small model a few to
some hundred, by chance. Kept blocks are used again at once, for about an
eighth more memory at the peak.
"""

import ctypes

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

# Up to how many bytes a block comes from memory that was freed, and how many
# bytes may be free at the end of the heap.
_KEPT_BYTES = 1 << 30


def keep() -> bool:
    """Keeps freed memory from now on, in the whole process.

    Returns:
      Whether the C library can be told so; glibc can, others are left as they
      are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(option, _KEPT_BYTES)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    )
