"""The grammar of a reply, compiled: calls held to their schemas, text to its form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy.engine.request import MaskFactory
from understudy.errors import SchemaError
from understudy.generation.call_plan import plan_mask
from understudy.generation.calls import call_grammar
from understudy.generation.chat_request import AnswerForm
from understudy.generation.intent import Intent
from understudy.generation.schemas.contract import contract_of, said_of
from understudy.generation.tools import Tool
from understudy.text import Tokenizer
from understudy.text.grammar import Grammar
from understudy.text.templates import ChatTemplate


def reply_mask(
    chat_template: ChatTemplate,
    tokenizer: Tokenizer,
    tools: Sequence[Tool] = (),
    intent: Intent | None = None,
    *,
    is_parallel: bool = True,
    answer: AnswerForm | None = None,
    opens_with_word: bool = False,
) -> MaskFactory | None:
    """The grammar of a reply, compiled: calls held to their schemas, text to its form; None: free.

    Args:
        intent: which calls there should be; None: those that the model makes.
        opens_with_word: text does not begin with a tag or a brace.
    """
    answer = answer or AnswerForm()
    if not tools:
        return answer_mask(tokenizer, answer)
    lark = answer.lark
    if answer.json_schema is not None:
        lark = f"start: {_rule_of(answer.json_schema)}"
    intent = intent or Intent("auto", tuple(tools))
    if intent.plan is not None:
        return plan_mask(tokenizer, chat_template, intent.plan, is_parallel=is_parallel)
    grammar = call_grammar(
        tokenizer,
        chat_template,
        intent.tools,
        intent.choice,
        is_parallel=is_parallel,
        answer=lark,
        opens_with_word=opens_with_word or (intent.is_gated and not answer.is_given),
    )
    return Grammar(tokenizer).lark(grammar)


def answer_mask(tokenizer: Tokenizer, answer: AnswerForm) -> MaskFactory | None:
    """The grammar of an answer without tools, compiled."""
    if answer.json_schema is not None:
        return Grammar(tokenizer).lark(f"start: {_rule_of(answer.json_schema)}")
    return Grammar(tokenizer).lark(answer.lark) if answer.lark is not None else None


def _rule_of(schema: Mapping[str, Any]) -> str:
    """The rule of an answer's schema; what is wrong with it is said of the answer's format."""
    try:
        return contract_of(schema).rule
    except SchemaError as error:
        raise said_of("response format", error) from error
