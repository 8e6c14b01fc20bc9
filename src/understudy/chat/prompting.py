"""What one prompt of a session is made of, and the form that its reply must have."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.chat.choose import shown
from understudy.chat.exchange import Exchange
from understudy.chat.history import History
from understudy.chat.setup import SessionSetup
from understudy.chat.sources import Grounding
from understudy.engine.request import MaskFactory
from understudy.generation.chat_request import AnswerForm
from understudy.generation.intent import Intent
from understudy.generation.plan import Block, Plan, Turn
from understudy.generation.reply_mask import reply_mask
from understudy.generation.tools import Tool


def plan_prompt(
    setup: SessionSetup, history: History, exchange: Exchange
) -> tuple[Plan, Sequence[Tool]]:
    """Everything that the prompt would hold if there were room, and the tools that it shows."""
    turns = history.turns[history.start :]
    plan = _standing(setup, turns, exchange)
    plan.newest += exchange.newest[1:]
    if exchange.results and setup.repeats_question:
        plan.newest.append(_question_again(exchange))
    plan.contexts, plan.num_fixed = list(setup.texts), len(setup.texts)
    if exchange.grounding is not None and exchange.grounding.is_enough:
        _place_passages(setup, plan, exchange.grounding)
    if history.start:
        plan.dropped_turns = history.turns[: history.start]
        plan.dropped.insert(0, f"history: {history.start} oldest messages")
    used = {call.name for turn in turns + exchange.newest for call in turn.calls}
    budget = setup.settings.tools_budget
    tools, written, left_out = shown(
        setup.tools, exchange.text, setup.model.tokenizer, budget, keep=used
    )
    plan.dropped += left_out
    plan.tools = written
    return plan, tools


def _standing(setup: SessionSetup, turns: Sequence[Turn], exchange: Exchange) -> Plan:
    """The system text or the character, what was said before, and the message."""
    quotes = setup.is_grounded and exchange.grounding is not None
    instructions = exchange.grounding.instructions if quotes and exchange.grounding else ""
    system = "\n\n".join(text for text in (setup.system, instructions) if text)
    if setup.character is not None:
        tokenizer = setup.model.tokenizer
        return setup.character.plan(
            turns,
            exchange.text,
            count_tokens=lambda text: len(tokenizer.encode(text)),
            context=setup.context,
            system=system,
        )
    standing = [Block("system", system)] if system else []
    return Plan(standing, list(turns), [Turn("user", [Block("user", exchange.text)])])


def _question_again(exchange: Exchange) -> Turn:
    """For models that no tools were taught: the results in words, and the question once more."""
    said = [
        Block("tools", f"{result.call.name} says: {result.content}") for result in exchange.results
    ]
    again = Block("user", f"Now answer my question in a sentence: {exchange.text}")
    return Turn("user", [*said, again])


def _place_passages(setup: SessionSetup, plan: Plan, grounding: Grounding) -> None:
    if setup.settings.passages_in == "system":
        plan.contexts += grounding.contexts
        return
    plan.newest[0].blocks[:0] = [
        Block("documents", text, "documents", -number, f"passage {number}")
        for number, text in enumerate(grounding.contexts, 1)
    ]


def form_of_reply(
    setup: SessionSetup, exchange: Exchange, tools: Sequence[Tool], intent: Intent
) -> MaskFactory | None:
    """The grammar of the reply: quotes where the documents must be quoted, calls by their schemas.

    None: the model may write what it likes.
    """
    answer = AnswerForm()
    if setup.is_grounded and exchange.grounding is not None:
        lark = exchange.grounding.grammar(exchange.num_passages, setup.model.spec)
        answer = AnswerForm(lark=lark)
    return reply_mask(
        setup.chat_template,
        setup.model.tokenizer,
        tools,
        intent,
        is_parallel=setup.settings.is_parallel,
        answer=answer,
        opens_with_word=bool(exchange.results) and setup.repeats_question,
    )
