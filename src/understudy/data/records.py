"""Training records, whoever wrote them: our own schema, OpenAI chat with tools, ShareGPT, Alpaca.

Our schema, one JSON object a line:

    {"id", "source", "licence",
     "kind": calls | no_call | rag | no_answer | character | chat | preference,
     "tools": [{"name", "description", "parameters"}], "contexts": [{"title", "text"}],
     "messages": [{"role", "content", "tool_calls": [{"name", "arguments"}],
                   "quotes": [{"context", "text"}]}],
     "chosen", "rejected", "fault", "provenance"}

The other forms are those of `compress.records`; their calls and tools come out in this one too.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.compress.record_files import opened_lines, read_values
from understudy.compress.records import Chat, to_record
from understudy.errors import DocumentError

KINDS = ("calls", "no_call", "rag", "no_answer", "character", "chat", "preference")
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation with all that belongs to it. `tools` are bare functions; `where` is its
    place (file and line); `provenance` says how it was made, where it was made.
    """

    id: str
    kind: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    contexts: tuple[Mapping[str, Any], ...] = ()
    source: str = ""
    licence: str = ""
    chosen: Message | None = None
    rejected: Message | None = None
    fault: str = ""
    where: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """The record in our schema, without what is empty."""
        document: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "licence": self.licence,
            "kind": self.kind,
            "tools": list(self.tools),
            "contexts": list(self.contexts),
            "messages": list(self.messages),
        }
        for name in ("chosen", "rejected", "fault", "provenance"):
            if value := getattr(self, name):
                document[name] = value
        return document


def read_data(paths: Iterable[str | Path]) -> Iterator[Record]:
    """The records of files of JSON, each in any of the forms; a file may be `.gz`.

    Raises:
        DocumentError: a file is not there or of another format, or a line is no record; the place
            is named.
    """
    for path in map(Path, paths):
        with opened_lines(path) as lines:
            for where, document in read_values(lines, path.name):
                yield record_of(document, where)


def record_of(document: Any, where: str) -> Record:
    """One record out of a document of any form.

    Raises:
        DocumentError: it is of none.
    """
    if isinstance(document, Mapping) and document.get("kind") in KINDS:
        return _own(document, where)
    chat = to_record(document, where)
    if isinstance(chat, str):
        chat = Chat([{"role": "assistant", "content": chat}])
    messages = tuple(_with_calls(message, where) for message in chat.messages)
    tools = tuple(tool["function"] for tool in chat.tools or ())
    has_call = any(message.get("tool_calls") for message in messages)
    kind = "calls" if has_call else "no_call" if tools else "chat"
    given = document if isinstance(document, Mapping) else {}
    return Record(
        str(given.get("id", where)),
        kind,
        messages,
        tools,
        source=str(given.get("source", "")),
        licence=str(given.get("licence", given.get("license", ""))),
        where=where,
    )


def _own(document: Mapping[str, Any], where: str) -> Record:
    messages = document.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) for m in messages):
        raise DocumentError("a record needs messages", where=where, found=type(messages).__name__)
    return Record(
        str(document.get("id", where)),
        str(document["kind"]),
        tuple(_with_calls(message, where) for message in messages),
        tuple(document.get("tools") or ()),
        tuple(document.get("contexts") or ()),
        str(document.get("source", "")),
        str(document.get("licence", "")),
        _reply(document.get("chosen"), where),
        _reply(document.get("rejected"), where),
        str(document.get("fault") or ""),
        where,
        dict(document.get("provenance") or {}),
    )


def _reply(given: Any, where: str) -> Message | None:
    if given is None:
        return None
    message = {"content": given} if isinstance(given, str) else given
    if isinstance(message, list):
        message = message[-1] if message else None
    if not isinstance(message, Mapping):
        raise DocumentError("a reply is a message", where=where, found=type(given).__name__)
    return _with_calls({"role": "assistant", **message}, where)


def _with_calls(message: Message, where: str) -> Message:
    """A message whose calls are `{"name", "arguments": {…}}`, whatever form they came in."""
    if not message.get("tool_calls"):
        return message
    calls = []
    for call in message["tool_calls"]:
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        arguments = function.get("arguments", {})
        try:
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        except ValueError as error:
            raise DocumentError(
                "arguments of a call are no JSON", where=where, found=str(error)
            ) from error
        if not isinstance(function.get("name"), str) or not isinstance(arguments, Mapping):
            raise DocumentError("a call needs a name and arguments", where=where, found=call)
        calls.append({"name": function["name"], "arguments": arguments})
    return {**message, "content": message.get("content") or "", "tool_calls": calls}


def write_data(records: Iterable[Record], path: Path) -> int:
    """Writes records in our schema, one a line; gives their number."""
    opened = gzip.open if path.suffix == ".gz" else open
    count = 0
    with opened(path, "wt", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(record.to_document(), ensure_ascii=False) + "\n")
            count += 1
    return count
