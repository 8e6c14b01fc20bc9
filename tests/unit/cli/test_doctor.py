"""`understudy doctor`: numbers for programs, words for people."""

from __future__ import annotations

import json

from understudy.cli import main


def test_its_json_holds_numbers_under_names_of_one_word(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert not [name for name in facts if " " in name]
    assert isinstance(facts["cache_bytes"], int)
    assert isinstance(facts["read_bandwidth_bytes_per_second"], int)


def test_a_person_reads_units(capsys, monkeypatch):
    monkeypatch.delenv("UNDERSTUDY_CACHE", raising=False)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "GB/s" in out
    assert "_" not in out.split("\n")[2].split("  ")[0]
    assert "{" not in out
