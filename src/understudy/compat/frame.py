"""What a tokenizer puts round one text or a pair of them, and where its tokens stand in a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer as FastTokenizer

from understudy.errors import UsageError
from understudy.text import Tokenizer

Offsets = list[tuple[int, int]]
_PROBE = "a"


@dataclass(frozen=True, slots=True)
class Frame:
    """Ids in front of the first text, between two and behind the last, each with its type id."""

    front: Sequence[tuple[int, int]]
    between: Sequence[tuple[int, int]]
    back: Sequence[tuple[int, int]]


def frames_of(tokenizer: Tokenizer, fast: FastTokenizer | None) -> tuple[Frame, Frame]:
    """For a single text and for a pair: by the post-processor of a tokenizer.json, else as
    transformers makes one of `opening_ids` and `closing_ids`.
    """
    if fast is not None:
        return _probed(fast, is_pair=False), _probed(fast, is_pair=True)
    front = [(token, 0) for token in tokenizer.opening_ids]
    back = [(token, 0) for token in tokenizer.closing_ids]
    second = [(token, 1) for token in tokenizer.opening_ids]
    last = [(token, 1) for token in tokenizer.closing_ids]
    return Frame(front, (), back), Frame(front, [*back, *second], last)


def _probed(fast: FastTokenizer, *, is_pair: bool) -> Frame:
    encoding = fast.encode(_PROBE, _PROBE) if is_pair else fast.encode(_PROBE)
    parts: list[list[tuple[int, int]]] = [[], [], []]
    last = 1 if is_pair else 0
    place = 0
    for token, kind, sequence in zip(
        encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True
    ):
        if sequence is None:
            parts[place].append((token, kind))
        else:
            place = 2 if sequence == last else 1
    return Frame(*parts)


def offsets_of(
    text: str, ids: Sequence[int], tokenizer: Tokenizer, fast: FastTokenizer | None
) -> Offsets:
    """(begin, end) of each token in the characters of a text.

    Raises:
        UsageError: a text that the tokenizer rewrites before it is cut.
    """
    if fast is not None:
        encoding = fast.encode(text, add_special_tokens=False)
        if encoding.ids == list(ids):
            return list(encoding.offsets)
    return _walked(text, ids, tokenizer)


def _walked(text: str, ids: Sequence[int], tokenizer: Tokenizer) -> Offsets:
    """By the bytes of the tokens, which are together those of the text, a dummy blank excepted."""
    pieces = [tokenizer.token_bytes(token) for token in ids]
    data, whole = text.encode("utf-8", "replace"), b"".join(pieces)
    skip = int(whole == b" " + data)
    if whole[skip:] != data:
        raise UsageError(
            "the place of a token is not known in a text that is rewritten before it is cut",
            where="return_offsets_mapping",
            found=text[:40],
        )
    characters = [-1] * (len(data) + 1)  # of a byte: the character that it is part of
    at = 0
    for number, character in enumerate(text):
        for _ in character.encode("utf-8", "replace"):
            characters[at] = number
            at += 1
    characters[at] = len(text)
    found, end = [], -skip
    for piece in pieces:
        begin, end = max(end, 0), end + len(piece)
        # A dummy blank that is a token alone counts as the first character.
        last = begin if end <= begin and piece else end - 1
        found.append((characters[begin], characters[last] + 1 if piece else characters[begin]))
    return found
