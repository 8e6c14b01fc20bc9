"""The content guard of a server: what goes to a model and what comes from it, checked on the way.
Off unless the server has one; `answers.admit` asks it.

Not who may ask: that is `access.py`. Users' messages are checked on their way in (what the operator
wrote, documents and tools' results are not), and all that a model writes on its way out, calls too,
in the raw text that it wrote. A guard that cannot be asked stops the answer with an error: nothing
goes out unchecked.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy.engine import Output, Usage
from understudy.engine.handles import AsyncOutputs, CancelScope
from understudy.errors import UnderstudyError
from understudy.generation.moderation import ModerationGate, Side, TextGuard, Verdict, flags_of
from understudy.serve.errors import ApiError
from understudy.serve.server import RequestContext
from understudy.serve.threads import in_thread

_log = logging.getLogger("understudy.serve")
Outputs = AsyncIterator[tuple[Output, bool]]  # each with whether the guard ended the answer with it
# messages whose verdicts are remembered: a conversation comes again with each of its turns
KNOWN = 4096


def texts_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What users wrote of a conversation."""
    return [
        str(message["content"])
        for message in messages
        if message["role"] == "user" and message.get("content")
    ]


async def verdict_of(context: RequestContext, text: str, side: Side) -> Verdict:
    """What the guard says of a text; asked in a thread, where a model may be asked too, and ended
    with its client.
    """
    guard = context.served.guard
    assert guard is not None
    context.server.metrics.count(
        "understudy_guard_checks_total", model=context.served.name, side=side
    )
    try:
        flags = await in_thread(lambda: flags_of(guard, text, side), CancelScope(context.client))
    except UnderstudyError:  # as that of any request: busy, too long, cancelled
        raise
    except Exception as error:
        _log.exception("the guard failed")
        raise ApiError(
            500,
            f"the guard failed ({type(error).__name__}); nothing goes out unchecked",
            code="internal_error",
        ) from error
    return Verdict(flags, side) if flags else Verdict()


async def input_verdict(context: RequestContext, texts: Sequence[str]) -> Verdict:
    """The first verdict that stops one of some messages."""
    known: dict[bytes, Verdict] = context.served.verdicts
    for text in texts:
        place = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if place not in known:
            known[place] = await verdict_of(context, text, "input")
            while len(known) > KNOWN:
                del known[next(iter(known))]
        if not known[place].is_safe:
            return known[place]
    return Verdict()


def refused(num_answers: int) -> Outputs:
    """The outputs of a request that the guard stopped before the model saw it."""
    return _given((Output(0, index, finish_reason="stop"), True) for index in range(num_answers))


async def _given(pairs: Iterable[tuple[Output, bool]]) -> Outputs:
    for pair in pairs:
        yield pair


async def checked(
    context: RequestContext, given: AsyncOutputs, num_answers: int, first: int
) -> Outputs:
    """The outputs of a request as far as they are checked, and whether the guard ended the answer
    with this one; answers count from `first`.
    """
    guard = context.served.guard
    assert guard is not None
    gates = [_OutputGate(guard) for _ in range(num_answers)]
    async for output in given:
        gate = gates[output.index]
        gate.add(output)
        if gate.is_stopped or (end := gate.due) is None:
            continue
        verdict = await verdict_of(context, gate.text[:end], "output")
        if verdict.is_safe:
            for released in gate.release(end):
                yield released, False
            continue
        gate.is_stopped = True
        context.note_stop(verdict, first + output.index)
        yield replace(Output(0, output.index, finish_reason="stop"), usage=gate.usage(given)), True
        if all(one.is_over for one in gates):
            given.cancel()
            return


class _OutputGate:
    """The outputs of one answer that wait for their check."""

    def __init__(self, guard: TextGuard) -> None:
        self._gate = ModerationGate(by_sentence=guard.by_sentence)
        self._waiting: deque[Output] = deque()
        self._num_tokens = 0
        self.is_stopped = False
        self._last: Output | None = None

    @property
    def text(self) -> str:
        return self._gate.text

    @property
    def is_over(self) -> bool:
        return self.is_stopped or self._last is not None

    def add(self, output: Output) -> None:
        self._gate.push(output.text)
        self._num_tokens += len(output.new_tokens)
        self._waiting.append(output)
        if output.finish_reason is not None:
            self._last = output

    @property
    def due(self) -> int | None:
        """How much of the text is to be checked now; None: nothing new."""
        end = self._gate.due(is_end=self._last is not None)
        return len(self.text) if end is None and self._last is not None else end

    def release(self, end: int) -> list[Output]:
        """The outputs up to a place in the text; one that goes across it is parted, its tokens come
        with its end.
        """
        count = len(self._gate.release(end))
        outputs: list[Output] = []
        while self._waiting and len(self._waiting[0].text) <= count:
            outputs.append(self._waiting.popleft())
            count -= len(outputs[-1].text)
        if self._waiting and count > 0:
            whole = self._waiting[0]
            outputs.append(Output(whole.id, whole.index, whole.text[:count]))
            self._waiting[0] = replace(whole, text=whole.text[count:])
        return outputs

    def usage(self, outputs: AsyncOutputs) -> Usage:
        """The engine's, or what was counted of an answer that was ended."""
        if self._last is not None and self._last.usage is not None:
            return self._last.usage
        return Usage(len(outputs.handle.request.prompt), 0, self._num_tokens)
