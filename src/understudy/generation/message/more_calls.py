"""Does a text that wants a tool want it once more? Asked when a call is written, so that it is
known which of the text's values are used up.

    logit = another_call("the tax on $30 in Oslo and $52 in Rome", schema, [{"amount": 30, …}])

What counts: values that no call has used and that stand in a list with one of the call's, have its
unit or follow the same word; words such as "both", "second" or "then"; how many things are named
("two triangles"). The weights are those of a logistic regression (`bench/call_plan.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.generation.message.values import (
    Value,
    are_joined,
    are_listed,
    find_values,
    leaves,
    used_by,
)

WEIGHTS = {
    "bias": -3.26,
    "listed": 0.79,
    "joined": 0.79,
    "unit": 0.79,
    "place": 2.58,
    "kind": 1.84,
    "share_any": -1.06,
    "share_any_listed": 2.01,
    "none_alike": -1.5,
    "suffices": 0.92,
    "num_required": -0.13,
    "takes_lists": -1.64,
    "cues": 1.43,
    "cues_behind": 1.5,
    "strong_cues_behind": 1.44,
    "sentence_behind": 0.15,
    "more_named": 0.02,
    "all_named": -1.53,
    "more_ordinals": 0.23,
    "all_ordinals": -1.69,
    "coordinated": 1.4,
    "unused": -0.54,
    "num_calls": 0.98,
}
_NUM_WORDS = {"two": 2, "both": 2, "couple": 2, "pair": 2, "three": 3, "four": 4, "five": 5}
_NUM_WORDS |= {"six": 6, "2": 2, "3": 3, "4": 4}
_MEASURES = """days? hours? minutes? years? months? weeks? seconds? met(?:er|re)s? km miles? people
    persons dollars degrees units grams kg stars? bedrooms? nights? adults? guests?
    decimal times feet inches percent cups? slices? pieces? servings? players? cards?
    points? kilomet(?:er|re)s? decks? steps?"""
_BEGINNINGS = """then also i can could please what how with for in that which is are to the it my
    you he she we they where when who if give tell show find get using use calculate compute
    provide return their its so but while assuming considering given at on by from would
    will has have no"""


def _one_of(words: str) -> str:
    return "|".join(words.split())


_COUNTED = re.compile(
    r"\b(two|three|four|five|six|both|2|3|4|couple|pair)\s+(?:of\s+)?(?:(?:different|separate|more|"
    r"other|these|those|the)\s+)?(?:[a-z\-]+\s+){0,2}[a-z\-]+s\b",
    re.IGNORECASE,
)
# what is no number of things that are asked for
_MEASURED = re.compile(rf"\s*(?:{_one_of(_MEASURES)})\b", re.IGNORECASE)
_ORDINALS = ("first|1st", "second|2nd|another", "third|3rd", "fourth|4th", "fifth|5th")
_CUES = (
    r"\b(?:first|second|third|another|other|both|each|every|respectively|two|three|four|same|"
    r"different)\b",
    r"\b(?:then|also|and|plus|as well|after that|finally|lastly|followed)\b",
    r"\b(?:also|then|another|same|respectively|each|both)\b",
)
_COORDINATED = re.compile(  # a word that goes on the list behind an argument
    r"(?:'s|s)?\s*(?:,\s*(?:and\s+|or\s+)?|\s(?:and|or|as well as|vs\.?|versus)\s+)"
    r"(?:(?:the|an?|of|for|in|from|to|on|another)\s+)*"
    rf"(?!(?:{_one_of(_BEGINNINGS)})\b)(?=[\w'\"])",
    re.IGNORECASE,
)
_KINDS = {"string": "text", "integer": "number", "number": "number"}
_REASONS = {"text": ("joined",), "number": ("joined", "unit", "place")}
_SENTENCE_END = re.compile(r"[.?!]\s+\S")


def another_call(text: str, schema: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> float:
    """The logit of another call of the same tool.

    Args:
        text: the part of the message that wants this tool.
        schema: of its parameters.
        calls: the arguments of the calls so far, at least of one.
    """
    found = features(text, schema, calls)
    return sum(WEIGHTS[name] * value for name, value in found.items() if name in WEIGHTS)


def features(
    text: str, schema: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """What the regression sees, each from 0 to 1."""
    values = find_values(text)
    used, last = _used(calls, values)
    free = [i for i in range(len(values)) if i not in used]
    end = max([values[i].end for _, indices in last for i in indices], default=0)
    return {
        "bias": 1.0,
        **_alternatives(text, values, last, free),
        **_schema_features(schema, values, free),
        **_cue_features(text, text[end:], len(calls)),
        "coordinated": _goes_on(text, calls),
        "unused": min(len(free), 8) / 8,
        "num_calls": min(len(calls), 5) / 5,
    }


def alternatives(
    text: str, values: Sequence[Value], index: int, free: Sequence[int]
) -> dict[str, list[int]]:
    """The unused values behind one that a call has used which may be the next call's: those of its
    list, with its unit, behind the same word, of its kind.
    """
    own = values[index]
    alike = [i for i in free if i > index and own.is_alike(values[i])]
    return {
        "listed": [i for i in alike if are_listed(text, values, index, i)],
        "joined": [i for i in alike if are_joined(text, values, index, i)],
        "unit": [i for i in alike if own.has_unit_of(values[i])],
        "place": [i for i in alike if own.stands_as(values[i])],
        "kind": alike,
    }


def unused_values(
    text: str, schema: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]
) -> dict[str, list[float | str]]:
    """What parameters may say in another call: of those whose value stood in a list, the rest of
    it; else, of numbers, those with the same unit or behind the same word.
    """
    values = find_values(text)
    used, last = _used(calls, values)
    free = [i for i in range(len(values)) if i not in used]
    of_parameter: dict[str, tuple[str, list[float | str]]] = {}
    for name, indices in last:
        kind = _KINDS.get(str((schema.get("properties") or {}).get(name, {}).get("type")))
        if kind is None or len(indices) != 1:
            continue
        found = alternatives(text, values, indices[0], free)
        why = next((w for w in _REASONS[kind] if found[w]), None)
        if why is not None:
            argument = calls[-1][name]
            said = [_said(values[i], values[indices[0]], argument) for i in found[why]]
            of_parameter[name] = why, [one for one in said if one is not None]
    best = {why for why, said in of_parameter.values() if said}
    strongest = next((why for why in ("joined", "unit", "place") if why in best), "")
    return {n: said for n, (why, said) in of_parameter.items() if why == strongest and said}


def _said(value: Value, known: Value, argument: Any) -> float | str | None:
    """A value as an argument says it that says `known` so."""
    if isinstance(argument, str):
        return value.text if argument.lower() == known.text.lower() else None
    if value.number is None or known.number is None or isinstance(argument, bool):
        return None
    is_share = known.number != argument  # 5 % as 0.05
    number = value.number / 100 if is_share else value.number
    if isinstance(argument, int):
        return int(number) if number.is_integer() else None
    return number


def _used(
    calls: Sequence[Mapping[str, Any]], values: Sequence[Value]
) -> tuple[set[int], list[tuple[str, tuple[int, ...]]]]:
    """Indices of the values that calls have used, and those of the last call by leaf."""
    used: set[int] = set()
    last: list[tuple[str, tuple[int, ...]]] = []
    for arguments in calls:
        last = used_by(arguments, values, used)
        used |= {index for _, indices in last for index in indices}
    return used, last


def _alternatives(
    text: str,
    values: Sequence[Value],
    last: Sequence[tuple[str, tuple[int, ...]]],
    free: Sequence[int],
) -> dict[str, float]:
    """For how many leaves of the last call there are unused values like theirs."""
    counts: Counter[str] = Counter()
    for _, indices in last:
        kinds: set[str] = set()
        for index in indices:
            kinds |= {k for k, found in alternatives(text, values, index, free).items() if found}
            alike = [i for i in free if values[index].is_alike(values[i])]
            kinds |= {"any"} if alike else set()
            kinds |= (
                {"any_listed"} if any(are_listed(text, values, index, i) for i in alike) else set()
            )
        counts.update(kinds)
    num = max(1, len(last))
    shares = {f"share_{kind}": counts[kind] / num for kind in ("any", "any_listed")}
    return {
        **{
            kind: min(counts[kind], 3) / 3 for kind in ("listed", "joined", "unit", "place", "kind")
        },
        **shares,
        "none_alike": float(not counts["any"]),
    }


def _schema_features(
    schema: Mapping[str, Any], values: Sequence[Value], free: Sequence[int]
) -> dict[str, float]:
    """Whether the unused values would do for another call."""
    properties = schema.get("properties") or {}
    required = [properties[n] for n in schema.get("required") or () if n in properties]
    needed = Counter(
        "number" if inner.get("type") in ("integer", "number") else "text"
        for inner in required
        if "enum" not in inner and inner.get("type") != "boolean"
    )
    held = Counter("number" if values[i].kind == "number" else "text" for i in free)
    return {
        "suffices": float(bool(needed) and all(held[k] >= needed[k] for k in needed)),
        "num_required": min(len(required), 5) / 5,
        "takes_lists": float(any(inner.get("type") in ("array", "object") for inner in required)),
    }


def _cue_features(text: str, rest: str, num_calls: int) -> dict[str, float]:
    """Words that speak of several: "both", "second", "two triangles"; `rest` is what follows the
    values of the last call.
    """
    whole, *behind = _CUES
    num_named = max(
        (_NUM_WORDS[m[1].lower()] for m in _COUNTED.finditer(text) if _counts(m)), default=0
    )
    num_ordinals = max(
        (i for i, word in enumerate(_ORDINALS, 1) if re.search(rf"\b(?:{word})\b", text, re.I)),
        default=0,
    )
    return {
        "cues": min(2, len(re.findall(whole, text, re.I))) / 2,
        "cues_behind": min(2, len(re.findall(behind[0], rest, re.I))) / 2,
        "strong_cues_behind": min(2, len(re.findall(behind[1], rest, re.I))) / 2,
        "sentence_behind": float(bool(_SENTENCE_END.search(rest))),
        "more_named": float(num_named > num_calls),
        "all_named": float(num_named == num_calls > 1),
        "more_ordinals": float(num_ordinals > num_calls),
        "all_ordinals": float(num_ordinals == num_calls > 1),
    }


def _counts(match: re.Match[str]) -> bool:
    return not _MEASURED.match(match.string, match.end(1))


def _goes_on(text: str, calls: Sequence[Mapping[str, Any]]) -> float:
    """Whether a word that no call holds goes on a list behind an argument of the last call."""
    low = text.lower()
    known = [str(leaf).lower() for arguments in calls for leaf in leaves(arguments)]
    for leaf in leaves(calls[-1]):
        said = "" if isinstance(leaf, bool) or leaf is None else str(leaf).lower()
        at = low.find(said) if said else -1
        match = _COORDINATED.match(text, at + len(said)) if at >= 0 else None
        if match and not any(one and low.startswith(one, match.end()) for one in known):
            return 1.0
    return 0.0
