"""What is in a data set, and what is wrong with it.

    found = check(read_data(paths), encoder, sets)
    found.faults, found.num_tokens, found.duplicates

A call is held to its function's schema, a quote to its document, a reply to having a question;
every fault is told with file and line.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from understudy.data.encode import ConversationEncoder
from understudy.data.forms import calls as as_conversation
from understudy.data.overlap import EvaluationSets
from understudy.data.records import Message, Record
from understudy.errors import UnderstudyError
from understudy.generation.tools import Tool

ROLES = ("system", "user", "assistant", "tool")
LENGTHS = (256, 512, 1024, 2048, 4096)
_BLANK = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class RecordFault:
    """What is wrong with a record; `kind` groups the faults."""

    where: str
    id: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.id}: {self.what}"


@dataclass
class DataFindings:
    """Counts over all records. `lengths` counts records with at most so many tokens; `truncated`
    those longer than the context.
    """

    num_records: int = 0
    num_tokens: int = 0
    num_learnt: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    truncated: int = 0
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    overlaps: Counter[str] = field(default_factory=Counter)
    faults: list[RecordFault] = field(default_factory=list)


def check(
    records: Iterable[Record],
    encoder: ConversationEncoder | None = None,
    sets: EvaluationSets | None = None,
    *,
    context: int = 2048,
) -> DataFindings:
    """Reads all records once.

    Args:
        encoder: counts tokens; None: they are not counted.
        context: tokens of a conversation behind which it would be cut.
    """
    found = DataFindings()
    seen: dict[str, str] = {}
    for record in records:
        found.num_records += 1
        found.kinds[record.kind] += 1
        found.licences[record.licence or "not stated"] += 1
        found.sources[record.source.partition("@")[0] or "not stated"] += 1
        found.faults += faults_of(record)
        first = seen.setdefault(fingerprint(record), record.where)
        if first != record.where:
            found.duplicates.append((record.where, first))
        if sets is not None and (name := sets.overlaps(texts_of(record))):
            found.overlaps[name] += 1
        if encoder is not None:
            _count(record, encoder, found, context)
    return found


def _count(record: Record, encoder: ConversationEncoder, found: DataFindings, context: int) -> None:
    if not any(message["role"] == "assistant" for message in record.messages):
        return
    try:
        encoded = encoder.encode(as_conversation(record))
    except UnderstudyError as error:
        found.faults.append(RecordFault(record.where, record.id, "template", str(error)))
        return
    size = len(encoded.ids) + sum(len(str(c.get("text", ""))) // 4 for c in record.contexts)
    found.num_tokens += size
    found.num_learnt += sum(weight > 0 for weight in encoded.weights)
    found.truncated += size > context
    found.lengths[next((most for most in LENGTHS if size <= most), 1 << 30)] += 1


def faults_of(record: Record) -> list[RecordFault]:
    """All that is wrong with one record."""
    return [
        RecordFault(record.where, record.id, kind, what)
        for kind, what in (*_order_faults(record), *_call_faults(record), *_quote_faults(record))
    ]


def _order_faults(record: Record) -> Iterator[tuple[str, str]]:
    roles = [str(message.get("role")) for message in record.messages]
    if unknown := sorted(set(roles) - set(ROLES)):
        yield "roles", f"unknown role {', '.join(unknown)}"
    replies = [m for m in (record.chosen, record.rejected) if m is not None]
    if record.kind == "preference" and len(replies) != 2:
        yield "preference", "a preference has a chosen and a rejected reply"
    if record.kind != "preference" and "assistant" not in roles:
        yield "roles", "nobody answers: no assistant message"
    for before, message in zip(roles, record.messages[1:], strict=False):
        if message.get("role") == "assistant" and before == "assistant":
            yield "roles", "two assistant messages in a row"
    for message in record.messages:
        is_empty = not str(message.get("content") or "").strip() and not message.get("tool_calls")
        if message.get("role") in ("assistant", "user") and is_empty:
            yield "empty", f"an empty {message['role']} message"


def _call_faults(record: Record) -> Iterator[tuple[str, str]]:
    tools: dict[str, Tool] = {}
    for given in record.tools:
        try:
            tool = Tool.from_openai({"type": "function", "function": given})
        except UnderstudyError as error:
            yield "tool", str(error)
            continue
        if tool.name in tools:
            yield "tool", f"two functions are called {tool.name}"
        tools[tool.name] = tool
    replies = [m for m in (record.chosen,) if m is not None]
    for message in (*record.messages, *replies):
        for call in message.get("tool_calls") or ():
            if call["name"] not in tools:
                yield "call", f"calls {call['name']}, which is not offered"
            elif fault := tools[call["name"]].fault(call["arguments"]):
                yield "call", f"{call['name']}: {fault}"
    yield from _result_faults(record)


def _result_faults(record: Record) -> Iterator[tuple[str, str]]:
    """One result for each call, before the assistant goes on."""
    owed = 0
    for i, message in enumerate(record.messages):
        role = message.get("role")
        if role == "tool":
            owed -= 1
            if owed < 0:
                yield "result", "a result that no call asked for"
                owed = 0
        elif owed > 0 and role == "assistant":
            yield "result", f"{owed} calls without a result"
            owed = 0
        if role == "assistant":
            is_last = i == len(record.messages) - 1
            owed = 0 if is_last else len(message.get("tool_calls") or ())


def _quote_faults(record: Record) -> Iterator[tuple[str, str]]:
    for message in record.messages:
        for quote in message.get("quotes") or ():
            number, text = quote.get("context"), str(quote.get("text", ""))
            if not isinstance(number, int) or not 0 <= number < len(record.contexts):
                yield "quote", f"quotes document {number}, of {len(record.contexts)}"
            elif _plain(text) not in _plain(str(record.contexts[number].get("text", ""))):
                yield "quote", f"quote does not stand in document {number}: {text[:60]!r}"


def _plain(text: str) -> str:
    return _BLANK.sub(" ", text).strip()


def texts_of(record: Record) -> Iterator[str]:
    """What may overlap with an evaluation set: what users and characters say, and documents."""
    for message in record.messages:
        if message.get("role") == "user" or record.kind in ("character", "chat"):
            yield str(message.get("content") or "")
    for context in record.contexts:
        yield str(context.get("text", ""))


def fingerprint(record: Record) -> str:
    """The same for records that say the same, whatever case and blanks."""

    def told(message: Message) -> str:
        calls = [
            f"{c['name']}{sorted(c['arguments'].items(), key=str)}"
            for c in message.get("tool_calls") or ()
        ]
        return f"{message.get('role')}:{_plain(str(message.get('content') or '')).lower()}{calls}"

    parts = [told(message) for message in record.messages]
    parts += [told(m) for m in (record.chosen, record.rejected) if m is not None]
    parts += [str(tool.get("name")) for tool in record.tools]
    parts += [_plain(str(c.get("text", "")))[:200] for c in record.contexts]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
