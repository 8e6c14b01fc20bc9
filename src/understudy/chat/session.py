"""`Session`: a conversation with a system text, tools, documents and a character, each optional.

session = Session(model, system="You are brief.", tools=[weather])
reply = session.say("What is the weather in Paris?")
print(reply.text, reply.tool_calls, reply.ledger)

A reply is held to what it may be: calls to their schemas, answers from documents to quotes that stand in them. What a tool
returns, a document holds or a card says is data, and opens no turn. Nothing leaves the prompt without a line in the ledger.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import (
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any

from understudy.chat import saved
from understudy.chat.choose import shown
from understudy.chat.exchange import Exchange
from understudy.chat.loop import Approve, clamped, run_call
from understudy.chat.reply_text import ReplyText
from understudy.chat.settings import SessionSettings
from understudy.chat.sources import Character, Documents, Grounding, Part
from understudy.errors import DocumentError, UsageError
from understudy.generation.calls import choice_of
from understudy.generation.moderation import Stopped, TextGuard, Verdict, checked
from understudy.generation.plan import Block, Plan, Turn, count_passages, fit
from understudy.generation.prepare import AnswerForm, MaskFactory, reply_mask
from understudy.generation.reader import StreamParser
from understudy.generation.reply import Reply, ReplyEnd, ToolResult, numbered
from understudy.generation.tools import Tool, as_tools
from understudy.model import Model


class Session:
    """See the module's docstring. A session is used by one thread; its model may be shared by many."""

    def __init__(
        self,
        model: Model,
        *,
        system: str = "",
        tools: Iterable[Tool | Callable[..., Any] | Mapping[str, Any]] = (),
        documents: Documents | Sequence[str] | None = None,
        character: Character | None = None,
        settings: SessionSettings | None = None,
        approve: Approve | None = None,
        guard: TextGuard | None = None,
        **sampling: Any,
    ) -> None:
        """Args:
            documents: a `rag.Index`, or texts that stand in every prompt.
            character: a `roleplay.Card`.
            approve: asked before a tool runs; False refuses the call.
            guard: checks messages, answers and calls, and stops what it flags: see `chat.guarding`. None: nothing is checked.
            sampling: settings of `SamplingParams` for every reply.

        Raises:
            SchemaError, UsageError: a tool or a setting cannot be used.
        """
        self.model, self.system, self.settings = model, system, settings or SessionSettings()
        self.tools, self.approve = as_tools(tools), approve
        self.guard, self.sampling = guard, sampling
        if isinstance(documents, str):
            raise UsageError(
                "documents are an index or a list of texts", where="documents", found="one text"
            )
        self._fixed = tuple(documents) if isinstance(documents, Sequence) else ()
        self.documents = None if isinstance(documents, Sequence) else documents
        self._character = character
        self.reset()

    def reset(self) -> None:
        """Begins anew; a character forgets."""
        settings, character = self.settings, self._character
        self.part: Part | None = None
        if character is not None:
            self.part = character.play(
                user=settings.user, seed=settings.seed, greeting=settings.greeting
            )
        self.turns: list[Turn] = []
        if self.part is not None and (greeting := self.part.greeting()):
            self.turns.append(Turn("assistant", [Block("history", greeting)]))
        self.last: Reply | None = None
        self._start = self._num_calls = 0  # the first turn that prompts still hold
        self._prompt: list[int] = []
        self._exchange: Exchange | None = None  # one that waits for results

    @property
    def context(self) -> int:
        return min(self.settings.context or self.model.context, self.model.context)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far as OpenAI's messages, without the system text."""
        return [
            {key: value for key, value in turn.to_message().items() if key != "origin"}
            for turn in self.turns
        ]

    # ---- saying ----

    def say(
        self, text: str, *, tool_choice: str | Mapping[str, Any] | None = None, **sampling: Any
    ) -> Reply:
        """One message and its reply. ContextError where what must be said does not fit; the session is as it was."""
        return self._drained(self.stream(text, tool_choice=tool_choice, **sampling))

    def stream(
        self, text: str, *, tool_choice: str | Mapping[str, Any] | None = None, **sampling: Any
    ) -> Iterator[str]:
        """As `say`, the answer's text piece by piece, without calls; the reply is in `last` at the end.

        Leaving early cuts the reply: what was given out stays. Where a guard stops the exchange its notice is the last piece.
        """
        if self._exchange is not None:
            raise UsageError(
                "tool calls wait for their results",
                do="give_results, or forget them with results of your own",
            )
        choice = choice_of(tool_choice, self.tools)
        grounding = (
            self.documents.ground(text, self.settings.passages, self.model.spec)
            if self.documents is not None
            else None
        )
        exchange = Exchange(text, grounding, [Turn("user", [Block("user", text)])])
        return self._answer(exchange, choice, sampling)

    def give_results(self, results: Mapping[str, str], **sampling: Any) -> Reply:
        """Goes on after calls that the caller has run: their results by id.

        Raises:
            UsageError: no call waits, or not these.
        """
        exchange = self._exchange
        wanted = [call.id for call in exchange.waiting] if exchange is not None else []
        if exchange is None or sorted(wanted) != sorted(results):
            raise UsageError(
                "results do not belong to the calls that wait",
                expected=" ".join(wanted) or "none",
                found=list(results),
            )
        self._exchange = None
        for call in exchange.waiting:
            self._take_result(exchange, ToolResult(call, results[call.id]))
        exchange.waiting = []
        return self._drained(self._answer(exchange, "auto", sampling))

    async def asay(self, text: str, **options: Any) -> Reply:
        """As `say`, for asyncio; cancelling the task cuts the reply."""
        async for _ in self.astream(text, **options):
            pass
        assert self.last is not None
        return self.last

    async def astream(self, text: str, **options: Any) -> AsyncIterator[str]:
        """As `stream`, for asyncio; each step runs in a thread."""
        pieces = self.stream(text, **options)
        step: asyncio.Future[str | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
                if (piece := await asyncio.shield(step)) is None:
                    return
                yield piece
        finally:
            if step is not None and not step.done():
                with contextlib.suppress(Exception):
                    await step  # a running generator cannot be closed
            pieces.close()  # type: ignore[attr-defined]

    def _drained(self, pieces: Iterator[str]) -> Reply:
        collections.deque(pieces, maxlen=0)
        assert self.last is not None
        return self.last

    def _answer(self, exchange: Exchange, choice: str, sampling: dict[str, Any]) -> Iterator[str]:
        try:
            checked(self.guard, exchange.text, "input")
            if (
                self.documents is None
                or exchange.grounding is None
                or exchange.grounding.is_enough
                or not self._is_grounded
            ):
                yield from self._written(exchange, choice, sampling)
            else:
                self._finish(exchange, None, "stop")
                yield self.documents.not_said
        except Stopped as stopped:
            yield self._stop(exchange, stopped.verdict)

    def _written(self, exchange: Exchange, choice: str, sampling: dict[str, Any]) -> Iterator[str]:
        for number in range(self.settings.rounds + 1):
            is_last = number == self.settings.rounds
            choice = "none" if is_last else "auto" if exchange.calls else choice
            exchange.text_out = None
            try:
                reason, tail = yield from self._ask(exchange, choice, sampling)
            except (GeneratorExit, KeyboardInterrupt):
                self._finish(exchange, exchange.given, "cancelled")
                raise
            found = exchange.parser
            if exchange.may_retry:
                sampling = exchange.retried({**self.sampling, **sampling})
                continue
            if not found.calls:
                break
            if tail:
                yield tail
            self._call(exchange, found)
            if exchange.waiting:
                self._exchange, reason = exchange, "tool_calls"
                break
        exchange.refused = (*found.refused, *found.failed)
        text, citations = exchange.read(found.text.strip(), reason, is_grounded=self._is_grounded)
        if self._is_grounded and exchange.grounding is not None:
            tail = text or ""
        self._finish(exchange, text, reason, citations)
        if tail and not found.calls:
            yield tail

    @property
    def _is_grounded(self) -> bool:
        if self.documents is None or self.settings.grounded is not None:
            return bool(self.settings.grounded) and self.documents is not None
        return not self.tools and self.part is None

    def _ask(
        self, exchange: Exchange, choice: str, sampling: dict[str, Any]
    ) -> Generator[str, None, tuple[ReplyEnd, str]]:
        """Lets the model write once; returns why it ended, and the text that came with its end."""
        options = {**self.sampling, **sampling}
        reserve = options["max_tokens"] = options.get("max_tokens") or min(
            self.settings.reserve, self.context // 2
        )
        plan, tools = self._plan(exchange)
        chat_template, tokenizer = self.model.chat_template, self.model.tokenizer
        prompt, ledger = fit(
            plan, chat_template, tokenizer, context=self.context, reserve=reserve, where="session"
        )
        self._absorb(plan)
        exchange.num_passages = count_passages(plan)
        exchange.ledger, self._prompt = ledger, prompt.encode(tokenizer)
        policy = self.model.limits.with_calls(self.settings.calls)
        intent = exchange.intent(policy, self.turns, tools, choice)
        mask = self._mask(exchange, tools, intent)
        if mask is not None:
            options["make_mask"] = mask
        may_call = self.tools if intent.choice != "none" else ()
        is_quoting = self._is_grounded and exchange.grounding is not None
        parser = StreamParser(chat_template, may_call, is_strict=mask is not None, keeps_space=True)
        text_out = exchange.text_out = ReplyText(parser, self.guard, is_quoting=is_quoting)
        outputs = self.model.stream_outputs(prompt, **options)
        with contextlib.closing(outputs):  # type: ignore[type-var]
            for output in outputs:
                self._prompt += output.new_tokens
                is_end = output.finish_reason is not None
                piece = text_out.push(output.text, is_end=is_end)
                if piece and not is_end:
                    yield piece
        assert output.usage is not None
        exchange.usages.append(output.usage)
        return "length" if output.finish_reason == "length" else "stop", piece

    def _mask(self, exchange: Exchange, tools: Sequence[Tool], intent: Any) -> MaskFactory | None:
        answer = AnswerForm()
        if self._is_grounded and exchange.grounding is not None:
            lark = exchange.grounding.grammar(exchange.num_passages, self.model.spec)
            answer = AnswerForm(lark=lark)
        return reply_mask(
            self.model.chat_template,
            self.model.tokenizer,
            tools,
            intent,
            is_parallel=self.settings.is_parallel,
            answer=answer,
            opens_with_word=bool(exchange.results) and self._repeats_question,
        )

    # ---- the prompt ----

    def _plan(self, exchange: Exchange) -> tuple[Plan, Sequence[Tool]]:
        history = self.turns[self._start :]
        tokenizer = self.model.tokenizer
        grounding = exchange.grounding
        instructions = grounding.instructions if grounding is not None and self._is_grounded else ""
        system = "\n\n".join(text for text in (self.system, instructions) if text)
        if self.part is not None:
            plan = self.part.plan(
                history,
                exchange.text,
                count_tokens=lambda text: len(tokenizer.encode(text)),
                context=self.context,
                system=system,
            )
        else:
            plan = Plan(
                [Block("system", system)] if system else [],
                list(history),
                [Turn("user", [Block("user", exchange.text)])],
            )
        plan.newest += exchange.newest[1:]
        if exchange.results and self._repeats_question:
            said = [
                Block("tools", f"{result.call.name} says: {result.content}")
                for result in exchange.results
            ]
            again = Block("user", f"Now answer my question in a sentence: {exchange.text}")
            plan.newest.append(Turn("user", [*said, again]))
        plan.contexts, plan.num_fixed = list(self._fixed), len(self._fixed)
        if exchange.grounding is not None and exchange.grounding.is_enough:
            self._place_passages(plan, exchange.grounding)
        if self._start:
            plan.dropped_turns = list(self.turns[: self._start])
            plan.dropped.insert(0, f"history: {self._start} oldest messages")
        used = {call.name for turn in history + exchange.newest for call in turn.calls}
        tools, left_out = shown(
            self.tools, exchange.text, tokenizer, self.settings.tools_budget, keep=used
        )
        plan.dropped += left_out
        plan.tools = [tool.to_openai() for tool in tools]
        return plan, tools

    @property
    def _repeats_question(self) -> bool:
        if self.settings.repeats_question is not None:
            return self.settings.repeats_question
        chat_template, template = self.model.chat_template, self.model.tokenizer.chat_template or ""
        return chat_template.name != "nemotron" and "tool" not in template

    def _place_passages(self, plan: Plan, grounding: Grounding) -> None:
        if self.settings.passages_in == "system":
            plan.contexts = [*self._fixed, *grounding.contexts]
            return
        blocks = [
            Block("documents", text, "documents", -i, f"passage {i}")
            for i, text in enumerate(grounding.contexts, 1)
        ]
        plan.newest[0].blocks[:0] = blocks

    def _absorb(self, plan: Plan) -> None:
        """What left the prompt stays out, so that the next prompts begin alike."""
        newly = plan.dropped_turns[self._start :]
        self._start = len(plan.dropped_turns)
        if self.part is not None and newly:
            self.part.absorb(
                sum(turn.role in ("user", "assistant") and not turn.calls for turn in newly)
            )

    # ---- calls ----

    def _call(self, exchange: Exchange, found: StreamParser) -> None:
        calls = numbered(found.calls, self._num_calls + 1)
        self._num_calls += len(calls)
        exchange.note_calls(found.text.strip(), calls)
        runs = {tool.name: tool.run for tool in self.tools}
        for call in calls:
            if runs[call.name] is None:
                exchange.waiting.append(call)
        if exchange.waiting:
            exchange.waiting = calls  # all of one message, so that results stand in order
            return
        for call in calls:
            self._take_result(
                exchange,
                run_call(self.tools, call, timeout_s=self.settings.timeout_s, approve=self.approve),
            )

    def _take_result(self, exchange: Exchange, result: ToolResult) -> None:
        result = clamped(result, self.model.tokenizer, self.settings.max_result)
        exchange.note_result(result)

    # ---- the end of an exchange ----

    def _stop(self, exchange: Exchange, verdict: Verdict) -> str:
        """Nothing of a stopped exchange stays, save its reply."""
        assert self.guard is not None
        self._prompt = []
        self.last = Reply(
            self.guard.notice,
            "content_filter",
            tuple(exchange.usages),
            tool_calls=tuple(exchange.calls),
            results=tuple(exchange.results),
            ledger=exchange.ledger,
            verdict=verdict,
        )
        return self.guard.notice

    def _finish(
        self,
        exchange: Exchange,
        answer: str | None,
        reason: ReplyEnd,
        citations: tuple[Any, ...] = (),
    ) -> None:
        """Ends an exchange; without an answer the documents do not say."""
        is_answered, grounding = answer is not None, exchange.grounding
        not_said = self.documents.not_said if self.documents is not None else ""
        text = not_said if answer is None else answer
        self.last = Reply(
            text,
            reason,
            tuple(exchange.usages),
            tool_calls=tuple(exchange.calls),
            results=tuple(exchange.results),
            reasoning=exchange.parser.reasoning if exchange.text_out is not None else "",
            raw_text=exchange.text_out.raw if exchange.text_out is not None else "",
            refused=exchange.refused,
            notes=tuple(exchange.parser.notes) if exchange.text_out is not None else (),
            citations=citations,
            is_answered=is_answered,
            confidence=grounding.confidence if grounding is not None else None,
            ledger=exchange.ledger,
        )
        if reason == "tool_calls":
            return
        for turn in exchange.newest:
            for block in turn.blocks:
                block.origin = "history" if block.origin == "user" else block.origin
        self.turns += [*exchange.newest, Turn("assistant", [Block("history", text)])]
        if self.part is not None:
            self.part.commit(exchange.text, text, was_cut=reason == "cancelled")

    def undo(self) -> None:
        """Forgets the last exchange."""
        self._exchange = None
        while self.turns and self.turns[-1].role != "user":
            self.turns.pop()
        if self.turns:
            self.turns.pop()
        self._start = min(self._start, len(self.turns))

    # ---- saved sessions ----

    @property
    def _owner(self) -> str:
        return self.part.digest if self.part is not None else "session"

    def to_document(self, since: int = 0) -> dict[str, Any]:
        """The conversation as plain JSON, for `restore`; its turns from number `since` on."""
        turns = [saved.turn_document(turn) for turn in self.turns[since:]]
        document = {
            "system": self.system,
            "turns": turns,
            "start": self._start,
            "calls": self._num_calls,
        }
        return document if self.part is None else {**document, "part": self.part.to_document()}

    def restore(self, document: Mapping[str, Any], where: object = None) -> None:
        """Goes on with a conversation that `to_document` gave. Raises DocumentError where it gave another one."""
        try:
            turns = [saved.read_turn(turn) for turn in document["turns"]]
            start, num_calls, system = (
                int(document["start"]),
                int(document["calls"]),
                str(document["system"]),
            )
            if self.part is not None:
                self.part.restore(document["part"])
        except (KeyError, TypeError, ValueError) as error:
            raise DocumentError(
                f"not a saved session ({type(error).__name__})", where=where
            ) from error
        self.turns, self._start, self._num_calls, self.system, self._exchange = (
            turns,
            start,
            num_calls,
            system,
            None,
        )

    def save(self, path: str | Path) -> None:
        """Writes the conversation (`path`) and its keys and values (`.kv`)."""
        saved.save(path, self.model, self._prompt, self._owner, self.to_document())

    def resume(self, path: str | Path) -> None:
        """Goes on with a saved conversation; with the same model without computing its prompt again.

        Raises:
            DocumentError: not a session, or of another character.
        """
        document = saved.read(path, self._owner)
        self.restore(document, path)
        saved.load_state(path, self.model, document)


__all__ = ["Reply", "Session", "SessionSettings"]
