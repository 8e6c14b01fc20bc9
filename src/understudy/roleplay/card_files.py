"""The files that cards travel in: JSON, PNG (`ccv3` and `chara` text chunks) and CHARX; and the
YAML of text-generation-webui.

card = read_card("hilde.png"); card.set("scenario", "At the mill."); write_card(card, "hilde.charx")
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
from pathlib import Path
from typing import Any

from understudy.atomic import written_aside
from understudy.errors import DocumentError, UsageError
from understudy.roleplay import charx, png
from understudy.roleplay.card import Card, card_of, parse_card
from understudy.roleplay.card_formats import is_yaml, read_yaml, refuse_by_its_beginning
from understudy.roleplay.json_text import MAX_CARD_BYTES

MAX_FILE_BYTES = 256 << 20
KEYWORDS = ("ccv3", "chara")  # the first that is there counts
ASSET_KEYWORD = "chara-ext-asset_:"
EMBEDDED = "embeded://"  # spelled as the format spells it
ICON_NAME = "assets/icon/images/main.png"


def read_card(path: str | Path) -> Card:
    """Reads a card.

    Args:
        path: PNG, APNG, CHARX, JSON or YAML; its first bytes say which.

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
    refuse_by_its_beginning(data, where)
    return card_of(*read_yaml(data, where), where) if is_yaml(data) else parse_card(data, where)


def _from_png(data: bytes, where: object) -> Card:
    chunks, _ = png.read_chunks(data, where)
    texts = {
        _keyword_of(chunk): chunk for chunk in reversed(chunks) if chunk.kind in png.TEXT_TYPES
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


def _keyword_of(chunk: png.PngChunk) -> str | None:
    """The keyword of a text chunk; a card's is one however it is capitalised, as in SillyTavern."""
    keyword = png.keyword_of(chunk)
    return keyword if keyword is None or keyword.lower() not in KEYWORDS else keyword.lower()


def _decode(text: bytes, where: object) -> bytes:
    """What a chunk holds in base64, taken as Node takes it: either alphabet, padded or not. A
    document that stands there as it is is taken too.
    """
    if text.startswith(b"rcc||"):
        raise DocumentError(
            "an encrypted card of Risu", where=where, do="export it as PNG or CHARX of version 3"
        )
    if text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return text
    plain = bytes(text).translate(bytes.maketrans(b"-_", b"+/"), b"\r\n\t \0").rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
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


def write_card(
    card: Card,
    path: str | Path,
    *,
    backfill: bool = True,
    image: str | Path | bytes | None = None,
) -> None:
    """Writes a card as its file name ends: .json, .png or .charx.

    A PNG that is there already keeps its picture: the card goes into it.

    Args:
        backfill: beside a version 3 card put a version 2 one into the PNG, for programs that know
            no other.
        image: a PNG, by its path or its bytes, that the card goes into instead.

    Raises:
        UsageError: another ending, or an image for a .json.
        DocumentError: the image, or the file that is there, is no PNG.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if image is not None and kind == "json":
        raise UsageError(
            "a JSON file holds no picture", where=path, do="write the card as .png or .charx"
        )
    if image is None and kind == "png" and path.exists():
        image = path
    picture = None if image is None else _read_picture(image)
    data = card_to_bytes(card, kind, backfill=backfill, picture=picture)
    with written_aside(path) as aside:
        aside.write_bytes(data)


def _read_picture(image: str | Path | bytes) -> bytes:
    where = "image" if isinstance(image, bytes) else image
    try:
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read: {error.strerror}", where=where) from error
    png.read_chunks(data, where)
    return data


def card_to_bytes(
    card: Card, kind: str, *, backfill: bool = True, picture: bytes | None = None
) -> bytes:
    """A card as the bytes of a json, png or charx file. CHARX holds version 3 alone: an older card
    is upgraded.

    Args:
        picture: a PNG to show instead of the card's own.
    """
    if kind == "json":
        return card.to_json()
    if kind == "charx":
        card = _with_icon(card if card.version == 3 else card.upgraded(), picture)
        return charx.write_charx(card.to_json(), card.assets)
    if kind == "png":
        return _to_png(card, backfill, picture or card.picture or _icon_of(card))
    raise UsageError(
        "unknown kind of card file", where=f".{kind}", expected=".json, .png or .charx"
    )


def _main_icon(card: Card) -> dict[str, Any] | None:
    icons = [asset for asset in card.data.get("assets") or [] if asset.get("type") == "icon"]
    return next((icon for icon in icons if icon.get("name") == "main"), icons[0] if icons else None)


def _icon_of(card: Card) -> bytes | None:
    """The picture among a card's assets that shows the character, where it is a PNG."""
    icon = _main_icon(card)
    name = str(icon.get("uri", "")).removeprefix(EMBEDDED) if icon is not None else ""
    data = card.assets.get(name)
    return data if data is not None and data.startswith(png.SIGNATURE) else None


def _with_icon(card: Card, picture: bytes | None) -> Card:
    """The card with the picture that it came in among its assets, unless it shows another one."""
    icon = _main_icon(card)
    is_shown = icon is not None and icon.get("uri") not in (None, "", "ccdefault:")
    shown = picture or card.picture
    if shown is None or (is_shown and picture is None):
        return card
    chunks, tail = png.read_chunks(shown)
    kept = [chunk for chunk in chunks if _keyword_of(chunk) not in KEYWORDS]
    others = [asset for asset in card.data.get("assets") or [] if asset is not icon]
    entry = {"type": "icon", "uri": EMBEDDED + ICON_NAME, "name": "main", "ext": "png"}
    copied = Card(
        copy.deepcopy(card.document), {**card.assets, ICON_NAME: png.write_chunks(kept, tail)}
    )
    copied.set("assets", [entry, *others])
    return copied


def _to_png(card: Card, backfill: bool, picture: bytes | None) -> bytes:
    chunks, tail = png.read_chunks(picture or png.plain_picture())
    ours = {*KEYWORDS, *(ASSET_KEYWORD + name for name in card.assets)}
    chunks = [chunk for chunk in chunks if _keyword_of(chunk) not in ours]
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
