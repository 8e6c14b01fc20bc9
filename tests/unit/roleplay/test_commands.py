"""`understudy card`: show, check, set and convert, as a user types them."""

from __future__ import annotations

import json

from understudy.cli import main


def test_cards_from_the_command_line(tmp_path, capsys):
    source = tmp_path / "hilde.json"
    source.write_text(json.dumps({"name": "Hilde", "description": "A miller.", "x_unknown": [1]}))
    assert (
        main(
            [
                "card",
                "set",
                str(source),
                "scenario=At the mill.",
                "personality=42",
                "first_mes=Hi",
                "mes_example=",
            ]
        )
        == 0
    )
    assert json.loads(source.read_text()) == {
        "name": "Hilde",
        "description": "A miller.",
        "x_unknown": [1],
        "scenario": "At the mill.",
        "personality": "42",
        "first_mes": "Hi",
        "mes_example": "",
    }
    assert main(["card", "check", str(source)]) == 0
    assert main(["card", "convert", str(source), str(tmp_path / "hilde.png"), "--version-3"]) == 0
    capsys.readouterr()
    assert main(["card", "show", str(tmp_path / "hilde.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"]["x_unknown"] == [1]
    (tmp_path / "bad.png").write_bytes((tmp_path / "hilde.png").read_bytes()[:100])
    assert main(["card", "show", str(tmp_path / "bad.png")]) == 2
    assert "bad.png" in capsys.readouterr().err
    assert main(["card", "set", str(source), "nonsense"]) == 2


def test_check_says_whose_rules_a_lorebook_follows_and_what_is_not_used(tmp_path, capsys):
    entry = {
        "keys": ["wolf"],
        "content": "Wolves fear fire.",
        "enabled": True,
        "extensions": {"vectorized": True, "selectiveLogic": 2},
    }
    source = tmp_path / "hilde.json"
    data = {"name": "Hilde", "character_book": {"entries": [entry]}}
    source.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    main(["card", "check", str(source)])
    written = capsys.readouterr().out
    assert "lorebook: 1 entries, SillyTavern's rules" in written
    assert "not used: wolf: vectorized" in written
