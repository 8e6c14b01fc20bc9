"""How a vocabulary is cut."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VocabularySettings:
    """How the vocabulary is cut.

    Attributes:
        size: how many pieces stay.
        texts: files like the training data (text, JSON Lines of texts or chats, `.gz`).
        tools: files taken as they stand: tool lists, schemas, cards.
        scripts: names as Unicode has them (LATIN, CYRILLIC, HAN); empty: those of the texts.
    """

    size: int
    texts: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
