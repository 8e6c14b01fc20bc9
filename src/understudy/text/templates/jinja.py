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
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.errors import TemplateError
from understudy.text.call_forms import CallForm, form_of
from understudy.text.templates import sandbox
from understudy.text.templates.base import (
    ChatTemplate,
    Context,
    Message,
    Origin,
    Prompt,
    PromptPart,
    Stops,
    checked,
)
from understudy.text.templates.budget import Run
from understudy.text.templates.call_ids import with_short_ids
from understudy.text.templates.conversation import Conversation
from understudy.text.templates.masking import DataMask
from understudy.text.tokenizer import Marker, Tokenizer

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
_SWITCHES = ("/no_think", "/nothink", "/think")  # which users write into their messages
_THINKING = ("enable_thinking", "thinking")  # variables under which templates know the switch
MAX_OTHERS = 8


def _same(text: str, run: Callable[[Conversation], str], given: Conversation) -> bool:
    """Whether less makes the same prompt; templates made for tools may fail without any."""
    try:
        return run(given) == text
    except TemplateError:
        return False


def _as_it_is(text: str, _: Origin) -> str:
    return text


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
        self._others: dict[str, JinjaChatTemplate] = {}  # with other variables
        self._source, self._template = source, sandbox.compile_template(source)
        self._knows_calls = "tool_calls" in source
        self._takes_system_tools = "'tools' in message" in source
        self._needs_switch = "/no_think" in source and not any(t in source for t in _THINKING)
        self._switches = [word for word in _SWITCHES if word in source]
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
        self.call_form: CallForm = form_of(source, lambda text: text in tokenizer.markers)

    @property
    def source(self) -> str:
        return self._source

    def with_variables(
        self, variables: Mapping[str, Any], *, thinking: bool | None = None
    ) -> JinjaChatTemplate:
        given = {**self._variables, **variables}
        if thinking is not None:
            given = dict.fromkeys(_THINKING, thinking) | given
        key = json.dumps(given, sort_keys=True, default=repr)
        if key not in self._others:
            while len(self._others) >= MAX_OTHERS:
                self._others.pop(next(iter(self._others)))
            self._others[key] = JinjaChatTemplate(self.tokenizer, self._source, given)
        return self._others[key]

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
            limits = Run(now, mask.written, mask.plain) if mask else Run(now)
            return sandbox.render(
                self._template, limits, values | {"add_generation_prompt": add_generation_prompt}
            )

        given = self._given(messages, tools, contexts)
        plain = run(given)
        unsaid = {
            name
            for name in ("tools", "contexts")
            if getattr(given, name) and _same(plain, run, given.lacking(name))
        }
        if "tools" in unsaid and self._takes_system_tools:
            given, unsaid = given.with_system_tools(), unsaid - {"tools"}
            plain = run(given)
        if unsaid:
            given = given.announcing(unsaid)
            plain = run(given)
        mask = DataMask(self._switches)
        masked = run(given, mask)
        if mask.show(masked) == plain:
            return Prompt(mask.parts(masked))
        self._refuse_markers(plain, masked, given)
        return Prompt(
            (PromptPart(plain, True),),
            note="this chat template looks into the messages: the prompt has no origins",
        )

    def _given(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        contexts: Sequence[Context] | None,
    ) -> Conversation:
        given = Conversation(
            tuple(checked(messages, roles=None)),
            tuple(tools or ()),
            tuple(contexts or ()),
            call_form=None if self._knows_calls else self.call_form,
            takes_parts=self._takes_parts,
        )
        is_off = self._variables.get("enable_thinking") is False and self._needs_switch
        return given.switched_off() if is_off else given

    @functools.cached_property
    def _takes_parts(self) -> bool:
        """Whether the template knows content that is a list of parts."""

        def text(content: Any) -> str:
            values = {"messages": [{"role": "user", "content": content}]}
            run = Run(datetime.datetime.now())
            return sandbox.render(self._template, run, self.tokenizer.special_tokens | values)

        try:
            return text([{"type": "text", "text": "?"}]) == text("?")
        except TemplateError:
            return False

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
