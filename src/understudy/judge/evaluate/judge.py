"""What tasks ask of a model: likelihoods, perplexity, greedy answers, calls, answers from
documents, a character's reply.

Calls are held to their schemas, answers from documents quote, characters speak through a session:
what is judged is what a user gets.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from jsonschema import Draft202012Validator

from understudy.chat.session import Session
from understudy.generation.calls import call_mask, read_calls
from understudy.generation.plan import Block, Turn
from understudy.generation.tools import Tool
from understudy.judge.benchmark.bfcl import BfclCase, tools_of
from understudy.judge.benchmark.perplexity import Perplexity, perplexity
from understudy.judge.evaluate.likelihood import ModelScorer, Scorer
from understudy.model import Model
from understudy.rag.answering import ask
from understudy.rag.document import Builder
from understudy.rag.index import Index
from understudy.roleplay.card import Card
from understudy.text.embed import open_embedder
from understudy.text.toolcalls import ParsedCall

MAX_CALL_TOKENS = 192
MAX_ANSWER_TOKENS = 160
MAX_REPLY_TOKENS = 80
PASSAGES = 5


@dataclass(frozen=True, slots=True)
class Called:
    """Calls of one answer, as the model wrote them; `are_valid` says whether each satisfies its
    schema."""

    calls: tuple[ParsedCall, ...]
    are_valid: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer from documents; `text` is None where it is that they do not say.

    `found` are the documents' names, the best first; `quotes` are (document, quoted words).
    """

    text: str | None
    found: tuple[str, ...]
    quotes: tuple[tuple[str, str], ...] = ()


class Judge:
    """One model under judgement; answers are greedy, so that a run repeats. A context manager,
    since it keeps indexes."""

    def __init__(self, model: Model, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.scorer: Scorer = ModelScorer(model)
        self._kept = ExitStack()
        self._indexes: dict[str, Index] = {}
        self._lock = threading.Lock()
        self.embedder = available_embedder()

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.close()
        self._indexes.clear()

    def perplexity(self, text: str) -> Perplexity:
        return perplexity(self.model, text)

    def answer(self, messages: Sequence[dict[str, Any]], max_tokens: int = 128) -> str:
        return self.model.generate(
            list(messages), temperature=0.0, max_tokens=max_tokens, seed=self.seed
        ).text

    def answer_logprobs(self, question: str, beginnings: Sequence[str]) -> list[float]:
        """Log-likelihood of each beginning of an answer to a user's question, in nats."""
        context = self.model.encode_prompt([{"role": "user", "content": question}])
        pairs = [(context, self.model.tokenizer.encode(text)) for text in beginnings]
        return [score.logprob for score in self.model.score_continuations(pairs)]

    def continuation(self, prompt: Sequence[int], num_tokens: int) -> tuple[int, ...]:
        """The greedy continuation of token ids."""
        return self.model.generate(
            list(prompt), temperature=0.0, max_tokens=num_tokens, ignore_eos=True
        ).tokens

    def calls(self, case: BfclCase, choice: str) -> Called:
        """What is called; `choice` is `auto` (the model may answer in words) or `required`."""
        documents = tools_of(case)
        tools = [Tool.from_openai(document) for document in documents]
        mask = call_mask(self.model.tokenizer, self.model.chat_template, tools, choice)
        reply = self.model.generate(
            list(case.messages),
            tools=documents,
            make_mask=mask,
            max_tokens=MAX_CALL_TOKENS,
            temperature=0.0,
            seed=self.seed,
        )
        read = read_calls(self.model.chat_template, reply.raw_text, tools)
        calls = (*read.calls, *(call for call, _ in read.refused))
        return Called(
            calls, bool(calls) and all(satisfies(call, documents) for call in calls), reply.raw_text
        )

    def ask(self, documents: Sequence[Mapping[str, str]], question: str) -> Answered:
        """Searches documents of `name` and `text` and answers from what is found."""
        answer = ask(
            self.model,
            self._index(documents),
            question,
            k=PASSAGES,
            max_tokens=MAX_ANSWER_TOKENS,
            seed=self.seed,
        )
        found = tuple(dict.fromkeys(passage.chunk.path for passage in answer.passages))
        return Answered(
            answer.text,
            found,
            tuple((citation.path, citation.quote) for citation in answer.citations),
        )

    def _index(self, documents: Sequence[Mapping[str, str]]) -> Index:
        key = hashlib.sha256(
            json.dumps([dict(document) for document in documents]).encode()
        ).hexdigest()
        with self._lock:
            if key not in self._indexes:
                folder = self._kept.enter_context(tempfile.TemporaryDirectory())
                index = self._kept.enter_context(
                    Index(Path(folder) / "x.index", embedder=self.embedder)
                )
                for document in documents:
                    builder = Builder()
                    for paragraph in document["text"].split("\n\n"):
                        builder.add(paragraph)
                    index.add_document(document["name"], builder.build())
                self._indexes[key] = index
            return self._indexes[key]

    def play(self, card: Mapping[str, Any], messages: Sequence[Mapping[str, str]]) -> str:
        """A character's reply to the last of `messages` of user and assistant in turn."""
        session = Session(self.model, character=Card(dict(card)), temperature=0.0, seed=self.seed)
        assert session.character is not None
        *earlier, last = messages
        for asked, said in zip(earlier[::2], earlier[1::2], strict=True):
            session.history.add([Turn("user", [Block("user", asked["content"])])], said["content"])
            session.character.commit(asked["content"], said["content"])
        return session.say(last["content"], max_tokens=MAX_REPLY_TOKENS).text


def available_embedder() -> str:
    """The default embedder where the extra `rag` is installed, else the one that needs nothing."""
    try:
        return "wordllama" if open_embedder("wordllama").dim else "hashing"
    except (
        Exception
    ):  # not installed, or its files are not there: the report says which one was used
        return "hashing"


def satisfies(call: ParsedCall, documents: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a call names an offered function, gives only its parameters, and satisfies its
    schema."""
    for document in documents:
        function = document["function"]
        if function["name"] == call.name:
            is_known = set(call.arguments) <= set(function["parameters"]["properties"])
            return is_known and bool(
                Draft202012Validator(function["parameters"]).is_valid(call.arguments)
            )
    return False
