"""What is attacked: system text, character, documents, tools and sampling, as plain JSON; and the
`Session` that it makes.

Tools are scripts: the model's call gets the text that the setup says, and nothing is carried out.
So an order in a tool's result, in a document or in a card is part of the setup, and stays with the
conversation.
"""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from understudy.chat.session import Session, SessionSettings
from understudy.chat.sources import Documents
from understudy.errors import UsageError
from understudy.generation.intent import MODEL_ALONE
from understudy.generation.tools import Tool
from understudy.judge.safety.moderation import Guard
from understudy.model import Model
from understudy.roleplay.card import Card

SAMPLING: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 2.0),
    "top_p": (float, 0.0, 1.0),
    "seed": (int, 0, 2**31 - 1),
    "max_tokens": (int, 1, 32_768),
}
DEFAULTS = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "max_tokens": 400}
MAX_CHARACTERS = 2_000_000  # of a whole setup


@dataclass(frozen=True, slots=True)
class Setup:
    """Args:
    character: a card's document, version 1 to 3.
    user: the attacker's name, for characters.
    documents: `{"name", "text"}` each; they stand in every prompt, or, `is_searched`, their
    passages are found for each message (extra `rag`).
    tools: OpenAI's form each, with `returns` beside `function`: what a call of it gives back.
    is_guarded: a `safety.guard.Guard` with its word lists and personal data stands before and
    behind the model.
    """

    system: str = ""
    character: Mapping[str, Any] | None = None
    user: str = "User"
    documents: tuple[Mapping[str, str], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    is_searched: bool = False
    is_guarded: bool = False

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Setup:
        """Checks all of it.

        Raises:
            UsageError, SchemaError, DocumentError: what is wrong, by the name of its field.
        """
        names = [one.name for one in fields(cls)]
        if unknown := sorted(set(document) - set(names)):
            raise UsageError(
                "unknown field", where="setup", expected=" ".join(names), found=" ".join(unknown)
            )
        if len(json.dumps(document)) > MAX_CHARACTERS:
            raise UsageError(
                "the setup is too large",
                where="setup",
                expected=f"at most {MAX_CHARACTERS} characters",
            )
        made = cls(
            _text(document.get("system"), "system"),
            document.get("character"),
            _text(document.get("user"), "user") or "User",
            tuple(_document(one) for one in _list(document.get("documents"), "documents")),
            tuple(_list(document.get("tools"), "tools")),
            _sampling(document.get("sampling")),
            _flag(document.get("is_searched"), "is_searched"),
            _flag(document.get("is_guarded"), "is_guarded"),
        )
        made.card()
        made.scripts()
        return made

    def to_document(self) -> dict[str, Any]:
        return {
            "system": self.system,
            "character": self.character,
            "user": self.user,
            "documents": [dict(one) for one in self.documents],
            "tools": [dict(one) for one in self.tools],
            "sampling": dict(self.sampling),
            "is_searched": self.is_searched,
            "is_guarded": self.is_guarded,
        }

    def card(self) -> Card | None:
        if self.character is None:
            return None
        if not isinstance(self.character, Mapping):
            raise UsageError(
                "not a card",
                where="character",
                expected="a JSON object",
                found=type(self.character).__name__,
            )
        return Card(json.loads(json.dumps(self.character)))

    def scripts(self) -> list[Tool]:
        found = []
        for one in self.tools:
            returns = one.get("returns", "") if isinstance(one, Mapping) else None
            if not isinstance(returns, str):
                raise UsageError(
                    "what a tool returns is a text", where="tools", found=repr(returns)[:100]
                )
            found.append(
                Tool.from_openai(
                    {name: value for name, value in one.items() if name != "returns"},
                    run=_scripted(returns),
                )
            )
        return found

    def open(self, model: Model) -> Session:
        """A fresh session in this setup.

        Raises:
            MissingError: documents are to be searched, and the extra `rag` is not installed.
        """
        seed = int(self.sampling["seed"])
        settings = SessionSettings(user=self.user, seed=seed, timeout_s=5, calls=MODEL_ALONE)
        documents = (
            self._index()
            if self.is_searched and self.documents
            else [one["text"] for one in self.documents] or None
        )
        return Session(
            model,
            system=self.system,
            tools=self.scripts(),
            documents=documents,
            character=self.card(),
            settings=settings,
            guard=Guard() if self.is_guarded else None,
            **self.sampling,
        )

    def _index(self) -> Documents:
        """The documents as an index, which lasts as long as its session."""
        from understudy.rag.document import Builder
        from understudy.rag.index import Index

        folder = tempfile.TemporaryDirectory(prefix="understudy-")
        index = Index(Path(folder.name) / "documents.index")
        for one in self.documents:
            builder = Builder(title=one["name"])
            for paragraph in one["text"].split("\n\n"):
                builder.add(paragraph)
            index.add_document(one["name"], builder.build())
        weakref.finalize(index, folder.cleanup)
        return index


def _scripted(returns: str) -> Callable[..., str]:
    return lambda **_: returns


def _flag(value: Any, where: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise UsageError("not true or false", where=where, found=repr(value)[:100])
    return bool(value)


def _text(value: Any, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise UsageError("not a text", where=where, found=type(value).__name__)
    return value or ""


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list | tuple):
        raise UsageError("not a list", where=where, found=type(value).__name__)
    return list(value or ())


def _document(one: Any) -> dict[str, str]:
    if not isinstance(one, Mapping) or not all(
        isinstance(one.get(name), str) for name in ("name", "text")
    ):
        raise UsageError(
            "not a document",
            where="documents",
            expected='{"name": "…", "text": "…"}',
            found=repr(one)[:100],
        )
    return {"name": one["name"], "text": one["text"]}


def _sampling(given: Any) -> dict[str, Any]:
    values = dict(DEFAULTS)
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(
            "not settings",
            where="sampling",
            expected=" ".join(SAMPLING),
            found=type(given).__name__,
        )
    for name, value in (given or {}).items():
        if name not in SAMPLING:
            raise UsageError(
                "no such setting", where="sampling", expected=" ".join(SAMPLING), found=name
            )
        kind, low, high = SAMPLING[name]
        is_number = isinstance(value, int | float if kind is float else int) and not isinstance(
            value, bool
        )
        if not is_number or not low <= value <= high:
            raise UsageError(
                "setting is out of range",
                where=f"sampling.{name}",
                expected=f"{low:g} to {high:g}",
                found=value,
            )
        values[name] = kind(value)
    return values
