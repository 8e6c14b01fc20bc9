"""One message of a training record, whoever wrote it, as a chat template takes it: OpenAI's roles,
text, calls as objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.compress.record_files import parse_json
from understudy.errors import DocumentError

Message = dict[str, Any]
ROLES = {
    **dict.fromkeys(("human", "user", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bing", "bard", "model", "assistant"), "assistant"),
    **dict.fromkeys(("ai", "bot", "chatbot", "llm", "claude", "gpt4", "gpt-4"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
    **dict.fromkeys(("observation", "function", "tool", "ipython"), "tool"),
    **dict.fromkeys(("function_response", "tool_response"), "tool"),
    **dict.fromkeys(("function_result", "tool_result"), "tool"),
}
_ROLE_KEYS, _TEXT_KEYS = ("role", "from", "speaker"), ("content", "value", "text")
_KEPT = ("name", "tool_call_id", "reasoning_content", "reasoning", "thinking")
# What says of an answer that it is not learnt, where it is false or 0.
_LEARNT = ("weight", "train", "loss")


def read_message(message: Any, where: str) -> Message:
    """One message.

    Raises:
        DocumentError: no known role, no content, or a content that is no text.
    """
    fault = DocumentError("message needs a role and a content", where=where, found=message)
    if not isinstance(message, dict):
        raise fault
    role = next((message[key] for key in _ROLE_KEYS if key in message), None)
    content = next((message[key] for key in _TEXT_KEYS if message.get(key) is not None), None)
    calls = _tool_calls(message, where)
    if not isinstance(role, str) or (content is None and not calls):
        raise fault
    kind = ROLES.get(role.strip().lower())
    if kind is None:
        raise DocumentError(
            "unknown role", where=where, expected="system user assistant tool", found=role
        )
    if kind == "tool" and isinstance(content, dict):
        content = json.dumps(content, ensure_ascii=False)
    text = text_of(content, where)
    if kind == "call":
        return {"role": "assistant", "content": "", "tool_calls": _written_calls(text, where)}
    kept = {key: message[key] for key in _KEPT if message.get(key)}
    called = {"tool_calls": calls} if calls else {}
    is_learnt = all(message.get(key) is None or message[key] for key in _LEARNT)
    return {"role": kind, "content": text, **called, **kept, **({} if is_learnt else {"weight": 0})}


def text_of(content: Any, where: str) -> str:
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


def _tool_calls(message: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """OpenAI's calls, also as JSON text, without the wrapper around a function, or in the older
    form of a single one."""
    calls = message.get("tool_calls") or None
    if calls is None and isinstance(legacy := message.get("function_call"), dict):
        calls = [legacy]
    if isinstance(calls, str):
        calls = parse_json(calls, where)
    if calls is not None and not isinstance(calls, list):
        raise DocumentError("tool_calls are no list", where=where, found=calls)
    return [_wrapped(call, where) for call in calls or []]


def _wrapped(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise DocumentError("a call needs a name", where=where, found=str(call)[:80])
    return call if "function" in call else {"type": "function", "function": function}


def _written_calls(text: str, where: str) -> list[dict[str, Any]]:
    """ShareGPT's calls: a JSON object with name and arguments, or a list of them."""
    found = parse_json(text, where)
    calls = found if isinstance(found, list) else [found]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise DocumentError("a call needs a name", where=where, found=text)
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": _arguments(call)}}
        for call in calls
    ]


def _arguments(call: Mapping[str, Any]) -> str:
    arguments = call.get("arguments", call.get("parameters", {}))
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def read_tools(tools: Any, where: str) -> list[dict[str, Any]] | None:
    """OpenAI's list, or JSON text of it; the wrapper around a function may be left out.

    Raises:
        DocumentError: it is no list of objects.
    """
    listed = parse_json(tools, where) if isinstance(tools, str) and tools.strip() else tools
    if not listed or (isinstance(listed, str) and not listed.strip()):
        return None
    if isinstance(listed, list):
        listed = [parse_json(tool, where) if isinstance(tool, str) else tool for tool in listed]
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise DocumentError("tools are no list of objects", where=where, found=tools)
    return [
        tool if "function" in tool else {"type": "function", "function": tool} for tool in listed
    ]
