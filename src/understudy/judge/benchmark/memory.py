"""How much memory this process has used at its peak."""

from __future__ import annotations

import resource
import sys


def peak_memory_bytes() -> int:
    """Largest resident set so far, mapped weights included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
