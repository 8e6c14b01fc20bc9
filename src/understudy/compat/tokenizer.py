"""The tokenizer of a checkpoint in transformers' shape: version 5's, and what of version 4 still
fits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from understudy.compat.encoding import (
    LAYOUT,
    NO_LIMIT,
    BatchEncoding,
    checked_side,
    encoded,
    laid_out,
    plain,
    tensors,
)
from understudy.errors import UsageError
from understudy.generation.tools import Tool
from understudy.text import Tokenizer
from understudy.text.templates import ChatTemplate, JinjaChatTemplate, Prompt

Conversation = Sequence[Mapping[str, Any]]
_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def refuse_unknown(where: str, unknown: Iterable[str]) -> None:
    """UsageError with the keywords that are left over."""
    if names := sorted(unknown):
        raise UsageError("keyword is not implemented", where=where, found=", ".join(names))


class UnderstudyTokenizer:
    """The tokenizer of a checkpoint, in transformers' shape."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate,
        name: str,
        *,
        padding_side: str = "left",
        model_max_length: int = NO_LIMIT,
    ) -> None:
        self._tokenizer, self._chat_template, self.name_or_path = tokenizer, chat_template, name
        named = tokenizer.named_templates
        default = {} if tokenizer.chat_template is None else {"default": tokenizer.chat_template}
        self.chat_template: Any = {**default, **named} if named else tokenizer.chat_template
        self.padding_side, self.model_max_length = checked_side(padding_side), model_max_length
        for kind in _NAMES:  # `pad_token` may be set, as users of transformers do
            setattr(self, f"{kind}_token", tokenizer.special_tokens.get(f"{kind}_token"))

    def __getattr__(self, name: str) -> Any:
        if name.endswith("_token_id") and name.removesuffix("_token_id") in _NAMES:
            text = getattr(self, name.removesuffix("_id"))
            return None if text is None else self.convert_tokens_to_ids(text)
        raise AttributeError(name)

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.vocab_size

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    @property
    def special_tokens_map(self) -> dict[str, str]:
        found = {f"{kind}_token": getattr(self, f"{kind}_token") for kind in _NAMES}
        return dict(self._tokenizer.special_tokens) | {k: v for k, v in found.items() if v}

    @property
    def all_special_tokens(self) -> list[str]:
        marked = [m.text for m in self._tokenizer.markers.values() if m.is_special]
        return list(dict.fromkeys([*self.special_tokens_map.values(), *marked]))

    @property
    def all_special_ids(self) -> list[int]:
        return [self.convert_tokens_to_ids(text) for text in self.all_special_tokens]

    # ---- texts ----

    def encode(
        self, text: str, *, add_special_tokens: bool = True, return_tensors: str | None = None
    ) -> Any:
        """Ids of a text; markers in it are markers, as in transformers (for text of users see
        `Tokenizer.encode`).
        """
        ids = self._tokenizer.encode(text, markers=True, add_special=add_special_tokens)
        return ids if return_tensors is None else tensors([ids], return_tensors)

    def __call__(
        self,
        text: str | list[str],
        *,
        add_special_tokens: bool = True,
        return_tensors: str | None = None,
        return_attention_mask: bool = True,
        **layout: Any,
    ) -> BatchEncoding:
        """`input_ids` and `attention_mask`; `layout` are padding, padding_side, truncation,
        max_length and truncation_side.
        """
        texts = [text] if isinstance(text, str) else text
        rows = [self.encode(t, add_special_tokens=add_special_tokens) for t in texts]
        is_one = isinstance(text, str) and return_tensors is None
        found = self._laid_out("tokenizer(...)", rows, return_tensors, is_one, layout)
        if not return_attention_mask:
            del found["attention_mask"]
        return found

    def _laid_out(
        self,
        where: str,
        rows: list[list[int]],
        kind: str | None,
        is_one: bool,
        layout: Mapping[str, Any],
    ) -> BatchEncoding:
        refuse_unknown(where, set(layout) - set(LAYOUT))
        pad = self.pad_token_id if self.pad_token_id is not None else self.eos_token_id or 0
        own = {"padding_side": self.padding_side, "max_length": self.model_max_length}
        given = {name: value for name, value in layout.items() if value is not None}
        rows, masks = laid_out(rows, pad, own | given)
        if is_one:
            return BatchEncoding(input_ids=rows[0], attention_mask=masks[0])
        return encoded(rows, masks, kind)

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
        layout = {name: more.pop(name) for name in LAYOUT if name in more}
        layout |= more.pop("tokenizer_kwargs", None) or {}
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
        rows = [prompt.encode(self._tokenizer, add_opening=False) for prompt in prompts]
        is_one = not is_batch and return_tensors is None
        found = self._laid_out("apply_chat_template", rows, return_tensors, is_one, layout)
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

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        values = plain(ids)
        if isinstance(values, int):
            return self._tokenizer.id_to_piece(values)
        is_special = self._tokenizer.is_special
        kept = [i for i in values if not (skip_special_tokens and is_special(i))]
        return [self._tokenizer.id_to_piece(token) for token in kept]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Ids of vocabulary entries; one that does not exist is the unknown token, or None."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        marker = self._tokenizer.marker_id(tokens)
        found = self._ids.get(tokens) if marker is None else marker
        unknown = self.unk_token
        if found is None and unknown is not None and unknown != tokens:
            return self.convert_tokens_to_ids(unknown)
        return found

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        pieces = map(self._tokenizer.id_to_piece, range(self._tokenizer.vocab_size))
        return {piece: token for token, piece in enumerate(pieces)}


def _rendered(
    template: ChatTemplate,
    conversation: Conversation,
    *,
    tools: Any,
    contexts: Any,
    opens: bool,
    continues: bool,
) -> Prompt:
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
    return tool if isinstance(tool, Mapping) else Tool.from_function(tool).to_openai()
