"""The environment variables that the program reads, in one table; a malformed one is refused at the
start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from understudy.errors import UsageError


@dataclass(frozen=True, slots=True)
class Variable:
    meaning: str
    is_good: Callable[[str], bool]
    expected: str


# Of all processors; `core.isa_targets()` knows this one's.
ISA_TARGETS = (
    "reference",
    "avx2",
    "avx_vnni",
    "avx512",
    "avx512_vbmi",
    "amx",
    "neon",
    "neon_dotprod",
)

VARIABLES: dict[str, Variable] = {
    "UNDERSTUDY_ISA": Variable(
        "kernel target to use", lambda v: v in ISA_TARGETS, " or ".join(ISA_TARGETS)
    ),
    "UNDERSTUDY_THREADS": Variable(
        "threads of the engine", lambda v: v.isdigit() and 1 <= int(v) <= 1024, "1 to 1024"
    ),
    "UNDERSTUDY_CACHE": Variable("folder of packed weights", lambda v: v != "", "a folder"),
    "UNDERSTUDY_DEBUG": Variable("1 shows tracebacks", lambda v: v in ("0", "1"), "0 or 1"),
}


def check_environment() -> None:
    """UsageError for a variable that is set to something else than it expects, or whose name is
    misspelt.
    """
    for name, value in os.environ.items():
        if not name.startswith("UNDERSTUDY_") or name.startswith(
            ("UNDERSTUDY_TEST", "UNDERSTUDY_FIRE", "UNDERSTUDY_FUZZ", "UNDERSTUDY_LLAMA")
        ):
            continue
        if name not in VARIABLES:
            raise UsageError(
                "unknown environment variable", where=name, expected=", ".join(VARIABLES)
            )
        if not VARIABLES[name].is_good(value):
            raise UsageError(
                "malformed environment variable",
                where=name,
                expected=VARIABLES[name].expected,
                found=value,
            )
