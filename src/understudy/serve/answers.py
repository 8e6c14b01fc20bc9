"""A conversation's answers: its request prepared and queued, and what the engine writes read,
checked, and asked for once more where the check fails.

    answers = await Answers.begin(context, chat)     # whatever is wrong is said here
    async for output, pieces, finish in answers: ...

What a grammar holds needs no check and goes out as it is written. Of a tool whose schema says more
than that (`generation.schemas.contract`), a call is held back until it is whole; so is an answer of
such a form. One that breaks its schema is written once more, with other words; then it is an error
that names the tool, the place and the keyword.

An answer to results of tools streams up to a number that stands in none of them, and is then
written on in other words (`generation.number_gate`). A server that completes answers holds them
back instead; the second one is completed by the results where it has a fault.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from understudy.engine import Output
from understudy.engine.handles import AsyncOutputs
from understudy.generation.chat_request import AnswerForm, ChatRequest, another_try
from understudy.generation.number_gate import NumberGate
from understudy.generation.plan import Ledger, count_origins
from understudy.generation.prepare import PreparedRequest, prepare_chat
from understudy.generation.reader import ReasoningPiece, ReplyPiece, StreamParser, TextPiece
from understudy.generation.schemas.contract import Contract, contract_of
from understudy.serve.content import Outputs, checked, input_verdict, refused, texts_of
from understudy.serve.errors import ApiError
from understudy.serve.server import RequestContext

Finish = Literal["stop", "length", "calls", "filter"]
Read = tuple[Output, list[ReplyPiece], Finish | None]


async def prepare(context: RequestContext, chat: ChatRequest) -> PreparedRequest:
    """A conversation as a request, made in a thread: a schema can take a while."""
    model = context.model
    return await asyncio.to_thread(
        prepare_chat, model.chat_template, model.tokenizer, context.limits, chat
    )


async def admit(
    context: RequestContext, prepared: PreparedRequest, texts: Sequence[str], first: int = 0
) -> Outputs:
    """Queues a request whose texts may pass; its outputs, each with whether the guard ended the
    answer with it. Answers count from `first`.
    """
    if context.served.guard is not None:
        verdict = await input_verdict(context, texts)
        if not verdict.is_safe:
            num_answers = prepared.num_answers
            context.note_stop(verdict, *range(first, first + num_answers))
            return refused(num_answers)
    return submit(context, prepared, first)


def submit(context: RequestContext, prepared: PreparedRequest, first: int = 0) -> Outputs:
    """Queues a request whose texts have passed. It is ended with its context."""
    request = prepared.request
    if context.adapter is not None:
        params = dataclasses.replace(request.params, adapter=context.adapter)
        request = dataclasses.replace(request, params=params)
    outputs = context.served.driver.submit(request, client=context.client)
    context.handles.append(outputs)
    return _outputs(context, outputs, request.params.n, first)


async def _outputs(
    context: RequestContext, given: AsyncOutputs, num_answers: int, first: int
) -> Outputs:
    if context.served.guard is None:
        async for output in given:
            context.note(output.usage)
            yield output, False
        return
    async for output, is_stopped in checked(context, given, num_answers, first):
        context.note(output.usage)
        yield output, is_stopped


class Answers:
    """The answers to one conversation. Iterated, they give each output with the pieces that became
    certain by it, and with an answer's last why it ended.

    Raises:
        ApiError: while iterated: 422, a call or an answer broke its schema twice.
    """

    def __init__(
        self, context: RequestContext, prepared: PreparedRequest, outputs: Outputs
    ) -> None:
        self.context, self.prepared, self.outputs = context, prepared, outputs

    @classmethod
    async def begin(cls, context: RequestContext, chat: ChatRequest) -> Answers:
        """Prepares and queues a request; all that is wrong with it is said here."""
        prepared = await prepare(context, chat)
        return cls(context, prepared, await admit(context, prepared, texts_of(chat.messages)))

    async def __aiter__(self) -> AsyncIterator[Read]:
        answers = [_Answer(self.context, self.prepared) for _ in range(self.prepared.num_answers)]
        async for output, is_stopped in self.outputs:
            answer = answers[output.index]
            pieces = answer.push(output.text)
            if output.finish_reason is None:
                yield output, pieces, None
                continue
            rest, finish = answer.end(output, is_stopped)
            pieces += rest
            fault = answer.fault(finish)
            if fault is None:
                yield output, pieces, finish
                continue
            yield dataclasses.replace(output, finish_reason=None), answer.said(pieces), None
            async for again in _another(self.context, self.prepared, answer, output.index, fault):
                yield again

    async def ledger(self) -> dict[str, Any] | None:
        """Where the tokens of the prompt went: they sum to its length."""
        prepared, context = self.prepared, self.context.limits.context
        if prepared.prompt is None:
            return None
        params, length = prepared.request.params, prepared.num_prompt
        room = context - (params.max_tokens or 1)
        overflow = prepared.request.overflow
        first = length - room if length > room and overflow == "keep_end" else 0
        tokens = await asyncio.to_thread(
            count_origins, prepared.prompt, self.context.model.tokenizer, first, first + room
        )
        total, dropped = sum(tokens.values()), (*prepared.notes, *prepared.late)
        if length > room:
            dropped += (f"{length - room} tokens of the prompt ({overflow})",)
        reserve = min(params.max_tokens or context, context - min(total, context))
        return Ledger(tokens, reserve, context, dropped).to_document()


async def _another(
    context: RequestContext, prepared: PreparedRequest, first: _Answer, index: int, fault: str
) -> AsyncIterator[Read]:
    """A second try of one answer, behind the text that the first has given out."""
    assert prepared.chat is not None
    context.request.state.record["retried"] = fault
    chat = another_try(prepared.chat, *first.begun)
    second = await prepare(context, chat)
    answer = _Answer(context, second)
    async for output, is_stopped in submit(context, second, index):
        output = dataclasses.replace(output, index=index)
        pieces, finish = answer.push(output.text), None
        if output.finish_reason is not None:
            rest, finish = answer.end(output, is_stopped)
            pieces += rest
            fault_now = answer.fault(finish)
            if first.is_gated and not answer.parser.failed:
                pieces += answer.let_go()
                prepared.late.extend(first.foreign_numbers(answer.parser.text))
            elif fault_now is not None and answer.is_mendable:
                pieces = answer.mended()
            elif fault_now is not None:
                raise ApiError(
                    422, f"written twice against its schema: {fault_now}", code="schema_broken"
                )
        yield output, [p for p in pieces if not isinstance(p, ReasoningPiece)], finish


class _Answer:
    """One answer on its way: its parser, and the pieces of one that is held back for its check."""

    def __init__(self, context: RequestContext, prepared: PreparedRequest) -> None:
        self._work, self._late = context, prepared.late
        self._contract = None if prepared.chat is None else contract_to_check(prepared.chat.answer)
        self._check, self._may_call = prepared.check, bool(prepared.tools)
        self._gate: NumberGate | None = None
        if self._check is not None and not self._check.is_complete:
            self._gate = NumberGate(self._check)
        self._held: list[ReplyPiece] = []
        self.parser = StreamParser(
            context.model.chat_template,
            prepared.tools,
            is_strict=True,
            continues=prepared.continues,
            is_thinking=prepared.request.thinks,
        )

    @property
    def is_held(self) -> bool:
        is_whole = self._check is not None and self._check.is_complete
        return self._contract is not None or is_whole

    @property
    def is_gated(self) -> bool:
        """Whether it streams for as long as its numbers are those of results."""
        return self._gate is not None and not self.parser.failed

    @property
    def begun(self) -> tuple[str, str | None]:
        """The text of a failed answer that went out, and the choice of tools of its second try."""
        if self.is_held:
            return "", None
        if self._gate is not None and self.is_gated:
            return self._gate.given, None if self._may_call else "none"
        return self.parser.text, self.parser.failed[0][0].name

    @property
    def is_mendable(self) -> bool:
        """Whether it tells results, which can stand in it themselves."""
        return self._check is not None and not self.parser.failed

    def mended(self) -> list[ReplyPiece]:
        """The answer with the results that it leaves out or changes."""
        assert self._check is not None
        return [TextPiece(self._check.mended(self.parser.text))]

    def let_go(self) -> list[ReplyPiece]:
        """What is held back because of its numbers."""
        return [] if self._gate is None else self._gate.let_go()

    def foreign_numbers(self, rest: str) -> list[str]:
        """A line where the answer, written on with `rest`, still holds a number of no result."""
        assert self._check is not None
        assert self._gate is not None
        fault = self._check.fault(self._gate.given + rest)
        return [] if fault is None else [f"answer: {fault}"]

    def push(self, text: str) -> list[ReplyPiece]:
        pieces = self.parser.push(text)
        if self._gate is not None:
            return self._gate.push(pieces)
        if not self.is_held:
            return pieces
        self._held += pieces
        return []

    def end(self, output: Output, is_stopped: bool) -> tuple[list[ReplyPiece], Finish]:
        """The last pieces, with those that were held back, and why the answer ended."""
        parser = self.parser
        pieces = [*self._held, *parser.finish()]
        if self._gate is not None:
            pieces = [*self._gate.push(pieces), *self._gate.end()]
        self._work.note_reasoning(parser.reasoning)
        self._work.count_calls(parser.num_calls - parser.is_cut, int(parser.is_cut))
        if is_stopped:
            return pieces, "filter"
        if output.finish_reason == "length" or parser.failed:
            pieces += self.let_go()
        if output.finish_reason == "length":
            return pieces, "length"
        return pieces, "calls" if parser.num_calls else "stop"

    def fault(self, finish: Finish | None) -> str | None:
        """Why a whole answer has to be written once more; None: it has not."""
        failed = self.parser.failed
        lines = [f"{call.name}: {fault}" for call, fault in failed]
        if self.parser.num_calls and failed:
            self._late += [f"call left out: {line}" for line in lines]
            return None
        if failed or finish != "stop":
            return lines[0] if failed and finish in ("stop", "calls") else None
        if self._gate is not None:
            return self._gate.fault
        if self._check is not None:
            return self._check.fault(self.parser.text)
        if self._contract is None:
            return None
        try:
            broken = self._contract.fault(json.loads(self.parser.text))
        except ValueError:
            return None  # text beside tools
        return None if broken is None else fault_of_answer(str(broken))

    def said(self, pieces: list[ReplyPiece]) -> list[ReplyPiece]:
        """What of a failed answer goes out: the text before its call."""
        return [] if self.is_held else pieces


def fault_of_answer(fault: str) -> str:
    """A contract speaks of the arguments of a call; an answer has none."""
    return f"response format: {fault.removeprefix('arguments: ')}"


def contract_to_check(answer: AnswerForm) -> Contract | None:
    """The contract of an answer, where the grammar does not hold all of it."""
    contract = None if answer.json_schema is None else contract_of(answer.json_schema)
    return contract if contract is not None and contract.loosened else None
