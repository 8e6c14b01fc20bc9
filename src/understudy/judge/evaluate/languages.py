"""Which language a text is in, told by its script and, among languages of one script, by letters
and common words."""

from __future__ import annotations

import re
import unicodedata

_SCRIPTS = {
    "kn": "KANNADA",
    "pa": "GURMUKHI",
    "gu": "GUJARATI",
    "te": "TELUGU",
    "ta": "TAMIL",
    "th": "THAI",
    "bn": "BENGALI",
    "ko": "HANGUL",
    "hi": "DEVANAGARI",
    "mr": "DEVANAGARI",
    "ne": "DEVANAGARI",
    "ar": "ARABIC",
    "fa": "ARABIC",
    "ur": "ARABIC",
    "ru": "CYRILLIC",
    "bg": "CYRILLIC",
    "ja": "HIRAGANA",
    "zh": "CJK",
    "el": "GREEK",
    "he": "HEBREW",
}
_WORDS = {
    "en": "the a an and of to in is are was that it for on with as this be you your i my we not "
    "have can will at by or",
    "de": "der die das und ist nicht ein eine zu mit auf den dem für ich sie es von im wir auch "
    "sich als sind",
    "fr": "le la les et est un une des pour dans que je vous il nous du au pas sur avec qui sont",
    "es": "el la los y es un una de que en por para con no se las su al como más del son",
    "pt": "o a os e é um uma de que em por para com não se as do da no na mais são você",
    "it": "il la e è un una di che in per con non si le del della i gli sono più come nel",
    "fi": "ja on ei se hän että olen ovat mutta myös kun niin tai sekä oli voi tämä hyvin minä",
    "sw": "na ya wa kwa ni katika la za cha hii kuwa au yake hiyo mimi wewe pia sana watu kama",
    "vi": "và là của có không một cho được trong với các những người tôi bạn này đã để",
    "hi": "है और के की का में से को यह हैं नहीं पर भी एक मैं",
    "mr": "आहे आणि च्या मध्ये हे आहेत नाही एक मी ते आपण त्या हा ही",
    "ne": "छ र को मा छन् हो यो पनि एक म हुन्छ गर्न लागि भएको",
    "ru": "и в не на что это с как он по для мы вы я к но из они все",
    "bg": "и в не на че това с за се да са е от ще как като по ли със",
    "ar": "في من على أن هذا التي إلى هو هي مع كان لا ما عن",
    "fa": "و در به از که این است را با برای یک آن می ها",
    "ur": "ہے اور کے میں کی سے کو کا یہ ہیں نہیں پر ایک بھی",
}
_COMMON = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def is_language(text: str, language: str) -> bool:
    """Whether most letters are in the language's script and no rival of that script has more common
    words.

    A text without letters counts as any language, as does one in a language that has no entry but
    the right script.
    """
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return True
    script = _SCRIPTS.get(language, "LATIN")
    if 2 * sum(_is_of(character, script) for character in letters) < len(letters):
        return False
    words = re.findall(r"[^\W\d_]+[\w\u0900-\u097f]*", text.lower())
    rivals = {
        name: sum(word in _COMMON[name] for word in words)
        for name in _COMMON
        if _SCRIPTS.get(name, "LATIN") == script
    }
    return language not in rivals or rivals[language] == max(rivals.values())


def _is_of(character: str, script: str) -> bool:
    name = unicodedata.name(character, "")
    return name.startswith(("HIRAGANA", "KATAKANA", "CJK") if script == "HIRAGANA" else script)
