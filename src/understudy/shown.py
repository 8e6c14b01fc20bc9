"""What a package shows of the names that `understudy` has: `from understudy.roleplay import Npc`.

__all__ = ["Npc"]
__getattr__ = shown(__name__, __all__)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection
from typing import Any


def shown(package: str, names: Collection[str]) -> Callable[[str], Any]:
    """A package's `__getattr__`, which finds these names where `understudy` has them, when they are
    first used.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module("understudy"), name)

    return find
