"""The checkpoint's own chat template, in a sandbox (`sandbox.py`), data kept apart from markup
(`masking.py`).

A template is rendered twice: with the data as they are, and with the data hidden. Where both say
the same, the hidden one tells which characters are data: a marker in them stays text. A template
that looks into its data (`'</think>' in content`, `| upper`) can say different things; then the
plain text is taken as it is, in one part without origins, and only if no marker stands in the data
nor comes about at their edges. Otherwise the messages are refused.

Tools and contexts that a template ignores are announced in the system message, as ChatML does:
nothing given is dropped.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from understudy.errors import TemplateError
from understudy.text.templates import sandbox
from understudy.text.templates.base import (
    LLAMA_FORM,
    MISTRAL_FORM,
    TOOL_CALL_FORM,
    TOOLCALL_FORM,
    CallForm,
    ChatTemplate,
    Context,
    Message,
    Origin,
    Prompt,
    PromptPart,
    Stops,
    checked,
    content_of,
    context_text,
    last_user_index,
    origin_of,
)
from understudy.text.templates.budget import Run
from understudy.text.templates.call_ids import with_short_ids
from understudy.text.templates.chatml import announcements
from understudy.text.templates.masking import DataMask, Hide, hidden
from understudy.text.tokenizer import Marker, Tokenizer
from understudy.text.toolcalls import calls_of_message, write_call

_TURN_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<extra_id_1>",
)
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{0,128}")
_FORMS = (TOOLCALL_FORM, TOOL_CALL_FORM, MISTRAL_FORM, LLAMA_FORM)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a template is given; `notes` are announcements that end the system message."""

    turns: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    contexts: tuple[Context, ...]
    notes: tuple[PromptPart, ...] = ()
    call_form: CallForm | None = (
        None  # for templates that do not know `tool_calls`: they become text
    )

    def lacking(self, name: str) -> Conversation:
        emptied: dict[str, Any] = {name: ()}
        return replace(self, **emptied)

    def announcing(self, names: set[str]) -> Conversation:
        """The tools or contexts moved into the system message."""
        turns = self.turns
        if not turns or turns[0]["role"] != "system":
            turns = ({"role": "system", "content": "", "origin": "template"}, *turns)
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
            _message(turn, hide, origin_of(turn, i, last_user), self.call_form)
            for i, turn in enumerate(self.turns)
        ]
        if self.notes:
            messages[0]["content"] += "".join(hide(note.text, note.origin) for note in self.notes)
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

    def texts(self) -> list[str]:
        """Every text of the data."""
        found: list[str] = []

        def note(text: str, _: Origin) -> str:
            found.append(text)
            return text

        self.values(note)
        return [*found, *(json.dumps(tool, ensure_ascii=False) for tool in self.tools)]


def _same(text: str, run: Callable[[Conversation], str], given: Conversation) -> bool:
    """Whether less makes the same prompt; templates made for tools may fail without any."""
    try:
        return run(given) == text
    except TemplateError:
        return False


def _as_it_is(text: str, _: Origin) -> str:
    return text


def _with_reasoning(turn: Message) -> Message:
    """The thoughts of a turn under both names that templates read (transformers 5.24)."""
    names = ("reasoning_content", "thinking", "reasoning")
    said = next((turn[name] for name in names if turn.get(name) is not None), None)
    return turn if said is None else {"thinking": said, **turn, "reasoning_content": said}


def _message(
    turn: Message, hide: Hide, origin: Origin, call_form: CallForm | None
) -> dict[str, Any]:
    """Content as a string, tool calls in OpenAI's form with their arguments as an object: what
    transformers' templates expect.
    """
    known = ("role", "content", "origin", "tool_calls", "tool_call_id")
    message = {
        key: hidden(value, hide, origin, key)
        for key, value in _with_reasoning(turn).items()
        if key not in known and value is not None
    }
    calls = []
    for name, arguments in calls_of_message(turn):
        call = json.loads(write_call(name, arguments))
        calls.append({"type": "function", "id": "", "function": hidden(call, hide, origin)})
    for call, given in zip(calls, turn.get("tool_calls") or [], strict=False):
        call["id"] = _id(given.get("id"), hide, origin)
    if turn.get("tool_call_id") is not None:
        message["tool_call_id"] = _id(turn["tool_call_id"], hide, origin)
    text = content_of(turn)
    written = [write_call(*call) for call in calls_of_message(turn)]
    if call_form is not None and written:
        text, calls = "\n".join([*([text] if text else []), call_form.write(written)]), []
    content = {"role": turn["role"], "content": hide(text, origin)}
    return message | content | ({"tool_calls": calls} if calls else {})


def _id(given: Any, hide: Hide, origin: Origin) -> str:
    """An id of plain letters can hold no marker, and templates look at its length."""
    text = "" if given is None else str(given)
    return text if _PLAIN_ID.fullmatch(text) else hide(text, origin)


class JinjaChatTemplate(ChatTemplate):
    name = "jinja"

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        """A template of a checkpoint, or another; `variables` are further ones that it is given as
        they are (`enable_thinking`).
        """
        super().__init__(tokenizer)
        self._variables = dict(variables or {})
        source = template or tokenizer.chat_template
        if not source:
            raise TemplateError(
                "the checkpoint has no chat template", do="use a completion instead of messages"
            )
        self._template = sandbox.compile_template(source)
        self._knows_calls = "tool_calls" in source
        ends = [
            token
            for text in _TURN_ENDS
            if text in source and (token := tokenizer.marker_id(text)) is not None
        ]
        strings = tuple(
            text
            for text in ("<extra_id_1>", "<extra_id_0>", "<|im_end|>", "<|eot_id|>")
            if text in source
        )
        self.stops = Stops(
            tuple(dict.fromkeys([*tokenizer.eos_ids, *ends, *self._turn_ends()])), strings
        )
        self.call_form: CallForm = next(
            (form for form in _FORMS if form.open in source), TOOL_CALL_FORM
        )

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        contexts: Sequence[Context] | None = None,
        add_generation_prompt: bool = True,
    ) -> Prompt:
        try:
            return self._rendered(messages, tools, contexts, add_generation_prompt)
        except TemplateError:
            renamed = with_short_ids(messages)  # Mistral's templates take no others
            if renamed is None:
                raise
            try:
                return self._rendered(renamed, tools, contexts, add_generation_prompt)
            except TemplateError:
                pass
            raise

    def _rendered(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        contexts: Sequence[Context] | None,
        add_generation_prompt: bool,
    ) -> Prompt:
        now = datetime.datetime.now()

        def run(given: Conversation, mask: DataMask | None = None) -> str:
            values = given.values(mask.hide if mask else _as_it_is)
            values |= self.tokenizer.special_tokens | self._variables
            limits = Run(now, mask.json) if mask else Run(now)
            return sandbox.render(
                self._template, limits, values | {"add_generation_prompt": add_generation_prompt}
            )

        form = None if self._knows_calls else self.call_form
        given = Conversation(
            tuple(checked(messages, roles=None)),
            tuple(tools or ()),
            tuple(contexts or ()),
            call_form=form,
        )
        plain = run(given)
        unsaid = {
            name
            for name in ("tools", "contexts")
            if getattr(given, name) and _same(plain, run, given.lacking(name))
        }
        if unsaid:
            given = given.announcing(unsaid)
            plain = run(given)
        mask = DataMask()
        masked = run(given, mask)
        if mask.show(masked) == plain:
            return Prompt(mask.parts(masked))
        self._refuse_markers(plain, masked, given)
        return Prompt(
            (PromptPart(plain, True),),
            note="this chat template looks into the messages: the prompt has no origins",
        )

    def _refuse_markers(self, plain: str, masked: str, given: Conversation) -> None:
        """The markers of the output must be those that the template writes whatever the data
        are.
        """
        texts = given.texts()
        for marker in self.tokenizer.markers:
            if any(marker in text for text in texts) or plain.count(marker) != masked.count(marker):
                raise TemplateError(
                    "a control marker stands in the messages, and this chat template looks into "
                    "what it is given",
                    found=marker,
                    do="remove the marker from the text",
                )

    def _turn_ends(self) -> list[int]:
        """The token that the template writes straight after an assistant's words: the model writes
        it too.

        It is looked for in a finished conversation and in one that goes on; where another text
        comes first, or a token that opens the next turn, there is none.
        """
        said = "reply\u2060reply"  # a text that no template writes of itself
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": said},
        ]
        found = []
        for messages in (turns, [*turns, {"role": "user", "content": "?"}]):
            values = self.tokenizer.special_tokens | {
                "messages": messages,
                "add_generation_prompt": False,
            }
            try:
                text = sandbox.render(self._template, Run(datetime.datetime.now()), values)
            except TemplateError:
                return []
            after = self.tokenizer.split(text.partition(said)[2].lstrip())
            first = next((part for part in after if part), None)
            found.append(first.token if isinstance(first, Marker) and not first.is_text else None)
        return [found[0]] if found[0] is not None and found[0] == found[1] else []
