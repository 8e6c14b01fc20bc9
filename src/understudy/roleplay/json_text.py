"""JSON objects out of untrusted text: bounded in size, finite in their numbers, with one error for
whatever is wrong.
"""

from __future__ import annotations

import json
import math
from typing import Any

from understudy.errors import DocumentError

MAX_CARD_BYTES = 16 << 20


def parse_json(text: bytes | str, where: object = "card") -> dict[str, Any]:
    """A JSON object out of untrusted text."""
    if len(text) > MAX_CARD_BYTES:
        raise DocumentError(
            "card is too large",
            where=where,
            expected=f"at most {MAX_CARD_BYTES} bytes",
            found=len(text),
        )
    try:
        words = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        document = json.loads(words, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError as error:
        raise DocumentError(
            "card is not UTF-8", where=where, found=f"byte {error.start}"
        ) from error
    except RecursionError as error:
        raise DocumentError("card is nested too deeply", where=where) from error
    except ValueError as error:
        raise DocumentError(f"card is not JSON ({error})", where=where) from error
    if not isinstance(document, dict):
        raise DocumentError("card is not a JSON object", where=where, found=type(document).__name__)
    return document


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is no number that JSON can hold")
    return value
