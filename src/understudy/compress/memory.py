"""What freed memory does: on glibc it stays with the process, so that the next tensor of the size
finds its pages mapped.

By default glibc gives every block above 32 MiB (and the top of its heap) back to the system at
once, and a training step asks for the same blocks again: each page is then zeroed and mapped anew,
which took nine tenths of a step's time on a CPU.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of mallopt(3)
_NEVER = -1


@cache
def keep_freed_memory() -> bool:
    """Ask the C library, once for the process, to keep what is freed. True if it does; elsewhere
    than glibc nothing happens."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    answers = [
        mallopt(*pair) for pair in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, 64 << 20))
    ]
    return all(answers)
