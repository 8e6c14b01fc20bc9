"""What fired, and why: as an author is shown it."""

from __future__ import annotations

import pytest

from understudy.roleplay.fired import fired_entries
from understudy.roleplay.lorebook import Line, Lorebook, ScanSettings

ENTRIES = [
    {"keys": ["ferry"], "content": "The ferry is run by Old Marta.", "comment": "The ferry"},
    {"keys": ["marta"], "content": "Marta owes nobody.", "name": "Marta"},
    {"keys": ["x"], "content": "It rains.", "constant": True},
    {"keys": ["dragon"], "content": "There are none.", "comment": "Dragons"},
]


@pytest.mark.parametrize("rules", ["v3", "sillytavern"])
def test_names_and_reasons(rules):
    entries = [
        {"insertion_order": i, "enabled": True, "use_regex": False, **entry}
        for i, entry in enumerate(ENTRIES)
    ]
    book = Lorebook({"entries": entries, "recursive_scanning": True}, rules=rules)
    lines = [Line("user", "When does the Ferry leave?")]
    found = book.scan(lines, ScanSettings())
    assert {one.name: one.why for one in fired_entries(found.placed, lines)} == {
        "The ferry": "ferry",
        "Marta": "called up by The ferry",
        "x": "constant",
    }
