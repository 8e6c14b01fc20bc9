"""Folders with a small tokenizer.model, written field by field."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = ("▁", "h", "i", "▁h", "hi", "▁hi", "a", "b", "ab", "▁a")
SEP = 259  # the user-defined piece `<sep>`; before it <unk>, <s>, </s> and the 256 bytes
SIZE = SEP + 1 + len(WORDS)


def _varint(value: int) -> bytes:
    out = b""
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _piece(text: str, score: float, kind: int) -> bytes:
    inner = _field(1, text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", score)
    return _field(1, inner + _field(3, kind))


def model_file() -> bytes:
    """A serialised SentencePiece BPE model of `SIZE` pieces."""
    pieces = [_piece("<unk>", 0, 2), _piece("<s>", 0, 3), _piece("</s>", 0, 3)]
    pieces += [_piece(f"<0x{byte:02X}>", 0, 6) for byte in range(256)]
    pieces += [_piece("<sep>", 0, 4)]
    pieces += [_piece(word, -float(rank + 1), 1) for rank, word in enumerate(WORDS)]
    trainer = _field(2, _field(3, 2) + _field(35, 1))
    normalizer = _field(3, _field(1, b"identity") + _field(3, 1) + _field(4, 0) + _field(5, 1))
    return b"".join(pieces) + trainer + normalizer


def write_spm_folder(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, Any] | None = None,
    model_type: str = "llama",
    vocab_size: int = SIZE + 32,
) -> dict[str, Any]:
    """Writes tokenizer.model, config.json, tokenizer_config.json and `files` (name → JSON); returns
    the config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": model_type,
        "vocab_size": vocab_size,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    (folder / "tokenizer.model").write_bytes(model_file())
    (folder / "config.json").write_text(json.dumps(config))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, content in (files or {}).items():
        (folder / name).write_text(json.dumps(content))
    return config


def added_token(text: str, **flags: bool) -> dict[str, Any]:
    """An entry of `added_tokens_decoder`."""
    off = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), False)
    return {"content": text, **off, **flags}
