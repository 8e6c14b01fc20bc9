"""CHARX: a zip with `card.json` at its root and the card's assets beside it.

Only reads into memory and only what is asked for; names are never used as paths on disk.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from understudy.errors import DocumentError

CARD_NAME = "card.json"
_OTHER_ZIPS = {
    "manifest.json": "this may be an archive of Backyard AI: export a Tavern card there",
    "word/document.xml": "this is a Word document",
}
MAX_MEMBERS = 10_000
MAX_MEMBER_BYTES = 64 << 20
MAX_TOTAL_BYTES = 512 << 20
MAX_RATIO = (
    200  # inflated to stored bytes of the whole file; JSON of repeated words reaches about 100
)


def open_charx(data: bytes, where: object = "CHARX") -> zipfile.ZipFile:
    """The zip, after its directory has been held against the limits.

    Raises:
        DocumentError: no zip, encrypted, a zip bomb, or a member whose name leaves the folder.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise DocumentError(f"not a readable zip ({error})", where=where) from error
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DocumentError(
            "zip has too many members",
            where=where,
            expected=f"at most {MAX_MEMBERS}",
            found=len(members),
        )
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES or total > MAX_RATIO * max(len(data), 1 << 16):
        raise DocumentError(
            "zip inflates to more than any card needs",
            where=where,
            expected=f"at most {MAX_TOTAL_BYTES} bytes",
            found=f"{total} bytes out of {len(data)}",
        )
    if sum(member.compress_size for member in members) > len(data):
        raise DocumentError("zip members overlap", where=where)
    for member in members:
        if member.flag_bits & 1:
            raise DocumentError(
                "zip is encrypted",
                where=f"{where}: {member.filename}",
                do="export the card without a password",
            )
        if not member.filename:  # also of one whose name begins with a null byte
            raise DocumentError("zip member has no name", where=where)
        parts = Path(member.filename.replace("\\", "/")).parts
        if ".." in parts or member.filename.startswith(("/", "\\")):
            raise DocumentError("zip member leaves its folder", where=where, found=member.filename)
    return archive


def read_member(
    archive: zipfile.ZipFile, name: str, where: object = "CHARX", limit: int = MAX_MEMBER_BYTES
) -> bytes:
    """One member, whatever size its header claims at most `limit` bytes of it."""
    try:
        with archive.open(name) as member:
            data = member.read(limit + 1)
    except KeyError:
        raise DocumentError(
            "zip has no such member",
            where=where,
            expected=name,
            found=", ".join(archive.namelist()[:8]),
            do=_OTHER_ZIPS.get(next(iter(_OTHER_ZIPS.keys() & set(archive.namelist())), "")),
        ) from None
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        raise DocumentError(
            f"zip member cannot be read ({error})", where=f"{where}: {name}"
        ) from error
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise DocumentError(
            f"zip member cannot be inflated ({error})", where=f"{where}: {name}"
        ) from error
    if len(data) > limit:
        raise DocumentError(
            "zip member is too large", where=f"{where}: {name}", expected=f"at most {limit} bytes"
        )
    return data


def write_charx(card: bytes, assets: dict[str, bytes]) -> bytes:
    """A zip of the card and its assets; the same input gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {CARD_NAME: card, **assets}.items():
            archive.writestr(
                zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
