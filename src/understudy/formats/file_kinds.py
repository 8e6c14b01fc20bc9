"""What a file is that was taken for a model's, by its first bytes: what downloads leave behind."""

from __future__ import annotations

LONGEST_SIGN = 64  # bytes
_SIGNS = {  # first bytes, in lower case
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, which stands for a file elsewhere",
    b"pk\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b'{"': "JSON",
}


def kind_of(beginning: bytes) -> str | None:
    """What begins so, in words; None where these signs do not tell."""
    text = beginning.lstrip().lower()
    return next((what for sign, what in _SIGNS.items() if text.startswith(sign)), None)
