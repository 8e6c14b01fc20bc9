"""The folders of a pipeline: which are finished, by which recipe; what another recipe left is kept
under another name.

PREFIX/stage.json    {"digest": …, "is_finished": …}: of the tables of the recipe that decide the
stage earlier-1/, …        what lay where another recipe's result now goes, the first time, the
second …
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.report.write import write_json

EARLIER = "earlier"


@dataclass(frozen=True)
class StageFolder:
    """One stage's place, for one recipe (by the digest of what decides the stage)."""

    path: Path
    digest: str
    marker: str = "stage.json"

    @property
    def is_finished(self) -> bool:
        known = self._known()
        return known.get("digest") == self.digest and bool(known.get("is_finished"))

    @property
    def is_of_another(self) -> bool:
        """Whether something lies there that this recipe did not make."""
        known = self._known()
        return bool(known) and known.get("digest") != self.digest

    def begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._mark(is_finished=False)

    def finish(self) -> None:
        self._mark(is_finished=True)

    def _mark(self, *, is_finished: bool) -> None:
        content = {"digest": self.digest, "is_finished": is_finished}
        write_json(self.path / self.marker, content)

    def _known(self) -> dict[str, Any]:
        """What the marker says; of a file that is none, something that belongs to nobody."""
        marker = self.path / self.marker
        try:
            known = json.loads(marker.read_text("utf-8")) if marker.exists() else {}
        except ValueError:
            known = None
        return known if isinstance(known, dict) else {"digest": None}


def digest_of(tables: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def set_aside(out: Path, names: Iterable[str]) -> Path | None:
    """Moves these entries of `out`, as far as they are there, into a new folder `earlier-N`; None
    if none is."""
    there = [out / name for name in names if (out / name).exists()]
    if not there:
        return None
    number = 1
    while (out / f"{EARLIER}-{number}").exists():
        number += 1
    aside = out / f"{EARLIER}-{number}"
    aside.mkdir()
    for entry in there:
        entry.rename(aside / entry.name)
    return aside
