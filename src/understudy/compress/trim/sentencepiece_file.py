"""SentencePiece's own file, as far as a smaller vocabulary changes it: pieces, ids, their number.

Fields are those of sentencepiece_model.proto. A later field of the same number wins, so what
changes is appended to the trainer's part and everything else stays as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text.spm import proto_fields

_PIECES, _TRAINER, _NORMALIZER, _SELF_TEST = 1, 2, 3, 4
_MODEL_TYPE, _VOCAB_SIZE, _BYTE_FALLBACK = 3, 4, 35
_IDS = {40: "unk_id", 41: "bos_id", 42: "eos_id", 43: "pad_id"}
_DEFAULTS = {40: 0, 41: 1, 42: 2, 43: -1}
_BPE, _ABSENT = 2, -1


def renumbered(payload: bytes, numbers: Mapping[int, int]) -> bytes:
    """The model with the kept pieces alone; its own test sentences go, they name old pieces."""
    written = bytearray()
    place = 0
    for number, value in proto_fields(payload):
        if number == _SELF_TEST:
            continue
        if number == _PIECES:
            place += 1
            if place - 1 not in numbers:
                continue
        if number == _TRAINER and isinstance(value, bytes):
            value += _ids(dict(proto_fields(value)), numbers)
        written += field(number, value)
    return bytes(written)


def _ids(trainer: Mapping[int, int | bytes], numbers: Mapping[int, int]) -> bytes:
    written = field(_VOCAB_SIZE, len(numbers))
    for number, default in _DEFAULTS.items():
        old = trainer.get(number, default)
        new = numbers.get(old, _ABSENT) if isinstance(old, int) else _ABSENT
        written += field(number, new)
    return written


def sentencepiece_file(source: TokenizerSource) -> bytes:
    """A tokenizer.model of a GGUF's SentencePiece vocabulary (kind "gguf", model "llama")."""
    pieces = zip(source.tokens, source.scores, source.types, strict=True)
    written = b"".join(field(_PIECES, _piece(*entry)) for entry in pieces)
    trainer: list[tuple[int, int | bytes]] = [
        (_MODEL_TYPE, _BPE),
        (_VOCAB_SIZE, len(source.tokens)),
        (_BYTE_FALLBACK, 1),
    ]
    eos = source.eos_ids[0] if source.eos_ids else None
    ids = {"unk_id": source.unk_id, "bos_id": source.bos_id, "eos_id": eos, "pad_id": source.pad_id}
    for number, name in _IDS.items():
        found = ids[name]
        trainer.append((number, _ABSENT if found is None else found))
    # 1 name, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces
    blanks = int(source.add_space_prefix)
    normalizer: list[tuple[int, int | bytes]] = [(1, b"identity"), (3, blanks), (4, 0), (5, 1)]
    return written + field(_TRAINER, _message(trainer)) + field(_NORMALIZER, _message(normalizer))


def _piece(text: str, score: float, kind: int) -> bytes:
    """1 the text, 2 the score as a float, 3 the type."""
    number = varint(2 << 3 | 5) + struct.pack("<f", score)
    return field(1, text.encode()) + number + field(3, kind)


def _message(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    return b"".join(field(number, value) for number, value in fields)


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protobuf message: a varint (two's complement where negative) or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
