"""Conversations of the page that are kept on the server: one JSON file each, by client, in the
state folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from understudy.atomic import written_aside
from understudy.serve.errors import ApiError

MAX_CONVERSATIONS = 10_000  # of one client
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Conversations:
    """Documents as the page writes them; the server reads only what it lists and searches.

    Args:
        folder: the server's state folder; None: nothing can be kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "conversations" if folder is not None else None

    def listed(self, client: str, query: str) -> list[dict[str, Any]]:
        """Id, title, time and speaker of those that hold the words, the newest first."""
        wanted, found = query.casefold(), []
        folder = self._of(client)
        for path in folder.glob("*.json") if folder.is_dir() else ():
            document = _read(path)
            if document is not None and (not wanted or _holds(document, wanted)):
                about = {key: document.get(key) for key in ("title", "updated")}
                scene = document.get("scene")
                name = scene.get("name", "") if isinstance(scene, dict) else ""
                found.append({"id": path.stem, **about, "scene": {"name": name}})
        return sorted(found, key=_updated, reverse=True)

    def get(self, client: str, id: str) -> dict[str, Any]:
        """Raises ApiError 404 for one that is not there."""
        document = _read(self._path(client, id))
        if document is None:
            raise ApiError(404, f"there is no conversation {id[:80]!r}", code="not_found")
        return document

    def put(self, client: str, id: str, document: dict[str, Any]) -> None:
        """Keeps it, in the place of an earlier one of the id."""
        path = self._path(client, id)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and sum(1 for _ in path.parent.iterdir()) >= MAX_CONVERSATIONS:
            what = f"{MAX_CONVERSATIONS:,} conversations are kept already; delete some"
            raise ApiError(409, what, code="too_many")
        with written_aside(path) as aside:
            aside.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    def delete(self, client: str, id: str) -> None:
        self.get(client, id)
        self._path(client, id).unlink(missing_ok=True)

    def _of(self, client: str) -> Path:
        """A client's folder; the name says nothing of the client."""
        if self._folder is None:
            what = "this server keeps no conversations: it was started without a state folder"
            raise ApiError(409, what, code="no_state_folder")
        return self._folder / hashlib.sha256(client.encode()).hexdigest()[:24]

    def _path(self, client: str, id: str) -> Path:
        if not _ID.fullmatch(id):
            raise ApiError(400, "an id is up to 64 letters, digits, _ and -", code="invalid_value")
        return self._of(client) / f"{id}.json"


def _read(path: Path) -> dict[str, Any] | None:
    """A file that is damaged or of another program counts as none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _holds(document: dict[str, Any], wanted: str) -> bool:
    nodes = document.get("nodes")
    messages = nodes.values() if isinstance(nodes, dict) else ()
    texts = [document.get("title"), *(m.get("content") for m in messages if isinstance(m, dict))]
    return any(isinstance(text, str) and wanted in text.casefold() for text in texts)


def _updated(summary: dict[str, Any]) -> float:
    value = summary["updated"]
    return float(value) if isinstance(value, (int, float)) else 0.0
