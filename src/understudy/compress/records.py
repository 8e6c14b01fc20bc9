"""Records of training data, whoever wrote them: text, or chats in the forms that data sets have.

    {"text": …}                                                   text, all of it learnt
    {"messages": [{"role", "content", "tool_calls"}], "tools": …} OpenAI; content may be null or a
                                                                  list of text parts
    {"conversations": [{"from": "human", "value": …}], "system"}  ShareGPT; role and content are
                                                                  taken there too
    {"instruction": …, "input": …, "output": …, "history": …}     Alpaca
    {"prompt": …, "completion": …}                                texts or lists of messages

A file of records is JSON Lines, or one JSON array; either may be `.gz` and begin with a byte order
mark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.errors import DocumentError

Message = dict[str, Any]
FORMS = "text, messages, conversations, instruction and output, or prompt and completion"
ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "function_response": "tool",
    "function": "tool",
    "tool": "tool",
}
_KEPT = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Chat:
    """Messages as a chat template takes them, and the tools that they were written with."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None


def read_records(lines: Iterable[str], name: str) -> Iterator[tuple[str, str | Chat]]:
    """Every record with its place.

    Raises:
        DocumentError: a line is not JSON, or a record is of no known form; the place is named.
    """
    for where, record in _parsed(lines, name):
        yield where, to_record(record, where)


def _parsed(lines: Iterable[str], name: str) -> Iterator[tuple[str, Any]]:
    """The values of JSON Lines, or of one JSON array over all lines."""
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if not line.strip():
            continue
        if line.lstrip().startswith("["):
            text = line + "".join(rest for _, rest in numbered)
            records = _json(text, name)
            yield from ((f"{name}[{i}]", record) for i, record in enumerate(records))
        else:
            where = f"{name}:{number}"
            yield where, _json(line, where)


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        found = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DocumentError("record is not JSON", where=where, found=found) from error


def to_record(record: Any, where: str) -> str | Chat:
    """One record as text or chat. Raises DocumentError with `where` if it is neither."""
    match record:
        case {"messages": [_, *_] as messages}:
            return _chat(messages, record, where)
        case {"conversations": [_, *_] as messages}:
            return _chat(messages, record, where)
        case {"instruction": str(instruction), "output": str(output)}:
            return _alpaca(instruction, output, record, where)
        case {"prompt": prompt, "completion": completion}:
            return _completion(prompt, completion, record, where)
        case {"text": str(text)} if text:
            return text
    found = sorted(map(str, record)) if isinstance(record, dict) else type(record).__name__
    raise DocumentError(
        "record has neither text nor messages", where=where, expected=FORMS, found=found
    )


def _chat(messages: Sequence[Any], record: Mapping[str, Any], where: str) -> Chat:
    found = [_message(message, where) for message in messages]
    system = record.get("system")
    if isinstance(system, str) and system and found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": system})
    return Chat(found, _tools(record.get("tools"), where))


def _message(message: Any, where: str) -> Message:
    fault = DocumentError("message needs a role and a content", where=where, found=message)
    if not isinstance(message, dict):
        raise fault
    role = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    calls = message.get("tool_calls")
    if not calls and isinstance(legacy := message.get("function_call"), dict):
        calls = [{"type": "function", "function": legacy}]
    if not isinstance(role, str) or (content is None and not calls):
        raise fault
    kind = ROLES.get(role, role)
    text = _text(content, where)
    if kind == "call":
        return {"role": "assistant", "content": "", "tool_calls": _calls(text, where)}
    kept = {key: message[key] for key in _KEPT if message.get(key)}
    calls = {"tool_calls": calls} if calls else {}
    unlearnt = {"weight": 0} if message.get("weight") == 0 else {}
    return {"role": kind, "content": text, **calls, **kept, **unlearnt}


def _text(content: Any, where: str) -> str:
    """A content as text: null is none, parts are joined; a part that is no text is refused by its
    kind."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, where) for part in content)
    raise DocumentError("message needs a role and a content", where=where, found=content)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    raise DocumentError(
        "a part of a message is not text", where=where, expected="text parts", found=kind
    )


def _calls(text: str, where: str) -> list[dict[str, Any]]:
    """ShareGPT's calls: a JSON object with name and arguments, or a list of them."""
    found = _json(text, where)
    calls = found if isinstance(found, list) else [found]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise DocumentError("a call needs a name", where=where, found=text)
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": _arguments(call)}}
        for call in calls
    ]


def _arguments(call: Mapping[str, Any]) -> str:
    arguments = call.get("arguments", {})
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _tools(tools: Any, where: str) -> list[dict[str, Any]] | None:
    """OpenAI's list; ShareGPT has it as JSON text, and may leave the wrapper around a function
    out."""
    if not tools:
        return None
    listed = _json(tools, where) if isinstance(tools, str) else tools
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise DocumentError("tools are no list of objects", where=where, found=tools)
    return [
        tool if "function" in tool else {"type": "function", "function": tool} for tool in listed
    ]


def _alpaca(instruction: str, output: str, record: Mapping[str, Any], where: str) -> Chat:
    more = record.get("input")
    question = f"{instruction}\n{more}" if isinstance(more, str) and more else instruction
    messages = [
        {"role": role, "content": _text(text, where)}
        for pair in record.get("history") or ()
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    messages += [
        {"role": "user", "content": question},
        {"role": "assistant", "content": output},
    ]
    return _chat(messages, record, where)


def _completion(prompt: Any, completion: Any, record: Mapping[str, Any], where: str) -> Chat:
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    answer = (
        [{"role": "assistant", "content": completion}]
        if isinstance(completion, str)
        else completion
    )
    if not isinstance(asked, list) or not isinstance(answer, list) or not asked + answer:
        raise DocumentError(
            "prompt and completion are texts or lists of messages", where=where, found=record
        )
    return _chat([*asked, *answer], record, where)
