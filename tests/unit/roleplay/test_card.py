"""Cards: round trips without loss, files held against other programs, and damaged ones."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import DocumentError, UsageError
from understudy.roleplay import png
from understudy.roleplay.card import BACKFILL_NOTE, Card, DepthPrompt, parse_card
from understudy.roleplay.card_files import card_from_bytes, card_to_bytes, read_card, write_card
from understudy.roleplay.card_notes import card_notes

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
words = st.text(max_size=40)


def documents() -> st.SearchStrategy[dict]:
    extra = st.dictionaries(
        st.text(min_size=1, max_size=8).map(lambda name: f"x_{name}"), json_values, max_size=3
    )
    entry = st.builds(
        lambda base, more: {**more, **base},
        st.fixed_dictionaries(
            {
                "keys": st.lists(words, max_size=3),
                "content": words,
                "extensions": extra,
                "enabled": st.booleans(),
                "insertion_order": st.integers(-5, 5),
                "use_regex": st.booleans(),
            }
        ),
        extra,
    )
    book = st.builds(
        lambda entries, more: {**more, "extensions": {}, "entries": entries},
        st.lists(entry, max_size=3),
        extra,
    )
    strings = [
        "description",
        "personality",
        "scenario",
        "first_mes",
        "mes_example",
        "creator_notes",
        "system_prompt",
    ]
    data = st.builds(
        lambda name, fields, more, extensions, book: {
            **more,
            **fields,
            "name": name,
            "extensions": extensions,
            "alternate_greetings": ["a"],
            **({"character_book": book} if book else {}),
        },
        words,
        st.fixed_dictionaries(dict.fromkeys(strings, words)),
        extra,
        extra,
        st.none() | book,
    )
    later = st.builds(
        lambda version, data, more: {
            **more,
            "spec": f"chara_card_v{version}",
            "spec_version": f"{version}.0",
            "data": data,
        },
        st.sampled_from([2, 3]),
        data,
        extra,
    )
    first = st.builds(lambda name, more: {**more, "name": name}, words, extra)
    return later | first


@settings(max_examples=60, deadline=None)
@given(documents(), st.sampled_from(["json", "png", "charx"]))
def test_every_kind_of_file_gives_the_document_back(document, kind):
    card = Card(document)
    wanted = card.upgraded().document if kind == "charx" and card.version < 3 else document
    assert card_from_bytes(card_to_bytes(card, kind)).document == wanted


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 399))
def test_foreign_and_mutated_bytes_give_one_error(noise, at):
    good = bytearray(card_to_bytes(CARD, "png"))
    good[at % len(good)] ^= 0x55
    for data in (noise, png.SIGNATURE + noise, b"PK\x03\x04" + noise, bytes(good)):
        with contextlib.suppress(DocumentError):
            card_from_bytes(data)


CARD = Card(
    {
        "spec": "chara_card_v3",
        "spec_version": "3.0",
        "data": {
            "name": "Hilde",
            "nickname": "Hil",
            "description": "A miller.",
            "first_mes": "Good day.",
            "alternate_greetings": ["You again?"],
            "group_only_greetings": [],
            "extensions": {"tool/x": {"keep": [1, 2.5, None]}},
            "tags": [],
            "creator": "",
            "creator_notes": "For you.",
            "personality": "",
            "scenario": "",
            "mes_example": "",
            "system_prompt": "",
            "post_history_instructions": "",
            "character_version": "",
            "character_book": {
                "extensions": {},
                "entries": [
                    {
                        "keys": ["mill"],
                        "content": "@@depth 2\nThe mill is old.",
                        "extensions": {},
                        "enabled": True,
                        "insertion_order": 1,
                        "use_regex": False,
                    }
                ],
            },
        },
    }
)


def test_another_program_reads_our_png_and_we_read_its():
    tavern_card = pytest.importorskip("tavern_card")
    assert "Hilde" in repr(tavern_card.parse_png_card(card_to_bytes(CARD, "png")))
    document = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {"name": "Ada", "extensions": {"k": 1}},
    }
    assert card_from_bytes(tavern_card.write_png_card(document)).data["extensions"] == {"k": 1}


def test_pillow_reads_the_chunks_and_the_picture():
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(card_to_bytes(CARD, "png")))
    image.load()
    assert json.loads(base64.b64decode(image.text["ccv3"])) == CARD.document
    assert json.loads(base64.b64decode(image.text["chara"]))["spec"] == "chara_card_v2"


def test_backfilled_version_2_warns_and_has_no_decorators():
    old = CARD.as_version_2()
    assert old["data"]["creator_notes"].startswith(BACKFILL_NOTE)
    assert old["data"]["character_book"]["entries"][0]["content"] == "The mill is old."
    assert CARD.document["data"]["character_book"]["entries"][0]["content"].startswith("@@depth")


def test_version_3_counts_before_version_2_and_stale_chunks_go():
    chunks, _ = png.read_chunks(card_to_bytes(CARD, "png"))
    stale = png.text_chunk("chara", base64.b64encode(b'{"name":"stale"}'))
    data = png.write_chunks([chunks[0], stale, *chunks[1:]])
    card = card_from_bytes(data)
    assert card.name == "Hilde"
    card.set("description", "An old miller.")
    written, _ = png.read_chunks(card_to_bytes(card, "png", backfill=False))
    assert [png.keyword_of(c) for c in written if c.kind == b"tEXt"] == ["ccv3"]


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_compressed_text_chunks(kind):
    text = base64.b64encode(CARD.to_json())
    head = b"ccv3\0" + (b"\0" if kind == b"zTXt" else b"\1\0en\0\0")
    chunks, _ = png.read_chunks(png.plain_picture())
    data = png.write_chunks(
        [chunks[0], png.PngChunk(kind, head + zlib.compress(text)), *chunks[1:]]
    )
    assert card_from_bytes(data).document == CARD.document


def test_text_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(png, "MAX_TEXT_BYTES", 1 << 16)
    chunks, _ = png.read_chunks(png.plain_picture())
    bomb = png.PngChunk(b"zTXt", b"chara\0\0" + zlib.compress(b"a" * (1 << 20)))
    with pytest.raises(DocumentError, match="inflates to more"):
        card_from_bytes(png.write_chunks([chunks[0], bomb, chunks[-1]]))


def test_wrong_crc_names_the_chunk(tmp_path):
    data = bytearray(card_to_bytes(CARD, "png"))
    data[data.index(b"ccv3") + 10] ^= 1
    (tmp_path / "card.png").write_bytes(data)
    with pytest.raises(DocumentError, match=r"card\.png.*CRC.*tEXt"):
        read_card(tmp_path / "card.png")


def test_picture_without_a_card():
    with pytest.raises(DocumentError, match="holds no card"):
        card_from_bytes(png.plain_picture())


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_zip_bomb_path_escape_and_encryption():
    with pytest.raises(DocumentError, match="more than any card needs"):
        card_from_bytes(_zip({"card.json": b" " * (300 << 20)}))
    with pytest.raises(DocumentError, match="leaves its folder"):
        card_from_bytes(_zip({"card.json": b"{}", "../../evil": b""}))
    with pytest.raises(DocumentError, match="no such member"):
        card_from_bytes(_zip({"other.json": b"{}"}))
    locked = bytearray(_zip({"card.json": CARD.to_json()}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DocumentError, match="encrypted"):
        card_from_bytes(bytes(locked))


def test_assets_travel_in_charx(tmp_path):
    card = CARD.upgraded()
    card.assets["assets/icon/images/main.png"] = png.plain_picture(4, 4)
    card.set(
        "assets",
        [
            {
                "type": "icon",
                "uri": "embeded://assets/icon/images/main.png",
                "name": "main",
                "ext": "png",
            }
        ],
    )
    write_card(card, tmp_path / "card.charx")
    again = read_card(tmp_path / "card.charx")
    assert again.assets == card.assets
    assert again.problems() == []
    again.assets.clear()
    assert "not in the file" in again.problems()[0]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b"{}", "not a character card"),
        (b'{"name": [3]}', "name: field has the wrong type"),
        (b'{"name": "x", "description": 1e999}', "not JSON"),
        (b'{"name": NaN}', "not JSON"),
        (b'{"spec": "chara_card_v9"}', "not a character card"),
        (b'{"spec": "chara_card_v2", "data": []}', "no data"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"name": "x"', "not JSON"),
        (
            b'{"spec": "chara_card_v2", "data": {"name": "x", "character_book": {"entries": [{"keys": [[1]]}]}}}',
            r"entries\[0\]\.keys\[0\]",
        ),
    ],
)
def test_bad_documents(text, match):
    with pytest.raises(DocumentError, match=match):
        parse_card(text)


def test_edits_are_checked_and_lose_nothing(tmp_path):
    card = Card(
        {
            "spec": "chara_card_v2",
            "spec_version": "2.0",
            "x": 1,
            "data": {"name": "A", "extensions": {"k": [1]}, "source": ["s"]},
        }
    )
    card.set("name", "B")
    with pytest.raises(DocumentError, match="wrong type"):
        card.set("tags", "no list")
    write_card(card, tmp_path / "c.json")
    assert read_card(tmp_path / "c.json").document == {**card.document, "x": 1}
    with pytest.raises(UsageError, match="added to"):
        card.set("source", [])
    with pytest.raises(UsageError, match="kind of card file"):
        write_card(card, tmp_path / "c.gif")


def test_newer_version_is_read_with_a_warning():
    document = {**CARD.document, "spec_version": "3.1"}
    assert "3.1" in Card(document).problems()[0]


def test_names_and_notes():
    assert CARD.shown_name == "Hil"
    assert CARD.greetings == ["Good day.", "You again?"]
    assert CARD.creator_notes("de") == "For you."
    assert Card({"name": "Old"}).upgraded().version == 3


def test_a_card_goes_into_the_picture_that_is_there(tmp_path):
    portrait, face = png.plain_picture(40, 60, (9, 8, 7)), tmp_path / "face.png"
    face.write_bytes(portrait)
    write_card(CARD, face)
    assert _pixels(face.read_bytes()) == _pixels(portrait)
    assert read_card(face).document == CARD.document
    write_card(CARD, tmp_path / "other.png", image=face)
    assert _pixels((tmp_path / "other.png").read_bytes()) == _pixels(portrait)
    (tmp_path / "photo.png").write_bytes(b"\xff\xd8\xff\xe0 a JPEG")
    with pytest.raises(DocumentError, match="not a PNG file"):
        write_card(CARD, tmp_path / "photo.png")
    assert (tmp_path / "photo.png").read_bytes() == b"\xff\xd8\xff\xe0 a JPEG"
    with pytest.raises(UsageError, match="holds no picture"):
        write_card(CARD, tmp_path / "card.json", image=face)


def _pixels(data):
    chunks, _ = png.read_chunks(data)
    return [chunk.data for chunk in chunks if chunk.kind in (b"IHDR", b"IDAT")]


def test_the_picture_travels_into_charx_and_back(tmp_path):
    portrait = png.plain_picture(40, 60, (9, 8, 7))
    card = card_from_bytes(card_to_bytes(CARD, "png", picture=portrait))
    write_card(card, tmp_path / "card.charx")
    again = read_card(tmp_path / "card.charx")
    assert again.problems() == []
    assert _pixels(again.assets["assets/icon/images/main.png"]) == _pixels(portrait)
    assert _pixels(card_to_bytes(again, "png")) == _pixels(portrait)


@pytest.mark.parametrize("name", ["", "\0evil"])
def test_a_zip_member_without_a_name_is_refused(name):
    data = _zip({"card.json": CARD.to_json(), "x" * len(name or "y"): b"1"})
    if name:
        data = data.replace(b"x" * len(name), name.encode())
    else:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(""), b"1")
        data = buffer.getvalue()
    with pytest.raises(DocumentError, match="has no name"):
        card_from_bytes(data)


def test_characters_of_pygmalion_are_read():
    card = parse_card(
        json.dumps(
            {
                "char_name": "Hilde",
                "char_persona": "A miller.",
                "world_scenario": "At the mill.",
                "char_greeting": "Good day.",
                "example_dialogue": "<START>\nHilde: Hm.",
                "x_keep": 1,
            }
        )
    )
    assert (card.version, card.name, card.text("description")) == (1, "Hilde", "A miller.")
    assert card.greetings == ["Good day."]
    assert card.document["x_keep"] == 1
    assert "Pygmalion" in card.problems()[0]


WEBUI = {"name": "Hilde", "context": "A miller.", "greeting": "Good day.\nCome in."}


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(WEBUI).encode(),
        b"name: Hilde\ngreeting: |-\n  Good day.\n  Come in.\ncontext: A miller.\n",
        b"# a miller\n---\nname: Hilde\ncontext: 'A miller.'\ngreeting: \"Good day.\\nCome in.\"",
    ],
)
def test_characters_of_text_generation_webui_are_read(data):
    card = card_from_bytes(data)
    assert (card.version, card.name, card.text("description")) == (1, "Hilde", "A miller.")
    assert card.greetings == ["Good day.\nCome in."]
    assert "text-generation-webui" in card.problems()[0]


def test_what_yaml_brings_beside_texts_is_named_and_never_unfolded():
    lists = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    card = card_from_bytes(f"name: no\na0: &a0 [x]\n{lists}".encode())
    assert card.name == "no"
    assert "a29 is no text, and is not read" in card.warnings
    with pytest.raises(DocumentError, match="not YAML"):
        card_from_bytes(b"name: [")
    with pytest.raises(DocumentError, match="too large"):
        card_from_bytes(b"name: x\n" + b"#" * (1 << 20))


@pytest.mark.parametrize(
    ("keyword", "change"),
    [
        ("Chara", lambda text: text),
        ("CCV3", lambda text: text),
        ("chara", lambda text: text.rstrip(b"=")),
        ("chara", lambda text: text.replace(b"+", b"-").replace(b"/", b"_")),
        ("chara", lambda text: text[:40] + b"\n\t" + text[40:] + b"\0"),
        ("chara", base64.b64decode),
    ],
)
def test_chunks_are_taken_as_sillytavern_takes_them(keyword, change):
    document = {"name": "Hilde ÿ?>~", "description": "ÿÿ>>??~~" * 9}
    text = base64.b64encode(json.dumps(document, ensure_ascii=False).encode())
    assert b"+" in text
    assert b"/" in text
    chunks, tail = png.read_chunks(png.plain_picture(1, 1))
    picture = png.write_chunks(
        [*chunks[:-1], png.text_chunk(keyword, change(text)), chunks[-1]], tail
    )
    card = card_from_bytes(picture)
    assert card.document == document
    again, _ = png.read_chunks(card_to_bytes(card, "png"))
    assert [png.keyword_of(chunk) for chunk in again if chunk.kind == b"tEXt"] == ["chara"]


def test_creators_notes_of_sillytaverns_first_version_are_kept():
    card = parse_card('{"name": "H", "creatorcomment": "For evenings."}')
    assert card.upgraded().text("creator_notes") == "For evenings."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"type": "risuModule", "module": {}}', "Risu"),
        (b" <HTML><body>", "web page"),
        (b'{"kind": "character", "name": "H", "persona": {}}', "Agnai"),
        (b'{"scenarioVersion": 3, "title": "x"}', "NovelAI"),
        (b'{"lorebookVersion": 5, "entries": []}', "--lorebook"),
        (b'{"entries": {"0": {"key": ["x"]}}}', "World Info"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\xff\xd8\xff\xe0 no zip in it", "JPEG"),
        (b"\x6f\x00\x01", "Risu"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_files_of_other_programs_are_refused_by_name(data, words):
    with pytest.raises(DocumentError, match=words):
        card_from_bytes(data)


def test_an_encrypted_card_of_risu_and_a_backyard_archive_are_named():
    chunks, tail = png.read_chunks(png.plain_picture(1, 1))
    text = png.text_chunk("chara", b"rcc||rccv1||abc")
    with pytest.raises(DocumentError, match="encrypted card of Risu"):
        card_from_bytes(png.write_chunks([*chunks[:-1], text, chunks[-1]], tail))
    with pytest.raises(DocumentError, match="Backyard"):
        card_from_bytes(_zip({"manifest.json": b"{}"}))


def test_the_note_of_a_card_is_read_with_its_defaults():
    def note(given):
        return Card(
            {"spec": "chara_card_v2", "data": {"name": "H", "extensions": {"depth_prompt": given}}}
        ).depth_prompt

    assert note({"prompt": "x", "depth": 2, "role": "user"}) == DepthPrompt("x", 2, "user")
    assert note({"prompt": "x", "depth": "?", "role": 3}) == DepthPrompt("x", 4, "system")
    assert note({"prompt": " "}) is None
    assert note("x") is None


def test_what_other_programs_keep_in_a_card_and_is_not_used_is_said():
    def notes(**extensions):
        data = {"name": "H", "extensions": extensions, "description": "{{wizard}}"}
        return card_notes(Card({"spec": "chara_card_v2", "data": data}))

    assert "wizard" in notes()[0]
    assert "regex scripts" in notes(regex_scripts=[{"findRegex": "x"}])[0]
    assert "the lorebook Mill" in notes(world="Mill")[0]
    assert len(notes(fav=False, talkativeness="0.5", regex_scripts=[], world="")) == 1


def test_fields_of_another_type_are_mended_as_sillytavern_takes_them_and_said():
    book = {
        "entries": {"1": {"keys": "b, c", "content": "2"}, "0": {"keys": ["a"], "extensions": []}}
    }
    data = {
        "name": "H",
        "extensions": [],
        "character_version": 1.5,
        "tags": "mill, flour",
        "alternate_greetings": ["Hi.", None],
        "character_book": book,
    }
    card = parse_card(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    assert card.data["extensions"] == {}
    assert card.text("character_version") == "1.5"
    assert card.data["tags"] == ["mill", "flour"]
    assert card.greetings == ["", "Hi."]
    assert [entry["keys"] for entry in card.lorebook["entries"]] == [["a"], ["b", "c"]]
    assert len(card.warnings) == 7
    assert any("tags" in warning for warning in card.problems())
    with pytest.raises(DocumentError, match="wrong type"):
        parse_card('{"spec": "chara_card_v2", "data": {"name": "H", "tags": 3}}')


def test_lists_and_books_of_another_form_are_mended():
    world = {"uid": 0, "key": ["mill"], "keysecondary": [], "content": "Old.", "order": 7}
    entries = [None, {"keys": [3, None, "a"], "content": "1"}, world]
    data = {"name": 7, "alternate_greetings": [5], "character_book": {"entries": entries}}
    card = parse_card(json.dumps({"spec": "chara_card_v2", "data": data}))
    assert (card.name, card.greetings) == ("7", ["", "5"])
    assert [entry["keys"] for entry in card.lorebook["entries"]] == [["3", "a"], ["mill"]]
    assert card.lorebook["entries"][1]["insertion_order"] == 7
    assert len(card.warnings) == 5
    bare = parse_card('{"spec": "chara_card_v2", "name": "H", "first_mes": "Hi."}')
    assert (bare.version, bare.greetings) == (1, ["Hi."])
    assert "no data" in bare.warnings[0]
    data["character_book"] = []
    assert parse_card(json.dumps({"spec": "chara_card_v2", "data": data})).lorebook is None
