"""Which pieces stay: what every text needs, what the texts hold, then more of their scripts."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from understudy.compress.trim.pieces import Pieces, steps_of
from understudy.errors import UsageError

# A marker of this kind that no text, template or setting names holds a row for nothing.
_RESERVED = re.compile(r"unused|reserved|extra_id|^\[PAD\d+\]$|^<pad_\d+>$", re.IGNORECASE)
_SHARE_OF_A_SCRIPT = 1e-3  # of the letters: less is a quotation, not a language of the texts


@dataclass(frozen=True, slots=True)
class Choice:
    """The ids that stay, in their order, and how many stay for which reason."""

    kept: tuple[int, ...]
    reasons: Mapping[str, int]
    scripts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the choice is made for.

    Attributes:
        size: how many pieces may stay.
        counts: how often each id stands in the texts.
        needed: ids that must stay whatever they count: ends, template, settings.
        scripts: names as Unicode has them (LATIN, CYRILLIC, HAN); empty: those of the texts.
    """

    size: int
    counts: Mapping[int, int]
    needed: frozenset[int]
    scripts: tuple[str, ...] = ()


def choose(pieces: Pieces, wanted: Wanted) -> Choice:
    """Pieces by reason, until `size` are kept; a piece comes with all that it is joined from.

    Raises:
        UsageError: more pieces are indispensable than may stay.
    """
    kept = _Kept(pieces, wanted.size)
    for reason, tokens in _indispensable(pieces, wanted):
        kept.add_all(tokens, reason)
    kept.check()
    frequent = sorted(wanted.counts, key=lambda token: (-wanted.counts[token], token))
    kept.add_all(frequent, "in the texts", as_far_as_room=True)
    scripts = wanted.scripts or scripts_of(pieces, wanted.counts)
    kept.add_all(_of_scripts(pieces, set(scripts)), "of the same scripts", as_far_as_room=True)
    return Choice(tuple(sorted(kept.reasons)), Counter(kept.reasons.values()), tuple(scripts))


class _Kept:
    """Ids with the reason for which each came in."""

    def __init__(self, pieces: Pieces, size: int) -> None:
        self.reasons: dict[int, str] = {}
        self._pieces, self._ids, self._size = pieces, pieces.ids, size
        self._steps: dict[int, frozenset[int]] = {}

    def add_all(self, tokens: Iterable[int], reason: str, *, as_far_as_room: bool = False) -> None:
        for token in tokens:
            if token in self.reasons:
                continue
            came = self._with_steps(token)
            new = [one for one in came if one not in self.reasons]
            if as_far_as_room and len(self.reasons) + len(new) > self._size:
                continue
            for one in new:
                self.reasons[one] = reason if one == token else "steps to other pieces"

    def check(self) -> None:
        if len(self.reasons) > self._size:
            raise UsageError(
                "more pieces are indispensable than may stay",
                expected=f"at least {len(self.reasons):,}",
                found=f"{self._size:,}",
                do="name a larger --vocabulary",
            )

    def _with_steps(self, token: int) -> set[int]:
        text = self._pieces.texts[token]
        if text is None or token in self._pieces.markers:
            return {token}
        steps = steps_of(text, self._pieces.rank)
        return {self._ids[step] for step in steps if step in self._ids} | {token}


def _indispensable(pieces: Pieces, wanted: Wanted) -> Iterator[tuple[str, list[int]]]:
    yield "single bytes", sorted(pieces.fallbacks)
    yield (
        "markers",
        [token for token in sorted(pieces.markers) if _is_needed(token, pieces, wanted)],
    )
    yield "named by the model", sorted(wanted.needed)
    yield (
        "digits and signs",
        [
            token
            for text, token in pieces.ids.items()
            if _is_plain(pieces.read(token) if text is not None else None)
        ],
    )


def _is_needed(token: int, pieces: Pieces, wanted: Wanted) -> bool:
    is_named = token in wanted.needed or token in wanted.counts
    return is_named or not _RESERVED.search(pieces.texts[token] or "")


def _is_plain(text: str | None) -> bool:
    """A number, or one printable ASCII character, alone or behind a blank."""
    if text is None:
        return False
    bare = text.removeprefix(" ")
    is_number = bool(bare) and all(character in string.digits for character in bare)
    return is_number or (len(bare) == 1 and bare in string.printable)


def scripts_of(pieces: Pieces, counts: Mapping[int, int]) -> list[str]:
    """The scripts that the counted pieces are written in, the most frequent first."""
    found: Counter[str] = Counter()
    for token, count in counts.items():
        for script in _scripts(pieces.read(token) or ""):
            found[script] += count
    total = sum(found.values())
    return [name for name, count in found.most_common() if count >= total * _SHARE_OF_A_SCRIPT]


def _of_scripts(pieces: Pieces, scripts: set[str]) -> Iterator[int]:
    """Pieces of these scripts and of none, in the order of their ids: merges that were learnt
    first, because they are frequent, come first."""
    for text, token in sorted(pieces.ids.items(), key=lambda pair: pair[1]):
        shown = pieces.read(token)
        if shown is not None and _scripts(shown) <= scripts and _is_reachable(text, pieces):
            yield token


def _is_reachable(text: str, pieces: Pieces) -> bool:
    return text in steps_of(text, pieces.rank)


def _scripts(text: str) -> set[str]:
    return {_script(character) for character in text if character.isalpha()}


def _script(character: str) -> str:
    """The first word of a letter's name: LATIN, GREEK, HIRAGANA; the ideographs are HAN."""
    name = unicodedata.name(character, "UNNAMED").split()[0]
    return "HAN" if name == "CJK" else name
