"""What a character does not say again word for word: what was just said, and its card.

Small models like to hand the player's own sentence back, and to recite their description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_WORDS = 5  # shorter sentences may come again: "How are you?"
MIN_OF_CARD = 3
MOST_OF_CARD = 2  # sentences of one speech that stand in the card

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SaidBefore:
    """`exchange` are the sentences of the player's message and of the character's last one, each as
    its words; `card` are the words of the card's description.
    """

    exchange: tuple[Words, ...] = ()
    card: Words = ()

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], card: Iterable[str]) -> SaidBefore:
        """Of messages, each as its sentences, and of the texts of a card."""
        sentences = tuple(words_of(sentence) for sentences in texts for sentence in sentences)
        return cls(sentences, words_of(" ".join(card)))

    def repeats(self, sentence: Words) -> bool:
        """Whether a sentence holds one of the exchange, or stands in one."""
        return any(
            min(len(said), len(sentence)) >= MIN_WORDS
            and (_holds(said, sentence) or _holds(sentence, said))
            for said in self.exchange
        )

    def recites(self, sentences: Sequence[Words]) -> bool:
        """Whether more of these sentences stand in the card than one speech may hold."""
        told = (len(one) >= MIN_OF_CARD and _holds(self.card, one) for one in sentences)
        return sum(told) > MOST_OF_CARD


def words_of(text: str) -> Words:
    """Words in one case, without the marks around them."""
    return tuple(word.strip(".,!?…\"'”’*").casefold() for word in text.split())


def _holds(text: Words, part: Words) -> bool:
    return f" {' '.join(part)} " in f" {' '.join(text)} "
