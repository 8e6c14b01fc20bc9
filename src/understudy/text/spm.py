"""SentencePiece: the vocabulary of a tokenizer.model or of a GGUF file, and BPE over it, segmented
as the original does (Unigram: `unigram`).

Algorithm (sentencepiece `bpe_model.cc`): start from characters; among neighbours whose
concatenation is a piece, join the pair with the highest score, the leftmost of equals; until none
is left. What is still unknown becomes its bytes.
"""

from __future__ import annotations

import functools
import heapq
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from understudy.errors import FormatError, UnsupportedError
from understudy.text.charsmap import CharacterMap
from understudy.text.fast import spm_bytes
from understudy.text.tokenizer import Marker, Segmenter

_Message = Mapping[int, int | bytes]
SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class SpmModel:
    """The parts of a SentencePiece model that segmentation needs.

    With `treats_space_as_suffix` a word holds the blank behind it (`the▁`) and the dummy blank
    stands at the end of the text. Without `doubles_blank` a text that begins with a blank gets no
    dummy, which is transformers' way, not SentencePiece's.
    """

    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = False
    treats_space_as_suffix: bool = False
    doubles_blank: bool = True
    unk_id: int | None = None
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    is_unigram: bool = False
    character_map: bytes = b""  # `CharacterMap` of it rewrites texts before they are segmented
    extra: dict[str, object] = field(default_factory=dict)


class SpmSegmenter(Segmenter):
    """Byte-fallback BPE over a SentencePiece vocabulary."""

    def __init__(self, model: SpmModel) -> None:
        if not len(model.pieces) == len(model.scores) == len(model.types):
            raise FormatError(
                "pieces, scores and types differ in number",
                found=[len(model.pieces), len(model.scores)],
            )
        self._model = model
        self.vocab_size = len(model.pieces)
        self.strips_first_space = model.add_dummy_prefix or model.remove_extra_whitespaces
        usable = (NORMAL, UNUSED)
        self._ids = {
            p: i
            for i, (p, t) in enumerate(zip(model.pieces, model.types, strict=True))
            if t in usable
        }
        self._bytes: list[int | None] = [None] * 256
        for i, (piece, kind) in enumerate(zip(model.pieces, model.types, strict=True)):
            if kind == BYTE and re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", piece):
                self._bytes[int(piece[3:5], 16)] = i
        self._word_start = _word_start(self._ids)
        self._map = CharacterMap(model.character_map) if model.character_map else None
        self._known: dict[str, list[int]] = {}

    def encode(self, text: str, is_start: bool) -> list[int]:
        return self.encode_stretch([text], is_start=is_start, is_end=True)

    def encode_stretch(
        self, pieces: Sequence[str | Marker], *, is_start: bool, is_end: bool
    ) -> list[int]:
        model = self._model
        if self._map is not None:
            pieces = [p if isinstance(p, Marker) else self._map.replace(p) for p in pieces]
        if model.remove_extra_whitespaces:
            is_empty = not any(p if isinstance(p, Marker) else p.strip(" ") for p in pieces)
            pieces = _without_extra_blanks(pieces)
        else:
            is_empty = not any(pieces)
        escaped = [p if isinstance(p, Marker) else p.replace(" ", SPACE) for p in pieces]
        if model.add_dummy_prefix and model.treats_space_as_suffix:
            escaped = [*escaped, SPACE] if is_end and not is_empty else escaped
        elif model.add_dummy_prefix and is_start and self._takes_blank(escaped):
            escaped = [SPACE, *escaped]
        ids: list[int] = []
        text = ""
        for piece in (*escaped, None):
            if isinstance(piece, str):
                text += piece
                continue
            ids += self._ids_of_text(text)
            text = ""
            if piece is not None:
                ids.append(piece.token)
        return ids

    def _takes_blank(self, escaped: Sequence[str | Marker]) -> bool:
        first = next((piece for piece in escaped if piece), None)
        is_blank = isinstance(first, str) and first.startswith(SPACE)
        return first is not None and (self._model.doubles_blank or not is_blank)

    def _ids_of_text(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in self._word_start.split(text) if self._word_start is not None else [text]:
            ids += self._ids_of_word(word)
        unknown = self._model.unk_id
        if unknown in ids:  # the library gives one for a run of unknown characters
            ids = [
                token
                for i, token in enumerate(ids)
                if token != unknown or i == 0 or ids[i - 1] != unknown
            ]
        return ids

    def _ids_of_word(self, word: str) -> list[int]:
        if len(word) > 64:
            return self._segment(word)
        if word not in self._known:
            if len(self._known) > 65536:
                self._known.clear()
            self._known[word] = self._segment(word)
        return self._known[word]

    def _segment(self, word: str) -> list[int]:
        """Joins neighbours by falling score. Linked list and heap: n log n for a word of n
        characters.
        """
        pieces: list[str] = list(word)
        before, after = list(range(-1, len(pieces) - 1)), [*range(1, len(pieces)), -1]
        heap: list[tuple[float, int, int, str]] = []
        halves: dict[
            str, tuple[str, str]
        ] = {}  # of unused pieces, which serve as steps and fall apart again

        def propose(left: int, right: int) -> None:
            if left >= 0 and right >= 0:
                joined = pieces[left] + pieces[right]
                token = self._ids.get(joined)
                if token is not None:
                    heapq.heappush(heap, (-self._model.scores[token], left, right, joined))
                    if self._model.types[token] == UNUSED:
                        halves[joined] = pieces[left], pieces[right]

        for i in range(len(pieces) - 1):
            propose(i, i + 1)
        while heap:
            _, left, right, joined = heapq.heappop(heap)
            if (
                after[left] != right
                or pieces[left] + pieces[right] != joined
                or not pieces[left]
                or not pieces[right]
            ):
                continue  # one of the two has been joined with somebody else since
            pieces[left], pieces[right] = joined, ""
            after[left] = after[right]
            if after[left] >= 0:
                before[after[left]] = left
            propose(before[left], left)
            propose(left, after[left])
        return [token for piece in pieces if piece for token in self._tokens(piece, halves)]

    def _tokens(self, piece: str, halves: Mapping[str, tuple[str, str]]) -> list[int]:
        token = self._ids.get(piece)
        if token is not None and self._model.types[token] == UNUSED and piece in halves:
            return [token for half in halves[piece] for token in self._tokens(half, halves)]
        if token is not None:
            return [token]
        spelled = [self._bytes[byte] for byte in piece.encode()]
        known = [token for token in spelled if token is not None]
        if len(known) == len(spelled):
            return known
        return [self._model.unk_id] if self._model.unk_id is not None else []

    def piece(self, token: int) -> str:
        return self._model.pieces[token]

    def bytes_of(self, token: int) -> bytes:
        kind = self._model.types[token]
        if kind == UNKNOWN:
            return " ⁇ ".encode()
        return (
            spm_bytes(self._model.pieces[token])
            if kind == BYTE
            else self._model.pieces[token].replace(SPACE, " ").encode()
        )


def _word_start(pieces: Iterable[str]) -> re.Pattern[str] | None:
    """Where a text can be cut into words that are segmented one by one, and remembered: where no
    piece reaches over.
    """
    if not any(SPACE in piece.lstrip(SPACE) for piece in pieces):
        return re.compile(f"(?<=[^{SPACE}])(?={SPACE})")
    if not any(SPACE in piece.rstrip(SPACE) for piece in pieces):
        return re.compile(f"(?<={SPACE})(?=[^{SPACE}])")
    return None


def _without_extra_blanks(pieces: Sequence[str | Marker]) -> list[str | Marker]:
    """Runs of blanks as one, those at both ends gone; behind the text a written U+2581 too, as the
    library does.
    """
    kept: list[str | Marker] = []
    is_after_blank = True
    for piece in pieces:
        if not isinstance(piece, Marker):
            piece = re.sub(" +", " ", piece)
            piece = piece.removeprefix(" ") if is_after_blank else piece
        if piece:
            kept.append(piece)
            is_after_blank = isinstance(piece, str) and piece.endswith(" ")
    while kept and isinstance(last := kept[-1], str):
        kept[-1] = last.rstrip(f" {SPACE}")
        if kept[-1]:
            break
        kept.pop()
    return kept


def spm_markers(
    model: SpmModel, *, are_inside: bool = False, blanks_are_inside: bool = True
) -> list[Marker]:
    """Control and user-defined pieces, as they stand in text.

    Args:
        model: the vocabulary.
        are_inside: user-defined pieces do not cut the text.
        blanks_are_inside: nor do those that are matched in any text.
    """
    markers = [
        Marker(token, piece.replace(SPACE, " "), kind == CONTROL)
        for token, (piece, kind) in enumerate(zip(model.pieces, model.types, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    return [
        replace(
            marker,
            is_inside=not marker.is_special
            and (are_inside or (blanks_are_inside and marker.is_text)),
        )
        for marker in markers
    ]


# ---- the file ----


@functools.lru_cache(maxsize=2)  # opening a checkpoint looks names up before it encodes
def read_spm(payload: bytes) -> SpmModel:
    """Reads a serialised sentencepiece ModelProto (fields of sentencepiece_model.proto).

    Raises:
        FormatError: not such a message.
        UnsupportedError: whole words or characters instead of pieces.
    """
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: _Message = {}
    normalizer: _Message = {}
    for number, value in proto_fields(payload):
        if number == 1 and isinstance(value, bytes):
            entry = dict(proto_fields(value))
            raw, score = entry.get(1, b""), entry.get(2, b"\0\0\0\0")
            pieces.append(_text(raw))
            scores.append(
                struct.unpack("<f", score)[0]
                if isinstance(score, bytes) and len(score) == 4
                else 0.0
            )
            kind = entry.get(3, NORMAL)
            types.append(kind if isinstance(kind, int) else NORMAL)
        elif number == 2 and isinstance(value, bytes):
            trainer = dict(proto_fields(value))
        elif number == 3 and isinstance(value, bytes):
            normalizer = dict(proto_fields(value))
    _check_kind(pieces, trainer, normalizer)
    return SpmModel(
        pieces,
        scores,
        types,
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        treats_space_as_suffix=bool(trainer.get(24, 0)),
        unk_id=_special(trainer.get(40, 0), len(pieces)),
        bos_id=_special(trainer.get(41, 1), len(pieces)),
        eos_id=_special(trainer.get(42, 2), len(pieces)),
        pad_id=_special(trainer.get(43, -1), len(pieces)),
        is_unigram=trainer.get(3, 1) == 1,
        character_map=character_map
        if isinstance(character_map := normalizer.get(2), bytes)
        else b"",
    )


def _check_kind(pieces: Sequence[str], trainer: _Message, normalizer: _Message) -> None:
    """What of a model is not implemented."""
    if not pieces:
        raise FormatError("sentencepiece model holds no pieces")
    kinds = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
    if (kind := trainer.get(3, 1)) not in (1, 2):
        raise UnsupportedError(
            "kind of sentencepiece model is not implemented",
            where="trainer_spec.model_type",
            expected="unigram or bpe",
            found=kinds.get(kind, kind) if isinstance(kind, int) else kind,
        )
    if not normalizer.get(5, 1):
        raise UnsupportedError(
            "sentencepiece model keeps blanks as they are",
            where="normalizer_spec.escape_whitespaces",
            expected=True,
            found=False,
        )


def _text(value: int | bytes) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else ""
    except UnicodeDecodeError as error:
        raise FormatError("sentencepiece model holds text that is not UTF-8") from error


def _special(value: int | bytes, count: int) -> int | None:
    return value if isinstance(value, int) and 0 <= value < count else None


def proto_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, varint or bytes) of a protobuf message; fixed-width fields come as their
    bytes.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise FormatError(
                "sentencepiece model is damaged", found=f"wire type {kind} at byte {at}"
            )
        if size > len(data) - at:
            raise FormatError(
                "sentencepiece model ends too early",
                expected=f"{size} bytes at {at}",
                found=len(data) - at,
            )
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise FormatError(
                "sentencepiece model is damaged", found=f"no end of a number at byte {at}"
            )
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
