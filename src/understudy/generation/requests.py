"""How many things does a message ask for? Splits it into requests, each with the tools that may
serve it.

Small models make one call whatever they were asked. So the splitting is done before them: by
sentence, by clause ("…, and then …", "also …") and by lists of values ("for Paris, Oslo and Rome").
A clause counts as a request of its own only where the gate of `relevance.py` finds that it wants a
tool by itself. The grammar then asks for just so many calls, in the order of the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.relevance import SURE, Gate, Relevance
from understudy.generation.tool_features import Described
from understudy.generation.words import content_words

MARGIN = 2.0  # logits below the best within which a tool may still be the one
# A clause out of a message that wants no tool as a whole must be surer by so much, and the message
# may miss no more: of many clauses one looks like a request by chance.
DOUBT = 1.0
MAX_REQUESTS = 8
MIN_WORDS = 3  # of a clause that may stand alone
_SENTENCE = re.compile(r"(?<=[.?!;\n])\s+(?=[^\s])")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|approx)\.$")
_CLAUSE = re.compile(
    r"\s*(?:,\s*|;\s*)?\b(?:and then|and also|and|then|also|as well as|plus|after "
    r"that|afterwards|additionally|finally)\b,?\s+"
    r"|\s*;\s+|\s*,\s+(?=(?:then|also|please|next|finally|get|find|check|show|tell|send|book|"
    r"calculate)\b)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NAME = re.compile(r"\"[^\"]+\"|'[^']+'|(?<!^)\b[A-Z][\w.\-]*(?:\s+[A-Z][\w.\-]*)*")
_BETWEEN = re.compile(r"\b(?:between|from|of both)\s+$", re.IGNORECASE)
_ODD = re.compile(  # dates, and what belongs to one place or person
    r"\bI\b|\b[A-Z]{2}\b|\b(?:Jan|Feb|Mar|Apr|May|June|July|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|"
    r"Fri|Sat|Sun)[a-z]*\b"
)
_LIST = re.compile(
    r"(?P<items>(?:{item}\s*,\s*)*{item}\s*,?\s+and\s+{item})".replace(
        "{item}",
        r"(?:\"[^\"]+\"|'[^']+'|-?\d+(?:\.\d+)?|[A-Z][\w.\-]*(?:\s+(?:[A-Z][\w.\-]*|of|de|la))*)",
    )
)
_ITEM_SEPARATOR = re.compile(r"\s*,\s*(?:and\s+|or\s+)?|\s+and\s+")


@dataclass(frozen=True, slots=True)
class SubRequest:
    """A part of a message and the indices of the tools that may serve it, the nearest first."""

    text: str
    tools: tuple[int, ...]


def split_requests(message: str, tools: Sequence[Described], gate: Gate) -> tuple[SubRequest, ...]:
    """The requests of a message in order; one that holds all of it where it asks for one thing,
    none where it asks for none.

    Args:
        message: the newest message of the user.
        tools: those that are offered.
        gate: decides which clause wants a tool by itself.
    """
    whole = gate.relevance(message, tools)
    if whole.best < SURE - DOUBT:
        return ()
    found, surest = _joined(message, tools, gate)
    if whole.best < SURE and surest < SURE + DOUBT:
        return ()
    if len(found) < 2:
        found = [SubRequest(message, _nearest(whole))]
    repeated = [again for request in found for again in _repeated(request, tools[request.tools[0]])]
    return tuple(_once_each(repeated)[:MAX_REQUESTS])


def _once_each(requests: Sequence[SubRequest]) -> list[SubRequest]:
    """Without those that ask for the same once more, in the same words."""
    known = {
        (" ".join(one.text.lower().split()).strip(" .,;!?"), one.tools[0]): one
        for one in reversed(requests)
    }
    return [one for one in requests if any(one is first for first in known.values())]


def _joined(message: str, tools: Sequence[Described], gate: Gate) -> tuple[list[SubRequest], float]:
    """Clauses that want a tool by themselves, and the best score of one; those of one tool are one
    request unless each brings all values that it needs.
    """
    found: list[SubRequest] = []
    surest = -math.inf
    for clause in _clauses(message):
        relevance = gate.relevance(clause, tools)
        nearest = _nearest(relevance)
        is_long = len(clause.split()) >= MIN_WORDS
        surest = max(surest, relevance.best) if is_long else surest
        is_own = is_long and relevance.best >= SURE
        same = [i for i, request in enumerate(found) if request.tools[0] == nearest[0]]
        if is_own and (not same or _refills(tools[nearest[0]], clause)):
            found.append(SubRequest(clause, nearest))
        elif found:
            at = same[-1] if is_own else -1
            found[at] = SubRequest(f"{found[at].text} {clause}", found[at].tools)
    return found, surest


def _nearest(relevance: Relevance) -> tuple[int, ...]:
    return tuple(sorted(relevance.nearest(MARGIN), key=lambda i: -relevance.scores[i]))


def _refills(tool: Described, clause: str) -> bool:
    """Whether a clause holds a value for every required parameter: a number, a name, or one of the
    values that it lists.
    """
    wanted = _required(tool)
    numbers, names = _num_required(tool)
    lists = [inner["enum"] for inner in wanted if isinstance(inner.get("enum"), list)]
    words = content_words(clause)
    return (
        bool(wanted)
        and len(_NUMBER.findall(clause)) >= numbers
        and len(_NAME.findall(clause)) >= names
        and all(any(content_words(str(value)) & words for value in values) for values in lists)
    )


def _required(tool: Described) -> list[Mapping[str, Any]]:
    """Schemas of the required parameters."""
    properties, required = tool.parameters.get("properties", {}), tool.parameters.get("required")
    found = [properties[name] for name in required or () if name in properties]
    return [inner for inner in found if isinstance(inner, Mapping)]


def _num_required(tool: Described) -> tuple[int, int]:
    """How many required parameters take a number, and how many a text of the user's choice."""
    free = [inner for inner in _required(tool) if "enum" not in inner]
    return (
        sum(inner.get("type") in ("integer", "number", "float") for inner in free),
        sum(inner.get("type") == "string" for inner in free),
    )


def _clauses(message: str) -> list[str]:
    """Sentences and their clauses; what stands in quotation marks is not cut."""
    clauses: list[str] = []
    for sentence in _sentences(message):
        at = 0
        for match in _CLAUSE.finditer(sentence):
            if match.start() > at and not _is_quoted(sentence, match.start()):
                clauses.append(sentence[at : match.start()])
                at = match.end()
        clauses.append(sentence[at:])
    return [clause.strip() for clause in clauses if clause.strip()]


def _sentences(message: str) -> list[str]:
    sentences: list[str] = []
    for piece in _SENTENCE.split(message):
        if sentences and _ABBREVIATION.search(sentences[-1]):
            sentences[-1] += " " + piece
        else:
            sentences.append(piece)
    return sentences


def _is_quoted(text: str, at: int) -> bool:
    return text.count('"', 0, at) % 2 == 1


def _repeated(request: SubRequest, tool: Described) -> list[SubRequest]:
    """The request once for each value of the one list that it holds, where its tool takes one such
    value at a time.
    """
    lists = [
        match["items"]
        for match in _LIST.finditer(request.text)
        if not _BETWEEN.search(request.text[: match.start()])
    ]
    if len(lists) != 1 or _takes_lists(tool):
        return [request]
    items = [item for item in _ITEM_SEPARATOR.split(lists[0]) if item]
    are_numbers = [bool(_NUMBER.fullmatch(item)) for item in items]
    numbers, names = _num_required(tool)
    room = numbers if all(are_numbers) else names
    if any(are_numbers) != all(are_numbers) or room >= len(items) or _ODD.search(lists[0]):
        return [request]
    return [SubRequest(request.text.replace(lists[0], item, 1), request.tools) for item in items]


def _takes_lists(tool: Described) -> bool:
    properties = tool.parameters.get("properties", {})
    kinds = [inner.get("type") for inner in properties.values() if isinstance(inner, Mapping)]
    return any(kind in ("array", "tuple", "dict", "object") for kind in kinds)
