"""The 25 kinds of instructions of IFEval as checks of a text.

Where the reference asks NLTK and langdetect, words and sentences are cut by rules here, and
languages told by script and common words (`languages.py`); on odd texts the two can differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from understudy.judge.evaluate.languages import is_language


def _compare(count: int, relation: str, wanted: int) -> bool:
    if relation not in ("at least", "less than"):
        raise ValueError(f"no such relation: {relation}")
    return count >= wanted if relation == "at least" else count < wanted


def _has_all(text: str, keywords: Sequence[str]) -> bool:
    return all(re.search(re.escape(word), text, re.IGNORECASE) for word in keywords)


def _frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency)


def _has_none(text: str, forbidden_words: Sequence[str]) -> bool:
    return not any(
        re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words
    )


def _letters(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compare(text.lower().count(letter.lower()), let_relation, let_frequency)


def _words(text: str, num_words: int, relation: str) -> bool:
    return _compare(len(re.findall(r"\w+", text)), relation, num_words)


_SHORT = re.compile(r"\b(?:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|etc|[a-z])\.$", re.IGNORECASE)


def count_sentences(text: str) -> int:
    """Sentences end with . ! ? (or the marks of other scripts) before a blank; not after a title or
    an initial."""
    count = 0
    for match in re.finditer(r"[.!?…]+[\"')\]”’]*(?=\s|$)|[。！？।]", text):
        is_short = (
            match.group() == "."
            and _SHORT.search(text[: match.end()])
            and match.end() < len(text.rstrip())
        )
        count += not is_short
    rest = re.split(r"[.!?…。！？।][\"')\]”’]*", text.rstrip())[-1]
    return count + bool(re.search(r"\w", rest))


def _sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _compare(count_sentences(text), relation, num_sentences)


def _parts(text: str, mark: str) -> list[str] | None:
    """What stands between marks; blank ends do not count, a blank part within makes the text
    wrong."""
    parts = re.split(mark, text)
    inner = [part for i, part in enumerate(parts) if part.strip() or 0 < i < len(parts) - 1]
    return inner if all(part.strip() for part in inner) else None


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = _parts(text, r"\s?\*\*\*\s?")
    return parts is not None and len(parts) == num_paragraphs


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts = text.split("\n\n")
    if (
        sum(bool(part.strip()) for part in parts) != num_paragraphs
        or not 1 <= nth_paragraph <= num_paragraphs
    ):
        return False
    words = parts[nth_paragraph - 1].split()
    word = re.match(r"[^.,?!'\"]*", words[0].lstrip("'").lstrip('"')) if words else None
    return word is not None and word.group().lower() == first_word.lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[.*?\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return (
        re.search(known.get(postscript_marker, re.escape(postscript_marker.lower())), text.lower())
        is not None
    )


def _bullets(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == num_bullets


def _constrained(text: str) -> bool:
    return any(f"My answer is {answer}." in text for answer in ("yes", "no", "maybe"))


def _highlights(text: str, num_highlights: int) -> bool:
    single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n*]*\*\*", text) if part[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.split(rf"\s?{re.escape(section_spliter)}\s?\d+\s?", text)) - 1 >= num_sections


def _json(text: str) -> bool:
    inner = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(inner)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    return any(title.strip("<> \t") for title in re.findall(r"<<[^\n]+>>", text))


def _two_responses(text: str) -> bool:
    parts = _parts(text, r"\*{6}")
    return parts is not None and len(parts) == 2 and parts[0].strip() != parts[1].strip()


def _repeat(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    words = re.findall(r"\w+(?:[-'’]\w+)*", text)
    return _compare(sum(word.isupper() for word in words), capital_relation, capital_frequency)


def _quotation(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


VERIFIERS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _has_all,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _has_none,
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda text, language: is_language(text, language),
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda text: text.isupper() and is_language(text, "en"),
    "change_case:english_lowercase": lambda text: text.islower() and is_language(text, "en"),
    "punctuation:no_comma": lambda text: "," not in text,
    "startend:quotation": _quotation,
}
