"""`understudy card`: show, check, set and convert, as a user types them."""

from __future__ import annotations

import json

from understudy.cli import main
from understudy.roleplay import png
from understudy.roleplay.card_files import read_card


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


def test_a_card_is_begun_changed_and_put_into_a_portrait(tmp_path, capsys):
    made, face = tmp_path / "grom.json", tmp_path / "face.png"
    assert main(["card", "new", str(made), "--name", "Grom", "--set", "scenario=A cave."]) == 0
    assert json.loads(made.read_text())["data"]["scenario"] == "A cave."
    assert main(["card", "new", str(made), "--name", "Grom"]) == 2
    assert "card set" in capsys.readouterr().err
    portrait = png.plain_picture(40, 60, (9, 8, 7))
    face.write_bytes(portrait)
    assert main(["card", "convert", str(made), str(face)]) == 0
    assert "into the picture that was there" in capsys.readouterr().err
    assert read_card(face).name == "Grom"
    assert png.read_chunks(portrait)[0][1] in png.read_chunks(face.read_bytes())[0]
    assert main(["card", "new", str(face), "--name", "Grom"]) == 2
    bare = tmp_path / "bare.png"
    bare.write_bytes(portrait)
    assert main(["card", "new", str(bare), "--name", "Grom"]) == 0
    assert png.read_chunks(portrait)[0][1] in png.read_chunks(bare.read_bytes())[0]


def test_a_missing_card_or_field_is_not_made_unasked(tmp_path, capsys):
    missing = tmp_path / "grom.json"
    assert main(["card", "set", str(missing), "scenario=x"]) == 2
    assert "card new" in capsys.readouterr().err
    assert not missing.exists()
    assert main(["card", "set", str(missing), "--new", "scenario=x"]) == 0
    assert main(["card", "set", str(missing), "data.personality=y"]) == 2
    assert "Name it personality" in capsys.readouterr().err
    assert main(["card", "set", str(missing), "mood=sad"]) == 2
    assert "data" not in json.loads(missing.read_text())["data"]
    assert main(["card", "set", str(missing), "--new", "mood=sad"]) == 0
    assert json.loads(missing.read_text())["data"]["mood"] == "sad"
    old = tmp_path / "old.json"
    old.write_text('{"name": "Old"}')
    assert main(["card", "set", str(old), "creator=me"]) == 2
    assert "--version-3" in capsys.readouterr().err


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path, capsys):
    first, second = tmp_path / "a.json", tmp_path / "b.charx"
    for path in (first, second):
        assert main(["card", "new", str(path), "--name", path.stem]) == 0
    assert main(["card", "convert", str(first), str(second)]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["card", "convert", str(first), str(second), "--force"]) == 0
    assert read_card(second).name == "a"
    assert main(["card", "convert", str(first), str(first), "--version-3"]) == 0
