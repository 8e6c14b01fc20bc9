"""What all chat templates share: messages, prompts made of parts, stops.

A prompt is a row of parts. Only parts with `is_markup` may hold control markers; what came from a
user, a document, a card or a tool is data, and a marker in it stays plain text. `origin` says whose
tokens a part's are, for the context ledger.
"""

from __future__ import annotations

import functools
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from understudy.errors import TemplateError
from understudy.text.call_forms import CallForm
from understudy.text.tokenizer import Marker, Tokenizer
from understudy.text.toolcalls import ParsedCall, parse_calls

Message = Mapping[str, Any]
Context = str | Mapping[str, Any]
_ROLE = re.compile(r"[A-Za-z][\w.-]{0,63}")
Origin = Literal[
    "template", "system", "persona", "lore", "memory", "history", "documents", "tools", "user"
]
ORIGINS: tuple[Origin, ...] = (
    "template",
    "system",
    "persona",
    "lore",
    "memory",
    "history",
    "documents",
    "tools",
    "user",
)


@dataclass(frozen=True, slots=True)
class PromptPart:
    text: str
    is_markup: bool = False
    origin: Origin = "template"


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends a reply: token ids, and strings that are cut off."""

    token_ids: tuple[int, ...] = ()
    strings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prompt:
    """`note` says what could not be done as usual, in a line for the reader."""

    parts: tuple[PromptPart, ...]
    note: str = ""

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    def going_on(self, text: str) -> Prompt:
        """The prompt with the beginning of the answer behind it: data, like every message."""
        return Prompt((*self.parts, PromptPart(text, origin="history")), self.note)

    def ending_with(self, text: str) -> Prompt | None:
        """The prompt up to the end of a message's text, which stands in it; None without one.

        White space at its end stays where the template keeps it.
        """
        bare = text.strip()
        for i in reversed(range(len(self.parts)) if bare else ()):
            part = self.parts[i]
            at = -1 if part.is_markup else part.text.rfind(bare)
            if at >= 0:
                end = at + len(bare)
                space = text[len(text.rstrip()) :]
                end += len(space) if part.text.startswith(space, end) else 0
                return Prompt((*self.parts[:i], replace(part, text=part.text[:end])), self.note)
        return None

    def encode(self, tokenizer: Tokenizer, *, add_opening: bool = True) -> list[int]:
        """Ids of the prompt: cut at markers of markup, all text between two markers encoded as one
        piece.

        For data without markers that equals encoding the whole text with markers on, which is what
        other tools do.

        Args:
            add_opening: begin with the tokenizer's opening ids, where the template did not write
            them.
        """
        segments: list[str | Marker] = []
        for part in self.parts:
            segments += tokenizer.split(part.text) if part.is_markup else [part.text]
        return tokenizer.encode_segments(segments, add_opening=add_opening)


REASONING = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought\n", "<channel|>"),
)
"""What opens and closes the reasoning before an answer, family by family."""


class ChatTemplate(ABC):
    """One way to write a conversation down."""

    name: str
    stops: Stops
    note: str = ""  # what the reader should know about this choice
    call_form: CallForm | None = None  # None where the chat template has no calls

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @abstractmethod
    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[Context] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        """Messages as a prompt.

        Args:
            messages: dicts with `role` (system, user, assistant, tool), `content`, for an assistant
                `tool_calls` as OpenAI writes them, and optionally `origin`.
            tools: OpenAI tool dicts.
            contexts: passages of documents: texts, or documents with `title` and `text`.

        Raises:
            TemplateError: an unknown role, or content that is not text.
        """

    @functools.cached_property
    def generation_prompt(self) -> str:
        """What stands between the last message and the model's answer."""
        messages = [{"role": "user", "content": "?"}]
        before = self.render(messages, add_generation_prompt=False).text
        return self.render(messages).text.removeprefix(before)

    @property
    def source(self) -> str:
        """The text of the checkpoint's own template; empty where it has none."""
        return self.tokenizer.chat_template or ""

    @functools.cached_property
    def reasoning(self) -> tuple[str, str] | None:
        """What opens and closes the reasoning of an answer; None where the checkpoint's own
        template does not speak of it.
        """
        return next((tags for tags in REASONING if tags[1] in self.source), None)

    @functools.cached_property
    def opens_with_reasoning(self) -> bool:
        """Whether the prompt ends inside of the reasoning, so that the answer goes on with it."""
        tags = self.reasoning
        return tags is not None and self.generation_prompt.rstrip().endswith(tags[0].rstrip())

    @functools.cached_property
    def reasoning_gap(self) -> tuple[str, str]:
        """What stands between reasoning and its closing mark, and between that and the answer."""
        message = {"role": "assistant", "content": "A", "reasoning_content": "T", "thinking": "T"}
        closing = self.reasoning[1] if self.reasoning is not None else ""
        try:
            text = self.render(
                [{"role": "user", "content": "?"}, message], add_generation_prompt=False
            ).text
        except TemplateError:
            return "\n", "\n\n"
        match = re.search(rf"T(\s*){re.escape(closing)}(\s*)A", text)
        return (match[1], match[2]) if match else ("\n", "\n\n")

    def with_variables(
        self, variables: Mapping[str, Any], *, thinking: bool | None = None
    ) -> ChatTemplate:
        """The same with further variables, and with reasoning switched on or off, where the
        template knows of that.
        """
        _ = variables, thinking
        return self

    @property
    def without_thoughts(self) -> ChatTemplate:
        """The same, for answers that are wanted at once."""
        return self.with_variables({}, thinking=False)

    def shown_tokens(self, *, may_call: bool) -> frozenset[int]:
        """Markers of reasoning and calls, which a reader of answers must see even where the
        vocabulary calls them special.
        """
        marks = self.reasoning or ()
        if may_call and self.call_form is not None:
            marks = (*marks, *self.call_form.marks)
        pieces = (piece for mark in marks for piece in self.tokenizer.split(mark))
        return frozenset(piece.token for piece in pieces if isinstance(piece, Marker))

    def tool_result(self, content: str) -> Prompt:
        """The turn in which a tool's result comes back, alone: for feeding it to a sequence that
        already holds the rest.

        Raises:
            TemplateError: this template has no such turn, or writes the turns before it
            differently.
        """
        call = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
        }
        messages: list[Message] = [{"role": "user", "content": "?"}, call]
        before = self.render(messages, add_generation_prompt=False).text
        after = self.render(
            [*messages, {"role": "tool", "content": content}], add_generation_prompt=False
        )
        if not after.text.startswith(before) or after.text == before:
            raise TemplateError(
                "the chat template has no turn for a tool's result", where=self.name
            )
        return Prompt(tuple(_parts_from(after.parts, len(before))))

    def parse(
        self, text: str, names: Collection[str] | None = None
    ) -> tuple[str, list[ParsedCall]]:
        """A reply's text without its tool calls, and the calls.

        Args:
            names: the tools there are, where they are known: see `parse_calls`.
        """
        return parse_calls(text, names)

    def clean(self, text: str) -> str:
        """A finished reply as the user should see it."""
        return text.strip()


def _parts_from(parts: Sequence[PromptPart], start: int) -> Iterator[PromptPart]:
    """The parts of a text from a character on."""
    for part in parts:
        if len(part.text) > start:
            yield PromptPart(part.text[start:], part.is_markup, part.origin)
        start = max(0, start - len(part.text))


def content_of(message: Message) -> str:
    """The text of a message: a string, null (empty), or OpenAI's list of text parts."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(p, Mapping) and p.get("type") == "text" for p in content
    ):
        return "".join(str(p.get("text", "")) for p in content)
    raise TemplateError(
        "message content is not text",
        where=f"role {message.get('role')!r}",
        found=type(content).__name__,
    )


def context_text(context: Context) -> str:
    """A passage as one text, its title in front."""
    if isinstance(context, str):
        return context
    title, text = (str(context.get(name) or "") for name in ("title", "text"))
    return f"{title}\n{text}" if title else text


def checked(
    messages: Sequence[Message],
    roles: Iterable[str] | None = ("system", "user", "assistant", "tool"),
) -> list[Message]:
    """The messages, each with a role of `roles`; `developer` counts as system, `function` as
    tool.
    """
    synonyms = {"developer": "system", "function": "tool"}
    allowed = tuple(roles or ())
    result: list[Message] = []
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or "role" not in message:
            raise TemplateError(
                "a message needs a role and content", where=f"message {i}", found=repr(message)[:80]
            )
        role = synonyms.get(message["role"], message["role"])
        is_known = role in allowed if allowed else bool(_ROLE.fullmatch(str(role)))
        if not is_known:
            raise TemplateError(
                "unknown role",
                where=f"message {i}",
                expected=" ".join(allowed) or "a word",
                found=message["role"],
            )
        result.append({**message, "role": role})
    return result


def origin_of(message: Message, index: int, last_user: int) -> Origin:
    """A message's own `origin`, or the one that its role and place suggest."""
    given = message.get("origin")
    if given in ORIGINS:
        return given  # type: ignore[no-any-return]
    if message["role"] == "system":
        return "system"
    if message["role"] == "tool":
        return "tools"
    return "user" if index >= last_user else "history"


def last_user_index(messages: Sequence[Message]) -> int:
    return max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
