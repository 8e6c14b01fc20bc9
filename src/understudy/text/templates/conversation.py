"""What a chat template is given of a conversation: messages, tools and documents as its variables.

Each text of the data goes through `hide` (`masking.py`). Content is a string, or a list of parts
where the template takes such; tool calls have OpenAI's form with arguments as an object, which is
what templates of transformers expect. A template that does not know `tool_calls` gets them as text
in the family's own form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.text.call_forms import CallForm, json_text
from understudy.text.templates.base import (
    Context,
    Message,
    Origin,
    PromptPart,
    content_of,
    context_text,
    last_user_index,
    origin_of,
)
from understudy.text.templates.chatml import announcements
from understudy.text.templates.masking import Hide, hidden
from understudy.text.toolcalls import calls_of_message, write_call

_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{0,128}")


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a template is given; `notes` are announcements that end the system message."""

    turns: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    contexts: tuple[Context, ...]
    notes: tuple[PromptPart, ...] = ()
    call_form: CallForm | None = None  # for templates without `tool_calls`: they become text
    takes_parts: bool = False  # of content: else it is one string

    def lacking(self, name: str) -> Conversation:
        emptied: dict[str, Any] = {name: ()}
        return replace(self, **emptied)

    def with_system_tools(self) -> Conversation:
        """The tools as a field of the system message, where Phi-4-mini looks for them."""
        turns = self._with_system()
        functions = [tool.get("function", tool) for tool in self.tools]
        system = {**turns[0], "tools": json_text(functions)}
        return replace(self, turns=(system, *turns[1:]), tools=())

    def switched_off(self) -> Conversation:
        """With the word in the system message that switches reasoning off."""
        system, *rest = self._with_system()
        text = content_of(system)
        system = {**system, "content": f"{text}\n/no_think" if text else "/no_think"}
        return replace(self, turns=(system, *rest))

    def _with_system(self) -> tuple[Message, ...]:
        if self.turns and self.turns[0]["role"] == "system":
            return self.turns
        return ({"role": "system", "content": "", "origin": "template"}, *self.turns)

    def announcing(self, names: set[str]) -> Conversation:
        """The tools or contexts moved into the system message."""
        turns = self._with_system()
        left = {
            name: () if name in names else getattr(self, name) for name in ("tools", "contexts")
        }
        said = {
            name: getattr(self, name) if name in names else () for name in ("tools", "contexts")
        }
        notes = announcements(bool(content_of(turns[0])), said["tools"], said["contexts"])
        return replace(
            self, turns=turns, notes=tuple(notes), tools=left["tools"], contexts=left["contexts"]
        )

    def values(self, hide: Hide) -> dict[str, Any]:
        """The template's variables, each text of the data through `hide`."""
        last_user = last_user_index(self.turns)
        messages = [
            self._message(turn, hide, origin_of(turn, i, last_user), is_noted=i == 0)
            for i, turn in enumerate(self.turns)
        ]
        contexts = [hide(context_text(context), "documents") for context in self.contexts]
        documents = [
            c if isinstance(c, Mapping) else {"title": "", "text": c} for c in self.contexts
        ]
        return {
            "messages": messages,
            "tools": [hidden(tool, hide, "tools") for tool in self.tools] or None,
            "contexts": contexts or None,
            "documents": [hidden(each, hide, "documents") for each in documents] or None,
        }

    def _message(
        self, turn: Message, hide: Hide, origin: Origin, *, is_noted: bool
    ) -> dict[str, Any]:
        known = ("role", "content", "origin", "tool_calls", "tool_call_id")
        message = {
            key: hidden(value, hide, origin, key)
            for key, value in _with_reasoning(turn).items()
            if key not in known and value is not None
        }
        if turn.get("tool_call_id") is not None:
            message["tool_call_id"] = _id(turn["tool_call_id"], hide, origin)
        message |= {"role": turn["role"], "content": hide(content_of(turn), origin)}
        if is_noted and self.notes:
            message["content"] += "".join(
                note.text if note.is_markup else hide(note.text, note.origin) for note in self.notes
            )
        elif self.takes_parts and isinstance(turn.get("content"), list):
            message["content"] = [
                {"type": "text", "text": hide(str(part.get("text", "")), origin)}
                for part in turn["content"]
            ]
        calls = calls_of_message(turn)
        if self.call_form is not None and calls:
            message["content"] = _as_text(message["content"], calls, self.call_form, hide, origin)
        elif calls:
            message["tool_calls"] = _calls(turn, hide, origin)
        return message

    def texts(self) -> list[str]:
        """Every text of the data."""
        found: list[str] = []

        def note(text: str, _: Origin) -> str:
            found.append(text)
            return text

        self.values(note)
        return [*found, *(json.dumps(tool, ensure_ascii=False) for tool in self.tools)]


def _with_reasoning(turn: Message) -> Message:
    """The thoughts of a turn under both names that templates read (transformers 5.24)."""
    names = ("reasoning_content", "thinking", "reasoning")
    said = next((turn[name] for name in names if turn.get(name) is not None), None)
    return turn if said is None else {"thinking": said, **turn, "reasoning_content": said}


def _calls(turn: Message, hide: Hide, origin: Origin) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for name, arguments in calls_of_message(turn):
        call = json.loads(write_call(name, arguments))
        made.append({"type": "function", "id": "", "function": hidden(call, hide, origin)})
    for call, given in zip(made, turn.get("tool_calls") or [], strict=False):
        call["id"] = _id(given.get("id"), hide, origin)
    return made


def _as_text(
    content: Any,
    calls: Sequence[tuple[str, Mapping[str, Any] | str]],
    form: CallForm,
    hide: Hide,
    origin: Origin,
) -> str:
    """Text and calls of a message as the model writes them; tags are no data."""
    text = "".join(part["text"] for part in content) if isinstance(content, list) else content
    between = "\n" if text and form.notation != "python" else ""
    return str(text + between + form.write([hide(form.write_call(*c), origin) for c in calls]))


def _id(given: Any, hide: Hide, origin: Origin) -> str:
    """An id of plain letters can hold no marker, and templates look at its length."""
    text = "" if given is None else str(given)
    return text if _PLAIN_ID.fullmatch(text) else hide(text, origin)
