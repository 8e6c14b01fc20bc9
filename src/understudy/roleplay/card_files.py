"""The files that cards travel in: JSON, PNG (`ccv3` and `chara` text chunks) and CHARX.

card = read_card("hilde.png"); card.set("scenario", "At the mill."); write_card(card, "hilde.charx")
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path

from understudy.atomic import written_aside
from understudy.errors import DocumentError, UsageError
from understudy.roleplay import charx, png
from understudy.roleplay.card import Card, parse_card
from understudy.roleplay.json_text import MAX_CARD_BYTES

MAX_FILE_BYTES = 256 << 20
KEYWORDS = ("ccv3", "chara")  # the first that is there counts
ASSET_KEYWORD = "chara-ext-asset_:"


def read_card(path: str | Path) -> Card:
    """Reads a card; what kind of file it is, its first bytes say.

    Raises:
        DocumentError: missing, damaged, too large, or without a card in it.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DocumentError(
                "card file is too large",
                where=path,
                expected=f"at most {MAX_FILE_BYTES} bytes",
                found=size,
            )
        data = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read: {error.strerror}", where=path) from error
    try:
        return card_from_bytes(data, path)
    except DocumentError as error:
        if error.where is None or str(path) not in str(error.where):
            place = path if error.where is None else f"{path}: {error.where}"
            raise DocumentError(
                error.what, where=place, expected=error.expected, found=error.found, do=error.do
            ) from error
        raise


def card_from_bytes(data: bytes, where: object = "card") -> Card:
    """As `read_card`, from memory."""
    if data.startswith(png.SIGNATURE):
        return _from_png(data, where)
    if data.startswith(b"PK\x03\x04") or (
        data[:2] == b"\xff\xd8" and b"PK\x03\x04" in data
    ):  # some programs put a JPEG first
        return _from_charx(data, where)
    return parse_card(data, where)


def _from_png(data: bytes, where: object) -> Card:
    chunks, _ = png.read_chunks(data, where)
    texts = {
        png.keyword_of(chunk): chunk for chunk in reversed(chunks) if chunk.kind in png.TEXT_TYPES
    }  # the first counts
    keyword = next((word for word in KEYWORDS if word in texts), None)
    if keyword is None:
        raise DocumentError(
            "the picture holds no card",
            where=where,
            expected="a `ccv3` or `chara` text chunk",
            found=", ".join(sorted(k for k in texts if k)) or "no text",
        )
    card = parse_card(_decode(png.text_of(texts[keyword], where), f"{where}: {keyword}"), where)
    card.picture = data
    for name, chunk in texts.items():
        if name is not None and name.startswith(ASSET_KEYWORD):
            card.assets[name.removeprefix(ASSET_KEYWORD)] = _decode(
                png.text_of(chunk, where), f"{where}: {name}"
            )
    return card


def _decode(text: bytes, where: object) -> bytes:
    try:
        return base64.b64decode(bytes(text).translate(None, b"\r\n "), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DocumentError(f"text chunk is not base64 ({error})", where=where) from error


def _from_charx(data: bytes, where: object) -> Card:
    archive = charx.open_charx(data, where)
    card = parse_card(
        charx.read_member(archive, charx.CARD_NAME, where, MAX_CARD_BYTES),
        f"{where}: {charx.CARD_NAME}",
    )
    names = [
        member.filename
        for member in archive.infolist()
        if not member.is_dir() and member.filename != charx.CARD_NAME
    ]
    card.assets = {name: charx.read_member(archive, name, where) for name in names}
    return card


def write_card(card: Card, path: str | Path, *, backfill: bool = True) -> None:
    """Writes a card as its file name ends: .json, .png or .charx.

    Args:
        backfill: beside a version 3 card put a version 2 one into the PNG, for programs that know
            no other.

    Raises:
        UsageError: another ending.
    """
    path = Path(path)
    with written_aside(path) as aside:
        aside.write_bytes(
            card_to_bytes(card, path.suffix.lower().removeprefix("."), backfill=backfill)
        )


def card_to_bytes(card: Card, kind: str, *, backfill: bool = True) -> bytes:
    """A card as the bytes of a json, png or charx file."""
    if kind == "json":
        return card.to_json()
    if kind == "charx":
        return charx.write_charx(card.to_json(), card.assets)
    if kind == "png":
        return _to_png(card, backfill)
    raise UsageError(
        "unknown kind of card file", where=f".{kind}", expected=".json, .png or .charx"
    )


def _to_png(card: Card, backfill: bool) -> bytes:
    chunks, tail = png.read_chunks(card.picture or png.plain_picture())
    ours = {*KEYWORDS, *(ASSET_KEYWORD + name for name in card.assets)}
    chunks = [chunk for chunk in chunks if png.keyword_of(chunk) not in ours]
    texts = {}
    if card.version == 3:
        texts["ccv3"] = card.to_json()
    if card.version < 3 or backfill:
        old = card.as_version_2() if card.version == 3 else card.document
        texts["chara"] = json.dumps(old, ensure_ascii=True).encode()
    if long := [name for name in card.assets if not _is_keyword(ASSET_KEYWORD + name)]:
        raise UsageError(
            "a PNG cannot hold an asset of this name", where=long[0], do="write the card as .charx"
        )
    texts |= {ASSET_KEYWORD + name: data for name, data in card.assets.items()}
    new = [png.text_chunk(keyword, base64.b64encode(data)) for keyword, data in texts.items()]
    return png.write_chunks([*chunks[:-1], *new, chunks[-1]], tail)


def _is_keyword(name: str) -> bool:
    """Whether a PNG keyword may be this: 1 to 79 Latin-1 characters."""
    return 0 < len(name) < 80 and name.isprintable() and name.isascii()
