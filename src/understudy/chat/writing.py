"""From a message to its answer: the model writes, tools are run, and the model reads their results,
until words or calls for the caller are all that is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from understudy.chat.exchange import Exchange, SessionAnswer
from understudy.chat.history import History
from understudy.chat.loop import clamped, run_call
from understudy.chat.prompting import form_of_reply, plan_prompt
from understudy.chat.reply_text import ReplyText
from understudy.chat.setup import SessionSetup
from understudy.generation.intent import CallPolicy, Intent
from understudy.generation.plan import count_passages, fit
from understudy.generation.reader import StreamParser
from understudy.generation.reply import ReplyEnd, ToolResult
from understudy.generation.results import ResultCheck
from understudy.generation.thinking import starts_inside
from understudy.generation.tools import Tool
from understudy.text.templates import Prompt


class ReplyWriter:
    """Writes the answer of one exchange. `was_cut`: whoever read it left while the model wrote."""

    def __init__(self, setup: SessionSetup, history: History, exchange: Exchange) -> None:
        self._setup, self._history, self._exchange = setup, history, exchange
        self.was_cut = False

    def answer(
        self, choice: str, sampling: Mapping[str, Any]
    ) -> Generator[str, None, SessionAnswer]:
        """Gives the answer piece by piece, and at the end how it came out.

        Args:
            choice: of tools, as `tool_choice` names it.
            sampling: options of `Model.generate`.

        Raises:
            ContextError: what must be said does not fit the context.
            Stopped: the guard found something in what the model wrote.
        """
        setup, exchange = self._setup, self._exchange
        grounding = exchange.grounding
        if setup.is_grounded and grounding is not None and not grounding.is_enough:
            assert setup.documents is not None
            return SessionAnswer(None, "stop", tail=setup.documents.not_said)
        for number in range(setup.settings.rounds + 1):
            is_last = number == setup.settings.rounds
            choice = "none" if is_last else "auto" if exchange.calls else choice
            try:
                reason, tail = yield from self._ask(choice, sampling)
                if exchange.may_retry:
                    reason, tail = yield from self._ask(choice, exchange.retried(sampling))
                elif self._is_to_redraw(reason):
                    reason, tail = yield from self._ask(choice, exchange.redrawn(sampling))
                elif self._is_quoting and exchange.second_try(exchange.written):
                    reason, tail = yield from self._ask(choice, sampling)
            except (GeneratorExit, KeyboardInterrupt):
                self.was_cut = True
                raise
            if not exchange.parser.calls:
                break
            if self._is_checked:
                tail = exchange.written
            if tail:
                yield tail
            self._run_calls()
            if exchange.waiting:
                reason = "tool_calls"
                break
        return self._ended(reason, tail)

    @property
    def _is_checked(self) -> bool:
        """Whether what is written now is held back until it was held against results."""
        return self._check is not None

    @property
    def _check(self) -> ResultCheck | None:
        policy, setup = self._policy, self._setup
        level = "off" if policy is None else policy.settings.check_results
        if level == "off" or setup.character is not None:
            return None
        return self._exchange.check(is_complete=level == "complete")

    def _is_to_redraw(self, reason: ReplyEnd) -> bool:
        check, exchange = self._check, self._exchange
        is_over = reason != "stop" or bool(exchange.parser.calls)
        if is_over or exchange.is_redrawn or check is None:
            return False
        return check.fault(exchange.written) is not None

    def _mended(self, text: str | None, reason: ReplyEnd) -> str | None:
        """An answer to results; with a fault the second time, the results stand in it."""
        check = self._check if reason == "stop" else None
        if text is None or check is None or check.fault(text) is None:
            return text
        return check.mended(text)

    def _ended(self, reason: ReplyEnd, tail: str) -> SessionAnswer:
        exchange, found = self._exchange, self._exchange.parser
        is_grounded = self._setup.is_grounded
        exchange.refused = (*found.refused, *found.failed)
        text, citations = exchange.read(exchange.written, reason, is_grounded=is_grounded)
        text = self._mended(text, reason)
        if self._is_quoting or self._is_checked:
            tail = self._text_or_refusal(text)  # nothing of it went out before it was read
        return SessionAnswer(text, reason, citations, "" if found.calls else tail)

    def _text_or_refusal(self, text: str | None) -> str:
        documents = self._setup.documents
        return text if text is not None else documents.not_said if documents is not None else ""

    def _ask(
        self, choice: str, sampling: Mapping[str, Any]
    ) -> Generator[str, None, tuple[ReplyEnd, str]]:
        """Lets the model write once; why it ended, and the text that came with its end."""
        exchange, options = self._exchange, self._setup.sampling(sampling)
        exchange.text_out = None
        prompt, tools, intent = self._prompt(choice, reserve=options["max_tokens"])
        options = intent.sampling(options)
        is_job = intent.callable_tools or exchange.results
        options = self._setup.model.limits.with_job_adapter(options, is_job)
        self._history.adapter = options.get("adapter")
        if (make_mask := form_of_reply(self._setup, exchange, tools, intent)) is not None:
            options["make_mask"] = make_mask
        text_out = exchange.text_out = self._reply_text(
            intent,
            is_strict=make_mask is not None,
            is_thinking=starts_inside(self._setup.chat_template, prompt),
        )
        outputs = self._setup.model.stream_outputs(prompt, **options)
        with contextlib.closing(outputs):  # type: ignore[type-var]
            for output in outputs:
                self._history.tokens += output.new_tokens
                is_end, is_length = (
                    output.finish_reason is not None,
                    output.finish_reason == "length",
                )
                piece = text_out.push(output.text, is_end=is_end, is_length=is_length)
                if text_out.is_over:
                    break
                if piece and not is_end:
                    yield piece
        if output.usage is not None:  # a reply that was ended early has none
            exchange.usages.append(output.usage)
        return "length" if output.finish_reason == "length" else "stop", piece

    def _prompt(self, choice: str, *, reserve: int) -> tuple[Prompt, Sequence[Tool], Intent]:
        """The prompt as it fits the context, the tools that there is room for, and what the reply
        should be. What leaves a character's prompt for want of room stands in its summary at once.
        """
        setup, exchange, tokenizer = self._setup, self._exchange, self._setup.model.tokenizer
        for _ in range(2):
            plan, tools = plan_prompt(setup, self._history, exchange)
            intent = self._intent(choice, tools)
            plan.tools = [] if intent.hides_tools else plan.tools
            plan.dropped += intent.notes
            prompt, exchange.ledger = fit(
                plan,
                setup.chat_template,
                tokenizer,
                context=setup.context,
                reserve=reserve,
                where="session",
            )
            num_messages = self._history.drop(plan)
            if setup.character is None or not num_messages:
                break
            setup.character.absorb(num_messages)
        exchange.num_passages = count_passages(plan)
        self._history.tokens = prompt.encode(tokenizer)
        return prompt, tools, intent

    @property
    def _policy(self) -> CallPolicy | None:
        return self._setup.model.limits.with_calls(self._setup.settings.calls)

    def _intent(self, choice: str, tools: Sequence[Tool]) -> Intent:
        return self._exchange.intent(self._policy, self._history.turns, tools, choice)

    def _reply_text(self, intent: Intent, *, is_strict: bool, is_thinking: bool) -> ReplyText:
        setup = self._setup
        may_call = setup.tools if intent.choice != "none" else ()
        parser = StreamParser(
            setup.chat_template,
            may_call,
            is_strict=is_strict,
            keeps_space=True,
            is_thinking=is_thinking,
        )
        speech = None
        if setup.character is not None and setup.settings.stays_in_character:
            may_redraw = not self._exchange.is_retried
            speech = setup.character.speech(self._exchange.text, may_redraw=may_redraw)
        is_held = self._is_quoting or self._is_checked
        return ReplyText(parser, setup.guard, is_held=is_held, speech=speech)

    @property
    def _is_quoting(self) -> bool:
        return self._setup.is_grounded and self._exchange.grounding is not None

    def _run_calls(self) -> None:
        """Runs what the model called. A call of a tool that the caller runs stops the message: all
        its calls wait, so that their results stand in order.
        """
        setup, exchange = self._setup, self._exchange
        calls = self._history.number(exchange.parser.calls)
        exchange.note_calls(exchange.parser.text.strip(), calls)
        runs = {tool.name: tool.run for tool in setup.tools}
        if any(runs[call.name] is None for call in calls):
            exchange.waiting = calls
            return
        for call in calls:
            timeout_s, approve = setup.settings.timeout_s, setup.approve
            self.take(run_call(setup.tools, call, timeout_s=timeout_s, approve=approve))

    def take(self, result: ToolResult) -> None:
        """A call's result, cut to its limit of tokens."""
        max_tokens = self._setup.settings.max_result
        self._exchange.note_result(clamped(result, self._setup.model.tokenizer, max_tokens))
