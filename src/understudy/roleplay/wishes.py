"""What a player's words ask for.

Small talk holds the names of actions all day: "I can't wait", "I like to dance", "a chess opening".
A verb is asked for where it begins its sentence ("open the door") or follows a frame of asking
("could you", "let's", "I'd like to"), and in what players write between asterisks that they do.
A thing is asked for where its sentence wishes ("I want", "please", "here are"). These are rules of
English.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from understudy.generation.message.words import is_foreign, words_of

_BREAKS = re.compile(r"(?<=[.!?…;:])\s+|\n+|\s+(?=(?:but|because|although|while)\s)", re.I)
_CLAUSES = re.compile(r"[,—–]\s*|\s-\s|\s+(?=(?:and|or|then)\s)", re.I)
_PLURAL = re.compile(r"(?<=\w\w)(?:ies|ie|y|es|s|e)$")
_DEED = re.compile(r"\*([^*\n]+)\*")
_QUESTION = re.compile(
    r"\W*(?:and |so |but )?(?:what|which|who|whose|where|when|why(?! don't)|how(?! about))\b", re.I
)
_FILLERS = (  # what may stand between a frame, or the beginning, and the verb
    r"(?:\W|\b(?:please|just|now|then|so|okay|ok|well|hey|oh|come|go|on|and|or|but|alright|right"
    r"|yes|no|quickly|quietly|kindly|first|also|there|here|everybody|everyone|somebody|someone)\b)*"
)
_I = r"(?:i|we)(?: really| just| also)?"
_WHOM = r"(?: (?:you|us|him|her|them))?"
_FRAMES = (
    r"(?:can|could|would|will|won)(?:n't|'t)? you",
    r"(?:can|could|may|might|shall|should) (?:i|we)",
    r"please|let me|let us|let's|must|you have to|why don't (?:you|we)",
    r"do you (?:want|wish) to|would you like to|it(?:'s| is) time to",
    rf"(?:i|we)(?:'d| would) (?:like|love){_WHOM} to|(?:i|we)(?:'m|'re| am| are) here to",
    rf"{_I} (?:want|need|order|ask|beg|command|urge|challenge){_WHOM} to",
    rf"{_I} (?:want|need)(?: (?:your|some|a|any))?",
)
_WISHES = (
    rf"please|here (?:is|are)|how about|to sell|for you|{_I} (?:want|need)",
    r"(?:i|we)(?:'d| would)(?: really)? (?:like|love)",
    r"(?:i|we)(?:'ll| will) (?:have|take|buy|pay|give|trade|offer)",
    r"(?:i|we) (?:buy|pay|offer|order|give you)",
    r"(?:can|could|may|might) (?:i|we) (?:have|get|buy|see|take|borrow|use)",
    r"let me (?:have|see|buy|get|take|borrow)",
)
_FRAME = re.compile(rf"\b(?:{'|'.join(_FRAMES)})\b", re.I)
_AFTER_FRAME = re.compile(rf"{_FRAME.pattern}{_FILLERS}$", re.I)
_BEGINNING = re.compile(rf"{_FILLERS}$", re.I)
_WISH = re.compile(rf"\b(?:{'|'.join(_WISHES)})\b", re.I)
_TELLS_OF_OTHERS = re.compile(r"\b(?:i|we|he|she|they|it|to|like|love|enjoy)\b", re.I)
_AFTER_I = re.compile(r"\b(?:i|we) $", re.I)
_YOU = re.compile(r" you\b", re.I)
_HANDING_OVER = frozenset(
    """give hand pass bring sell buy trade take get fetch show lend borrow
    want""".split()  # noqa: SIM905
)
_ENGLISH = frozenset(  # of what `is_foreign` does not know
    "i he she they we us me my your was don at from like love too".split()  # noqa: SIM905
)
_FRAME_REACH = 80  # characters before a verb in which its frame is looked for
# Verbs that tell little without their object: "give it a try", "tell me about it".
LIGHT_VERBS = frozenset(
    """give take get make do go have tell show let put play start call use
    say""".split()  # noqa: SIM905
)


def is_english(text: str) -> bool:
    """Whether these rules are for a text; of one or two words nobody knows."""
    return not is_foreign(text) or not _ENGLISH.isdisjoint(words_of(text))


def sentences(text: str) -> list[str]:
    """The sentences of a text; what follows "but" is one of its own."""
    text = text.replace("’", "'")
    return [sentence for sentence in _BREAKS.split(text) if sentence.strip()]


def asks_to(sentence: str, verbs: Collection[str]) -> bool:
    """Whether a sentence asks somebody to do what one of some verbs, in its base form, says."""
    if any(names(deed, verbs) for deed in _DEED.findall(sentence)):
        return True
    if not verbs or _QUESTION.match(sentence):
        return False
    named = re.compile(rf"(?<![\w'-])(?:{'|'.join(map(re.escape, verbs))})(?![\w'-])", re.I)
    may_begin = True
    for clause in _CLAUSES.split(sentence):
        for found in named.finditer(clause):
            before = clause[max(0, found.start() - _FRAME_REACH) : found.start()]
            begins = may_begin and found.start() == len(before) and _BEGINNING.match(before)
            is_deed = _AFTER_I.search(before) and _YOU.match(clause, found.end())  # "I attack you!"
            if begins or is_deed or _AFTER_FRAME.search(before):
                return True
        may_begin &= not _TELLS_OF_OTHERS.search(clause) or _FRAME.search(clause) is not None
    return False


def wishes(sentence: str) -> bool:
    """Whether a sentence wishes for something, or offers it."""
    if _QUESTION.match(sentence):
        return False
    return _WISH.search(sentence) is not None or asks_to(sentence, _HANDING_OVER)


def names(sentence: str, words: Collection[str]) -> bool:
    """Whether one of some words stands in a sentence, in the singular or the plural."""
    return not {fold(word) for word in words}.isdisjoint(map(fold, words_of(sentence)))


def fold(word: str) -> str:
    """A word without the endings of the plural and of the third person."""
    return _PLURAL.sub("", word.casefold()) or word


def is_bare(sentence: str, words: Collection[str]) -> bool:
    """Whether a sentence is a call of some words and nothing else: "Guards!"."""
    return {fold(word) for word in words_of(sentence)} <= {fold(word) for word in words}
