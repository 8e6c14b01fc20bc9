"""The words of a message or of a tool that tell something, cut down to their stems.

`content_words("getWeatherForecast")` and `content_words("weather forecasts")` share their words.
English, as the data is that the gate of `relevance.py` was fitted on; `is_foreign` says where that
is no use.
"""

from __future__ import annotations

import re

_CASE = re.compile(r"([a-z])([A-Z])")
_SEPARATORS = re.compile(r"[_\-./:]")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_ENDINGS = (  # longest first
    *("ations", "ation", "ings", "ing", "ied", "ies", "ions", "ion", "ers", "er", "ed", "es"),
    *("s", "e", "al"),
)
EMPTY_WORDS = frozenset(
    """a about after all also an and any are as at be because been before being between both but by
    can could did do does doing during each for from further had has have having he her here hers
    him his how i if in into is it its itself just me more most my no nor not of on once only or
    other our out over own same she should so some such than that the their them then there these
    they this those through to too under until up very was we were what when where which while who
    whom whose why will with would you your s t please tell need want like get give know hi hello
    hey let make using use given""".split()  # noqa: SIM905 - as a list of literals it reads worse
)
# What the names and descriptions of most tools hold, whatever they are for.
TOOL_WORDS = frozenset(
    """get set find search calculate compute create update delete list check fetch retrieve book add
    remove show make determine estimate analyze generate convert view track manage perform provide
    information data details detail value function tool user name type id query specified based
    given return returns api service using use string number parameter e g example
    """.split()  # noqa: SIM905
)
_COMMON = frozenset(  # words of English that its neighbours do not have
    """the is are what how who when where which why of to for with and my you it this that can could
    please does have would need want get find show tell give set turn make hello thanks
    """.split()  # noqa: SIM905
)


def words_of(text: str) -> list[str]:
    """Words in lower case and numbers; camelCase and snake_case are taken apart."""
    return [word.lower() for word in _WORD.findall(_SEPARATORS.sub(" ", _CASE.sub(r"\1 \2", text)))]


def telling_words(text: str) -> list[str]:
    """The words that tell something, once each, in their order; numbers are left out."""
    words = (word for word in words_of(text) if word not in EMPTY_WORDS and not word.isdigit())
    return list(dict.fromkeys(words))


def content_words(text: str) -> set[str]:
    """Stems of the words that tell something."""
    return {stem(word) for word in telling_words(text)}


def stem(word: str) -> str:
    """A word without the ending that English adds most often, of which three letters stay."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def is_foreign(message: str) -> bool:
    """Whether a message of some length holds no common English word."""
    words = [word.lower() for word in _WORD.findall(message)]
    letters = sum(character.isalpha() for character in message)
    is_latin = sum("a" <= c <= "z" for c in message.lower()) >= letters / 2
    return bool(words) and (not is_latin or (len(words) >= 4 and not _COMMON & set(words)))
