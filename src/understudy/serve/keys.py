"""Keys in a file: one line each, `name salt hash`. A key itself is shown once, when it is made.

A key has 256 random bits, so one salted SHA-256 is enough: there is nothing to guess slowly.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from understudy.errors import FormatError, UsageError

PREFIX = "us-"
_NAME = re.compile(r"[\w.-]{1,64}\Z")


def new_key(path: Path, name: str = "default") -> str:
    """Makes a key and adds its hash to a file that only its owner may read. Returns the key."""
    if not _NAME.match(name):
        raise UsageError("a key's name is letters, digits and _ . -", where="name", found=name)
    key, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(16)
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
        ) as file:
            file.write(f"{name} {salt} {_digest(salt, key)}\n")
    except OSError as error:
        raise UsageError(f"the keys cannot be written ({error.strerror})", where=path) from error
    return key


class Keys:
    """The keys of a file. `name_of` says whose a key is."""

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "the keys cannot be read",
                where=path,
                do="make one with `understudy serve --new-key FILE`",
            ) from error
        self._entries: list[tuple[str, str, str]] = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            words = line.split()
            if len(words) != 3 or not re.fullmatch(r"[0-9a-f]{64}", words[2]):
                raise FormatError(
                    "not a key", where=f"{path}, line {number}", expected="name salt hash"
                )
            self._entries.append((words[0], words[1], words[2]))
        if not self._entries:
            raise UsageError(
                "the file holds no keys",
                where=path,
                do="make one with `understudy serve --new-key FILE`",
            )

    def name_of(self, key: str) -> str | None:
        """Whose key it is, None if nobody's; always looks at all of them."""
        found = None
        for name, salt, digest in self._entries:
            if hmac.compare_digest(_digest(salt, key), digest):
                found = name
        return found


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a request carries: OpenAI's header or Anthropic's."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.casefold() == "bearer" else headers.get("x-api-key", "").strip()


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}:{key}".encode("utf-8", "surrogateescape")).hexdigest()
