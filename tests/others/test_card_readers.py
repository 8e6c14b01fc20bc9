"""What we export, read by three other programs: SillyTavern, Risu's ccardlib and tavern-card."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.others.support import npm_folder, python_of
from understudy.roleplay import png
from understudy.roleplay.card import Card
from understudy.roleplay.card_files import read_card, write_card

pytestmark = pytest.mark.others
NPM = ["sillytavern@1.19.0", "@risuai/ccardlib@0.4.2", "--ignore-scripts"]
PYTHON = ["tavern-card==0.1.1"]
READ_WITH_TAVERN_CARD = """
import json, pathlib, sys, tavern_card
for name in sys.argv[1:]:
    data = pathlib.Path(name).read_bytes()
    read = tavern_card.parse_png_card if name.endswith(".png") else tavern_card.parse_card
    print(json.dumps(read(data)))
"""
FIELDS = {
    "name": "Hilde 🌾",
    "description": "{{char}} is the miller.\nShe is blunt.",
    "personality": "blunt",
    "scenario": "At the mill.",
    "first_mes": "Good day, {{user}}.",
    "mes_example": "<START>\n{{user}}: Hi\n{{char}}: Hello.",
}
NEWER = {
    "creator_notes": "By me.",
    "system_prompt": "Be brief.",
    "post_history_instructions": "Stay.",
    "alternate_greetings": ["Hm?", "Ah."],
    "tags": ["mill"],
    "creator": "me",
    "character_version": "1.0",
    "extensions": {"depth_prompt": {"prompt": "Note.", "depth": 2, "role": "user"}, "own/x": [1]},
    "character_book": {
        "name": "Lore",
        "extensions": {},
        "entries": [
            {
                "keys": ["wolf"],
                "secondary_keys": ["moon"],
                "content": "Wolves fear fire.",
                "extensions": {"selectiveLogic": 2, "sticky": 1},
                "enabled": True,
                "insertion_order": 5,
                "use_regex": False,
                "constant": False,
                "selective": True,
                "comment": "wolves",
                "position": "before_char",
                "id": 1,
            }
        ],
    },
}
NEWEST = {"nickname": "Hil", "group_only_greetings": ["All."], "source": ["a"]}


def cards() -> dict[int, Card]:
    second = {**FIELDS, **NEWER}
    return {
        1: Card(dict(FIELDS)),
        2: Card({"spec": "chara_card_v2", "spec_version": "2.0", "data": second}),
        3: Card({"spec": "chara_card_v3", "spec_version": "3.0", "data": {**second, **NEWEST}}),
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    folder = tmp_path_factory.mktemp("cards")
    picture = png.plain_picture(40, 60, (1, 2, 3))
    found = {}
    for version, card in cards().items():
        for kind in ("json", "png", "charx"):
            path = folder / f"card{version}.{kind}"
            write_card(card, path, image=None if kind == "json" else picture)
            found[version, kind] = path
    return found


@pytest.fixture(scope="module")
def in_node(files: dict[tuple[int, str], Path]) -> dict[tuple[int, str], Any]:
    script = Path(__file__).parent / "sillytavern" / "readers.mjs"
    command = ["node", str(script), str(npm_folder("readers", NPM)), *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    return dict(zip(files, map(json.loads, done.stdout.splitlines()), strict=True))


def test_sillytavern_has_every_field(files, in_node) -> None:
    for (version, kind), read in in_node.items():
        wanted = {**FIELDS, **(NEWER if version > 1 else {}), **(NEWEST if version > 2 else {})}
        data = read["card"].get("data", read["card"])
        assert {name: data.get(name) for name in wanted} == wanted, (version, kind)


def test_sillytavern_has_the_picture_of_a_charx(files, in_node) -> None:
    for version in (1, 2, 3):
        shown = base64.b64decode(in_node[version, "charx"]["avatar"])
        assert shown.startswith(png.SIGNATURE)
        assert b"\x01\x02\x03" * 8 in zlib.decompress(
            next(c.data for c in png.read_chunks(shown)[0] if c.kind == b"IDAT")
        )


def test_ccardlib_takes_each_for_its_version(files, in_node) -> None:
    for (version, kind), read in in_node.items():
        assert read["version"] == ("v3" if kind == "charx" else f"v{version}"), (version, kind)
        for name, value in FIELDS.items():
            assert read["risu"]["data"][name] == value
        if version == 3:
            assert read["risu"]["data"]["character_book"] == NEWER["character_book"]
            assert read["risu"]["data"]["nickname"] == "Hil"


def test_tavern_card_has_every_field_of_version_2(files) -> None:
    python = python_of("tavern-card", PYTHON)
    read = [path for (_, kind), path in files.items() if kind != "charx"]
    command = [str(python), "-c", READ_WITH_TAVERN_CARD, *map(str, read)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    for path, line in zip(read, done.stdout.splitlines(), strict=True):
        data = json.loads(line)["data"]
        wanted = dict(FIELDS) if "card1" in path.name else {**FIELDS, **NEWER}
        if path.name == "card3.png":  # the version 2 card beside it has a note to the user
            wanted.pop("creator_notes")
        assert {name: data[name] for name in wanted} == wanted, path.name


def test_what_we_wrote_comes_back_here(files) -> None:
    for (version, kind), path in files.items():
        card = read_card(path)
        assert card.version == (3 if kind == "charx" else version)
        assert card.name == FIELDS["name"]
