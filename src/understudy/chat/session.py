"""`Session`: a conversation with a system text, tools, documents and a character, each optional.

session = Session(model, system="You are brief.", tools=[weather])
reply = session.say("What is the weather in Paris?")
print(reply.text, reply.tool_calls, reply.ledger)

A reply is held to what it may be: calls to their schemas, answers from documents to quotes that
stand in them. What a tool returns, a document holds or a card says is data, and opens no turn.
Nothing leaves the prompt without a line in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy.chat.exchange import Exchange, SessionAnswer
from understudy.chat.history import History
from understudy.chat.saved import Computed, SavedConversation
from understudy.chat.settings import Approve, SessionSettings
from understudy.chat.setup import SessionSetup
from understudy.chat.sources import ActiveCharacter, Character, Documents
from understudy.chat.stepping import AsyncReplies
from understudy.chat.writing import ReplyWriter
from understudy.errors import UsageError
from understudy.generation.calls import choice_of
from understudy.generation.moderation import Stopped, TextGuard, checked
from understudy.generation.plan import Block, Turn
from understudy.generation.reply import Reply
from understudy.generation.tools import GivenTool, Tool, as_tool_or_source, as_tools
from understudy.model import Model


class Session(AsyncReplies, SavedConversation):
    """See the module's docstring. One thread uses a session; many may share its model.

    `say`, `stream`, `asay` and `astream` take:
        text: the user's message.
        tool_choice: auto (default), none, required, a tool's name, or OpenAI's dict of a name.
        sampling: fields of `SamplingParams` for this reply, before those of the session.
    They raise ContextError where what must be said does not fit, and UsageError while calls wait
    for results; the session is as it was then.
    """

    def __init__(
        self,
        model: Model,
        *,
        system: str = "",
        tools: Iterable[GivenTool] = (),
        documents: Documents | Sequence[str] | None = None,
        character: Character | None = None,
        settings: SessionSettings | None = None,
        approve: Approve | None = None,
        guard: TextGuard | None = None,
        **sampling: Any,
    ) -> None:
        """Args:
            system: what the model is told first.
            tools: functions, `Tool`s, OpenAI's dicts (the caller gives the results), or an
                `McpServer`, whose tools are those that it has when a message comes.
            documents: a `rag.Index`, or texts that stand in every prompt.
            character: a `roleplay.Card`.
            approve: asked before a tool runs; False refuses the call.
            guard: checks messages, answers and calls, and stops what it flags: see
                `generation.moderation`.
                None: nothing is checked.
            sampling: settings of `SamplingParams` for every reply.

        Raises:
            SchemaError, UsageError: a tool or a setting cannot be used.
        """
        if isinstance(documents, str):
            raise UsageError(
                "documents are an index or a list of texts", where="documents", found="one text"
            )
        self.model, self.system, self.settings = model, system, settings or SessionSettings()
        self._tools, self.approve = tuple(as_tool_or_source(tool) for tool in tools), approve
        as_tools(self._tools)
        job = bool(documents or character)
        self.guard, self.sampling = guard, model.limits.with_job_adapter(sampling, job)
        self.texts = tuple(documents) if isinstance(documents, Sequence) else ()
        self.documents = None if isinstance(documents, Sequence) else documents
        self._card = character
        self.reset()

    def reset(self) -> None:
        """Begins anew; a character forgets."""
        settings, self.history = self.settings, History()
        self.character: ActiveCharacter | None = None
        if self._card is not None:
            self.character = self._card.play(
                user=settings.user, seed=settings.seed, greeting=settings.greeting
            )
        if self.character is not None and (greeting := self.character.greeting()):
            self.turns.append(Turn("assistant", [Block("history", greeting)]))
        self.last: Reply | None = None
        self._waiting: Exchange | None = None  # for results of tools that the caller runs

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model may call now."""
        return as_tools(self._tools)

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer."""
        return self._setup().context

    @property
    def turns(self) -> list[Turn]:
        """The conversation so far."""
        return self.history.turns

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far as OpenAI's messages, without the system text."""
        return self.history.messages

    def _setup(self) -> SessionSetup:
        sources = self.tools, self.texts, self.documents, self.character
        return SessionSetup(
            self.model, self.settings, self.system, *sources, self.guard, self.approve
        )

    # ---- saying ----

    def say(
        self, text: str, *, tool_choice: str | Mapping[str, Any] | None = None, **sampling: Any
    ) -> Reply:
        """One message and its reply."""
        return self._drained(self.stream(text, tool_choice=tool_choice, **sampling))

    def stream(
        self, text: str, *, tool_choice: str | Mapping[str, Any] | None = None, **sampling: Any
    ) -> Iterator[str]:
        """As `say`, the answer's text piece by piece, without calls; the reply is in `last` at the
        end.

        Leaving early cuts the reply: what was given out stays. Where a guard stops the exchange its
        notice is the last piece.
        """
        if self._waiting is not None:
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
        said = [turn.text for turn in self.turns]
        exchange = Exchange(text, grounding, said, [Turn("user", [Block("user", text)])])
        return self._answer(exchange, choice, sampling)

    def give_results(self, results: Mapping[str, str], **sampling: Any) -> Reply:
        """Goes on after calls that the caller has run: their `results` by id; `sampling` as of
        `say`.

        Raises:
            UsageError: no call waits, or not these calls, or not all of them.
        """
        if (exchange := self._waiting) is None:
            raise UsageError("no tool call waits for a result", found=list(results))
        given = exchange.results_of_caller(results)
        writer, self._waiting = ReplyWriter(self._setup(), self.history, exchange), None
        for result in given:
            writer.take(result)
        return self._drained(self._answer(exchange, "auto", sampling))

    def _answer(self, exchange: Exchange, choice: str, sampling: dict[str, Any]) -> Iterator[str]:
        writer = ReplyWriter(self._setup(), self.history, exchange)
        try:
            checked(self.guard, exchange.text, "input")
            answer = yield from writer.answer(choice, {**self.sampling, **sampling})
        except Stopped as stopped:  # nothing of such an exchange stays, save its reply
            assert self.guard is not None
            self.history.tokens = []
            self.last = exchange.stopped_reply(self.guard.notice, stopped.verdict)
            yield self.guard.notice
        except (GeneratorExit, KeyboardInterrupt):
            if writer.was_cut:
                self._finish(exchange, SessionAnswer(exchange.given, "cancelled"))
            raise
        else:
            self._finish(exchange, answer)
            if answer.tail:
                yield answer.tail

    def _finish(self, exchange: Exchange, answer: SessionAnswer) -> None:
        not_said = self.documents.not_said if self.documents is not None else ""
        self.last = exchange.reply(answer, not_said)
        if answer.reason == "tool_calls":
            self._waiting = exchange
            return
        self.history.add(exchange.newest, self.last.text, self.last.reasoning)
        if self.character is not None:
            was_cut = answer.reason == "cancelled"
            self.character.commit(exchange.text, self.last.text, was_cut=was_cut)

    def undo(self) -> None:
        """Forgets the last exchange."""
        self._waiting = None
        self.history.undo()

    # ---- saved sessions ----

    @property
    def owner(self) -> str:
        """Of a saved session: its character, or none."""
        return self.character.digest if self.character is not None else "session"

    @property
    def computed(self) -> Computed:
        """The last prompt and what was written behind it, and the adapters that acted."""
        return self.history.tokens, self.history.adapter

    def to_document(self, since: int = 0) -> dict[str, Any]:
        """The conversation as plain JSON, for `restore`; its turns from number `since` on."""
        document = {"system": self.system, **self.history.to_document(since)}
        if self.character is not None:
            document["character"] = self.character.to_document()
        return document

    def read_document(self, document: Mapping[str, Any]) -> None:
        """Takes over the conversation of a `document` of `to_document`: see `restore`."""
        history, system = History.from_document(document), str(document["system"])
        if self.character is not None:
            self.character.read_document(document["character"])
        history.tokens = self.history.tokens
        self.history, self.system, self._waiting = history, system, None


__all__ = ["Reply", "Session", "SessionSettings"]
