"""From the engine's outputs to pieces of answers: read, checked, and asked for once more where the
check fails.

async for output, pieces, finish in read(context, prepared, outputs_of(context, ticket, n)): ...

What a grammar holds needs no check and goes out as it is written. Of a tool whose schema says more
than that
(`generation.contract`), a call is held back until it is whole; so is an answer of such a form. One
that breaks
its schema is written once more, with other words; then it is an error that names the tool, the
place and the keyword. An answer to results of tools is held back for its check too
(`generation.results`); the second one is completed by the results where it has a fault.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Sequence

from understudy.engine import Output
from understudy.generation.contract import Contract, contract_of
from understudy.generation.prepare import (
    AnswerForm,
    PreparedRequest,
    another_try,
    in_other_words,
)
from understudy.generation.reader import ReasoningPiece, ReplyPiece, StreamParser, TextPiece
from understudy.serve.content import outputs_of
from understudy.serve.errors import ApiError
from understudy.serve.generate import Finish, prepare_chat
from understudy.serve.server import RequestContext

Outputs = AsyncIterator[tuple[Output, bool]]
Read = tuple[Output, list[ReplyPiece], Finish | None]


async def read(
    context: RequestContext, prepared: PreparedRequest, outputs: Outputs
) -> AsyncIterator[Read]:
    """The outputs, each with the pieces that became certain by it, and with an answer's last why it
    ended.

    Args:
        outputs: each with whether the guard ended the answer with it.

    Raises:
        ApiError: 422, a call or an answer broke its schema twice.
    """
    answers = [_Answer(context, prepared) for _ in range(prepared.request.params.n)]
    async for output, is_stopped in outputs:
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
        async for again in _another(context, prepared, answer, output.index, fault):
            yield again


async def _another(
    context: RequestContext, prepared: PreparedRequest, first: _Answer, index: int, fault: str
) -> AsyncIterator[Read]:
    """A second try of one answer, behind the text that the first has given out."""
    assert prepared.chat is not None
    context.request.state.record["retried"] = fault
    text, choice = ("", None) if first.is_held else (first.parser.text, first.failed_tool)
    chat = another_try(prepared.chat, text, choice)
    second = await prepare_chat(context.model, chat, context.server.settings)
    answer = _Answer(context, second)
    async for output, is_stopped in outputs_of(context, context.submit(second), 1, index):
        output = dataclasses.replace(output, index=index)
        pieces, finish = answer.push(output.text), None
        if output.finish_reason is not None:
            rest, finish = answer.end(output, is_stopped)
            pieces += rest
            fault_now = answer.fault(finish)
            if fault_now is not None and answer.is_mendable:
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
        self._contract = None if prepared.chat is None else _checked(prepared.chat.answer)
        self._check = prepared.check
        self._held: list[ReplyPiece] = []
        self.parser = StreamParser(
            context.model.chat_template,
            prepared.tools,
            is_strict=True,
            continues=prepared.continues,
        )

    @property
    def is_held(self) -> bool:
        return self._contract is not None or self._check is not None

    @property
    def is_mendable(self) -> bool:
        """Whether it tells results, which can stand in it themselves."""
        return self._check is not None and not self.parser.failed

    def mended(self) -> list[ReplyPiece]:
        """The answer with the results that it leaves out or changes."""
        assert self._check is not None
        return [TextPiece(self._check.mended(self.parser.text))]

    @property
    def failed_tool(self) -> str:
        return self.parser.failed[0][0].name

    def push(self, text: str) -> list[ReplyPiece]:
        pieces = self.parser.push(text)
        if not self.is_held:
            return pieces
        self._held += pieces
        return []

    def end(self, output: Output, is_stopped: bool) -> tuple[list[ReplyPiece], Finish]:
        """The last pieces, with those that were held back, and why the answer ended."""
        parser = self.parser
        pieces = [*self._held, *parser.finish()]
        self._work.count_calls(parser.num_calls - parser.is_cut, int(parser.is_cut))
        if is_stopped:
            return pieces, "filter"
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
        if self._check is not None:
            return self._check.fault(self.parser.text)
        if self._contract is None:
            return None
        try:
            broken = self._contract.fault(json.loads(self.parser.text))
        except ValueError:
            return None  # text beside tools
        return None if broken is None else _of_answer(str(broken))

    def said(self, pieces: list[ReplyPiece]) -> list[ReplyPiece]:
        """What of a failed answer goes out: the text before its call."""
        return [] if self.is_held else pieces


async def checked_texts(
    context: RequestContext, prepared: PreparedRequest, outputs: Outputs, answer: AnswerForm
) -> Outputs:
    """The outputs of a text prompt; an answer of a form that its grammar does not hold whole waits
    for its check, and is written once more where it fails.

    Raises:
        ApiError: 422, an answer broke its schema twice.
    """
    contract = _checked(answer)
    held: dict[int, list[Output]] = {}
    async for output, is_stopped in outputs:
        mine = held.setdefault(output.index, [])
        mine.append(output)
        if contract is not None and output.finish_reason is None and not is_stopped:
            continue
        fault = None if contract is None or is_stopped else _text_fault(contract, mine)
        if fault is None:
            for earlier in mine[:-1]:
                yield earlier, False
            yield output, is_stopped
            mine.clear()
            continue
        assert contract is not None
        async for again in _another_text(context, prepared, output.index, contract, fault):
            yield again


async def _another_text(
    context: RequestContext, prepared: PreparedRequest, index: int, contract: Contract, fault: str
) -> Outputs:
    context.request.state.record["retried"] = fault
    params = prepared.request.params
    changed = in_other_words({"seed": params.seed, "temperature": params.temperature})
    request = dataclasses.replace(
        prepared.request, params=dataclasses.replace(params, n=1, **changed)
    )
    second = dataclasses.replace(prepared, request=request)
    found: list[tuple[Output, bool]] = []
    async for output, is_stopped in outputs_of(context, context.submit(second), 1, index):
        found.append((dataclasses.replace(output, index=index), is_stopped))
    is_stopped = any(stopped for _, stopped in found)
    fault_now = None if is_stopped else _text_fault(contract, [output for output, _ in found])
    if fault_now is not None:
        raise ApiError(422, f"written twice against its schema: {fault_now}", code="schema_broken")
    for pair in found:
        yield pair


def _text_fault(contract: Contract, outputs: Sequence[Output]) -> str | None:
    """Where a whole answer breaks its schema."""
    if not outputs or outputs[-1].finish_reason == "length":
        return None
    try:
        broken = contract.fault(json.loads("".join(output.text for output in outputs)))
    except ValueError as error:
        return f"response format: {error}"
    return None if broken is None else _of_answer(str(broken))


def _of_answer(fault: str) -> str:
    """A contract speaks of the arguments of a call; an answer has none."""
    return f"response format: {fault.removeprefix('arguments: ')}"


def _checked(answer: AnswerForm) -> Contract | None:
    """The contract of an answer, where the grammar does not hold all of it."""
    contract = None if answer.json_schema is None else contract_of(answer.json_schema)
    return contract if contract is not None and contract.loosened else None
