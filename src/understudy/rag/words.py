"""Words as the word search knows them: the same for a text that goes into an index and for a
question.

Compatibility forms, cases and accents are folded and what nobody sees is taken out, so that each
word finds itself as people type it: `ﬁle`, `Straße`, `２０２６`, `H₂O`. Scripts without blanks between
words are cut into single characters and pairs of them (as in Lucene's CJKBigramFilter); a question
asks for the pairs. SQLite then only splits at blanks and takes Porter's stems.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterator

import regex

MAX_WORDS = 64
MAX_STEMS = 1 << 16  # that are kept at hand
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\p{Co}]+")
_UNSEEN = regex.compile(r"[\u00ad\u0640\u200b-\u200d\u2060\ufeff]+")  # with Arabic's tatweel
_ACCENTS = regex.compile(r"(?<=[\p{Latin}\p{Greek}])[\u0300-\u036f]+")
# Vowel signs of scripts that are mostly written without them. What makes another letter stays.
_VOWELS = regex.compile(
    r"(?<=[\p{Hebrew}\p{Arabic}\p{Syriac}])"
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0656-\u065f\u0670"
    r"\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u0730-\u074a]+"
)
# Latin letters that are no letter with an accent to Unicode, as they are typed without one.
_LATIN = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ð": "d"}
    | {"æ": "ae", "œ": "oe", "þ": "th"}
)
# The mark of a note or a power behind a word: the word is found without it too.
_MARKED = regex.compile(r"(\p{L}{2,})[\u00b2\u00b3\u00b9\u2070-\u2079]+")
# Runs of one script that is written without blanks, or with blanks between more than words.
_RUN = regex.compile(
    r"([\p{Han}々〆]+|[\p{Katakana}ー]+|\p{Hiragana}+|\p{Hangul}+|"
    r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]+)"
)
_CLUSTER = regex.compile(r"\P{M}\p{M}*|\p{M}+")
_HIRAGANA = regex.compile(r"\p{Hiragana}+")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
# What asks, and not what is asked for: the stopwords of scripts whose words are not parted by
# blanks.
_ASKING = {
    "chinese": regex.compile(
        "什么时候|什麼時候|为什么|為什麼|什么|什麼|甚麼|哪里|哪裡|哪儿|多少|怎么|怎麼|怎样|如何|请问|請問|[是了吗嗎呢的谁誰哪几幾吧]"
    ),
    "japanese": regex.compile("何時|何処|何故|何人|何年|何[^\\p{Han}]?|誰|幾つ"),
    "korean": regex.compile(
        r"(?<!\p{Hangul})(?:언제|어디서?|누가|누구|무엇을?|무슨|어떤|어떻게|왜|얼마|몇)(?!\p{Hangul})"
        r"|(?<=\p{Hangul})(?:였습니까|었습니까|습니까|입니까|인가요|나요|까요|니까|에서|으로|은|는|이|가|을|를|에|의|로|와|과|"
        r"도)(?!\p{Hangul})"
    ),
    "thai": regex.compile(
        "|".join(
            (
                "เมื่อไหร่",
                "เมื่อไร",
                "เมื่อใด",
                "อะไร",
                "ที่ไหน",
                "ใคร",
                "อย่างไร",
                "ยังไง",
                "ทำไม",
                "เท่าไหร่",
                "เท่าไร",
                "กี่",
                "ไหม",
                "หรือไม่",
            )
        )
    ),
}
# What asks for an amount: "How many days" is a question about days.
_AMOUNT = regex.compile(r"\bhow (?:many|much|long|often|far|old)\b")
# Words that stand in nearly every passage: they cost time and decide nothing.
STOPWORDS = frozenset(
    (  # noqa: SIM905 - as a list of literals it reads worse
        "a about after all also an and any are as at be because been before being between both but "
        "by can could did do does doing during each for from further had has have having he her "
        "here hers him his how i if in into is it its itself just me more most my no nor not of on "
        "once only or other our out over own same she should so some such than that the their them "
        "then there these they this those through to too under until up very was we were what when "
        "where which while who whom whose why will with would you your s t "
    ).split()
)


def folded(text: str) -> str:
    """The text in one case and one form, without accents on Latin and Greek letters
    and without vowel signs."""
    text = _UNSEEN.sub("", text)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _MARKED.sub(r"\g<0> \g<1>", text)).casefold()
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    text = _VOWELS.sub("", text).translate(_LATIN)
    return unicodedata.normalize("NFKC", text)


def search_words(text: str) -> str:
    """What the index keeps of a text: its words between blanks, with all characters and pairs of
    scripts without blanks.
    """
    text = folded(text)
    if text.isascii():
        return " ".join(_WORD.findall(text))
    return " ".join(piece for word in _WORD.findall(text) for piece in _pieces(word, is_whole=True))


def query_words(question: str, *, most: int | None = MAX_WORDS) -> list[str]:
    """Distinct words in order, stopwords left out unless there is nothing else."""
    text = folded(question)
    words = list(dict.fromkeys(_asked(text)))
    telling = [
        word for word in dict.fromkeys(_asked(_what_is_asked(text))) if word not in STOPWORDS
    ]
    if any(
        not _HIRAGANA.fullmatch(word) for word in telling
    ):  # alone, they only join and bend words
        telling = [word for word in telling if not _HIRAGANA.fullmatch(word)]
    return (telling or words)[:most]


def _asked(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield from _pieces(word, is_whole=False)


def _what_is_asked(text: str) -> str:
    text = _AMOUNT.sub(" ", text)
    if text.isascii():
        return text
    asking = _ASKING["japanese" if _KANA.search(text) else "chinese"]
    for pattern in (asking, _ASKING["korean"], _ASKING["thai"]):
        text = pattern.sub(" ", text)
    return text


def _pieces(word: str, *, is_whole: bool) -> Iterator[str]:
    """A word, or the pieces of a run without blanks: pairs of characters, and where all are wanted
    single ones too.
    """
    if word.isascii():
        yield word
        return
    for i, part in enumerate(_RUN.split(word)):
        if i % 2 == 0:
            if part:
                yield part
            continue
        clusters = _CLUSTER.findall(part)
        if is_whole or len(clusters) == 1:
            yield from clusters
        for first, second in itertools.pairwise(clusters):
            yield first + second


@functools.lru_cache(MAX_STEMS)
def stem(word: str) -> str:
    """A word without the commonest English endings; enough to hold two texts against each other."""
    for ending in ("ing", "ied", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
