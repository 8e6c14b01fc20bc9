"""The tokenizer of a checkpoint in transformers' shape: version 5's, and what of version 4 still
fits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.compat.encoding import plain
from understudy.compat.function_schema import function_tool
from understudy.compat.rows import LAYOUT, NO_LIMIT, Row, checked_side, framed
from understudy.compat.texts import TextRows, refuse_unknown
from understudy.errors import UsageError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import Tokenizer
from understudy.text.templates import ChatTemplate, JinjaChatTemplate, Prompt

Conversation = Sequence[Mapping[str, Any]]


class UnderstudyTokenizer(TextRows):
    """The tokenizer of a checkpoint, in transformers' shape."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate,
        name: str,
        *,
        source: TokenizerSource | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_max_length: int = NO_LIMIT,
    ) -> None:
        super().__init__(tokenizer, () if source is None else source.extra_special)
        self._chat_template, self.name_or_path, self._source = chat_template, name, source
        named = tokenizer.named_templates
        default = {} if tokenizer.chat_template is None else {"default": tokenizer.chat_template}
        self.chat_template: Any = {**default, **named} if named else tokenizer.chat_template
        self.padding_side = checked_side(padding_side, "padding_side")
        self.truncation_side = checked_side(truncation_side, "truncation_side")
        self.model_max_length = model_max_length

    def get_chat_template(self, chat_template: str | None = None, tools: Any = None) -> str:
        """The template that a conversation would be written by."""
        named = self._tokenizer.named_templates
        default = named.get("tool_use") if tools else None
        chosen = default or self._tokenizer.chat_template
        chosen = chosen if chat_template is None else named.get(chat_template, chat_template)
        if chosen is None:
            raise UsageError(
                "the checkpoint has no chat template of its own", where=self.name_or_path
            )
        return chosen

    # ---- conversations ----

    def apply_chat_template(
        self,
        conversation: Conversation | Sequence[Conversation],
        *,
        tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
        documents: Sequence[Any] | None = None,
        contexts: Sequence[str] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = True,
        return_tensors: str | None = None,
        return_dict: bool = True,
        **more: Any,
    ) -> Any:
        """Messages as a prompt: a dict with `input_ids` and `attention_mask`, ids without
        `return_dict`, text without `tokenize`; a list of them for a list of conversations.

        `tools` are schemas or functions. Further keywords are variables of the template, those of
        `tokenizer(...)` for padding and truncation excepted.
        """
        given = {name: more.pop(name) for name in LAYOUT if name in more}
        given |= more.pop("tokenizer_kwargs", None) or {}
        more.pop("sanitize_control_tokens", None)  # always so here
        refuse_unknown("apply_chat_template", set(more) & {"return_assistant_tokens_mask"})
        render = functools.partial(
            _rendered,
            self._chosen(chat_template, more, bool(tools)),
            tools=[_tool(tool) for tool in tools] if tools else None,
            contexts=[*(documents or []), *(contexts or [])] or None,
            opens=add_generation_prompt,
            continues=continue_final_message,
        )
        is_batch = bool(conversation) and not isinstance(conversation[0], Mapping)
        conversations: Any = conversation if is_batch else [conversation]
        prompts = [render(each) for each in conversations]
        if not tokenize:
            return [prompt.text for prompt in prompts] if is_batch else prompts[0].text
        layout = self._layout(given)
        encoded = [prompt.encode(self._tokenizer, add_opening=False) for prompt in prompts]
        parts = [Row.of(ids, [(0, 0)] * len(ids), 0) for ids in encoded]
        rows = [framed([part], None, layout, 0) for part in parts]
        found = self._padded(rows, layout, return_tensors, not is_batch, {})
        return found if return_dict else found["input_ids"]

    def _chosen(
        self, name: str | None, variables: Mapping[str, Any], has_tools: bool
    ) -> ChatTemplate:
        """The checkpoint's own chat template, or one by its name, or as a text; only Jinja takes
        variables.
        """
        named = self._tokenizer.named_templates
        if name is None and not variables:
            return self._chat_template
        default = named.get("tool_use") if has_tools else None
        text = default or self._tokenizer.chat_template if name is None else named.get(name, name)
        if text is None:
            refuse_unknown("apply_chat_template", variables)
        return JinjaChatTemplate(self._tokenizer, text, variables)

    # ---- ids ----

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **unknown: Any) -> Any:
        """The text of a row of ids or of one, or a list of texts for a list of rows."""
        refuse_unknown("decode", set(unknown) - {"clean_up_tokenization_spaces"})
        values = plain(token_ids)
        values = [values] if isinstance(values, int) else [plain(value) for value in values]
        if values and isinstance(values[0], list | tuple):
            return [self.decode(row, skip_special_tokens) for row in values]
        return self._tokenizer.decode(values, skip_special=skip_special_tokens)

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, **unknown: Any
    ) -> list[str]:
        return [self.decode(row, skip_special_tokens, **unknown) for row in plain(sequences)]


def _rendered(
    template: ChatTemplate,
    conversation: Conversation,
    *,
    tools: Any,
    contexts: Any,
    opens: bool,
    continues: bool,
) -> Prompt:
    if not conversation:
        raise UsageError("a chat template needs at least one message; found an empty conversation")
    if not continues:
        return template.render(
            conversation, tools=tools, contexts=contexts, add_generation_prompt=opens
        )
    last = conversation[-1] if conversation else {}
    if opens or last.get("role") != "assistant" or not isinstance(last.get("content"), str):
        raise UsageError(
            "continue_final_message goes on with an assistant's text at the end",
            found=last.get("role"),
            do="leave out add_generation_prompt",
        )
    whole = template.render(
        conversation, tools=tools, contexts=contexts, add_generation_prompt=False
    )
    if (cut := whole.ending_with(last["content"])) is not None:
        return cut
    return template.render(conversation[:-1], tools=tools, contexts=contexts)


def _tool(tool: Mapping[str, Any] | Callable[..., Any]) -> Mapping[str, Any]:
    return tool if isinstance(tool, Mapping) else function_tool(tool)
