"""Records as JSONL, and back. The layout (docs/redteam.md tells it field by field):

    {"kind": "header", "format": 1, "tool": "understudy safety redteam"}      first
    {"kind": "goal", …}
    {"kind": "conversation", …}
    {"kind": "turn", …}
    {"kind": "rating", …}
    {"kind": "fix", …}

A line has the fields of its record (`records.py`); ratings and goals also `aegis_1`, the category's
name in AEGIS 1.0. ASCII only, so that nothing that a model wrote can act on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.atomic import written_aside
from understudy.errors import DocumentError, UsageError
from understudy.judge.redteam.records import KINDS, Records, from_document, to_document
from understudy.judge.safety.taxonomy import to_aegis_1

FORMAT = 1
TOOL = "understudy safety redteam"


def export_lines(records: Records) -> Iterator[str]:
    """The lines, each with its end."""
    yield _line({"kind": "header", "format": FORMAT, "tool": TOOL})
    for kind in KINDS:
        for record in records.of(kind):
            document = {"kind": kind, **to_document(record)}
            if kind in ("rating", "goal") and document["category"] is not None:
                document["aegis_1"] = to_aegis_1(document["category"])
            yield _line(document)


def write_export(records: Records, path: Path) -> None:
    """Writes aside, then renames: there is the whole file or none.

    Raises:
        UnderstudyError: the place cannot be written.
    """
    with written_aside(path) as aside, aside.open("w", encoding="ascii") as file:
        file.writelines(export_lines(records))


def without_embargoed(records: Records) -> Records:
    """The records without the conversations whose findings are under embargo, and without those
    that came from them."""
    hidden = {
        fix.conversation
        for fix in records.fixes
        if (now := records.current_fix(fix.conversation)) and now.is_embargoed
    }
    while more := {one.id for one in records.conversations if one.parent in hidden} - hidden:
        hidden |= more
    return Records(
        records.goals,
        [one for one in records.conversations if one.id not in hidden],
        [one for one in records.turns if one.conversation not in hidden],
        [one for one in records.ratings if one.conversation not in hidden],
        [one for one in records.fixes if one.conversation not in hidden],
    )


def without_texts(records: Records) -> Records:
    """The records with what was said, set up and noted left out: counts and agreement stay, nothing
    harmful is passed on."""
    return Records(
        [replace(one, title="", plan="") for one in records.goals],
        [replace(one, title="", setup={}) for one in records.conversations],
        [
            replace(one, original="", sent="", answer="", calls=(), memory=None, error=None)
            for one in records.turns
        ],
        [replace(one, note="") for one in records.ratings],
        [replace(one, note="") for one in records.fixes],
    )


def read_export(path: Path) -> Records:
    """Raises DocumentError where a line is not of this layout: the line is named, nothing is
    taken."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read: {getattr(error, 'strerror', None) or 'not UTF-8'}", where=path
        ) from error
    return read_lines(lines, path)


def read_lines(lines: Iterable[str], where: object) -> Records:
    """As `read_export`, of lines."""
    records = Records()
    for number, line in enumerate(lines, 1):
        if line.strip():
            _take(records, _parsed(line, f"{where}:{number}"), number, f"{where}:{number}")
    return records


def _take(records: Records, document: dict[str, Any], number: int, where: str) -> None:
    kind = document.pop("kind", None)
    if number == 1:
        if (kind, document.get("format")) != ("header", FORMAT):
            raise DocumentError(
                "not a red team's export",
                where=where,
                expected=f"a header of format {FORMAT}",
                found=str(kind),
            )
        return
    if kind not in KINDS:
        raise DocumentError(
            "no such kind of record", where=where, expected=" ".join(KINDS), found=str(kind)
        )
    document.pop("aegis_1", None)
    records.add(from_document(kind, document, where))


def _parsed(line: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON ({error})", where=where) from error
    if not isinstance(document, dict):
        raise DocumentError("not a JSON object", where=where, found=type(document).__name__)
    return document


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, allow_nan=False) + "\n"
