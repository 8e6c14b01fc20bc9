"""What is attacked: system text, character, documents, tools and sampling, as plain JSON; and the `Session` that it makes.

Tools are scripts: the model's call gets the text that the setup says, and nothing is carried out. So an order in a tool's result, in a
document or in a card is part of the setup, and stays with the conversation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from understudy.chat.session import Session, SessionSettings
from understudy.chat.tools import Tool
from understudy.errors import UsageError
from understudy.model import Model
from understudy.roleplay.card import Card

SAMPLING: dict[str, tuple[type, float, float]] = {
    "temperature": (float, 0.0, 2.0), "top_p": (float, 0.0, 1.0), "seed": (int, 0, 2**31 - 1), "max_tokens": (int, 1, 32_768),
}  # fmt: skip
DEFAULTS = {"temperature": 0.0, "top_p": 1.0, "seed": 0, "max_tokens": 400}
MAX_CHARACTERS = 2_000_000  # of a whole setup


@dataclass(frozen=True, slots=True)
class Setup:
    """Args:
    character: a card's document, version 1 to 3.
    user: the attacker's name, for characters.
    documents: `{"name", "text"}` each; they stand in every prompt.
    tools: OpenAI's form each, with `returns` beside `function`: what a call of it gives back.
    """

    system: str = ""
    character: Mapping[str, Any] | None = None
    user: str = "User"
    documents: tuple[Mapping[str, str], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    sampling: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Setup:
        """Checks all of it.

        Raises:
            UsageError, SchemaError, DocumentError: what is wrong, by the name of its field.
        """
        unknown = sorted(set(document) - {"system", "character", "user", "documents", "tools", "sampling"})
        if unknown:
            raise UsageError(
                "unknown field", where="setup", expected="system character user documents tools sampling", found=unknown
            )
        if len(json.dumps(document)) > MAX_CHARACTERS:
            raise UsageError("the setup is too large", where="setup", expected=f"at most {MAX_CHARACTERS} characters")
        made = cls(
            _text(document.get("system"), "system"), document.get("character"), _text(document.get("user"), "user") or "User",
            tuple(_document(one) for one in _list(document.get("documents"), "documents")),
            tuple(_list(document.get("tools"), "tools")), _sampling(document.get("sampling")),
        )  # fmt: skip
        made.card()
        made.scripts()
        return made

    def to_document(self) -> dict[str, Any]:
        return {
            "system": self.system, "character": self.character, "user": self.user, "documents": [dict(one) for one in self.documents],
            "tools": [dict(one) for one in self.tools], "sampling": dict(self.sampling),
        }  # fmt: skip

    def card(self) -> Card | None:
        if self.character is None:
            return None
        if not isinstance(self.character, Mapping):
            raise UsageError("not a card", where="character", expected="a JSON object", found=type(self.character).__name__)
        return Card(json.loads(json.dumps(self.character)))

    def scripts(self) -> list[Tool]:
        found = []
        for one in self.tools:
            returns = one.get("returns", "") if isinstance(one, Mapping) else None
            if not isinstance(returns, str):
                raise UsageError("what a tool returns is a text", where="tools", found=repr(returns)[:100])
            found.append(
                Tool.from_openai({name: value for name, value in one.items() if name != "returns"}, run=_scripted(returns))
            )
        return found

    def open(self, model: Model) -> Session:
        """A fresh session in this setup."""
        settings = SessionSettings(user=self.user, seed=int(self.sampling["seed"]), timeout_s=5)
        return Session(
            model, system=self.system, tools=self.scripts(), documents=[one["text"] for one in self.documents] or None,
            character=self.card(), settings=settings, **self.sampling,
        )  # fmt: skip


def _scripted(returns: str) -> Callable[..., str]:
    return lambda **_: returns


def _text(value: Any, where: str) -> str:
    if value is not None and not isinstance(value, str):
        raise UsageError("not a text", where=where, found=type(value).__name__)
    return value or ""


def _list(value: Any, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list | tuple):
        raise UsageError("not a list", where=where, found=type(value).__name__)
    return list(value or ())


def _document(one: Any) -> dict[str, str]:
    if not isinstance(one, Mapping) or not all(isinstance(one.get(name), str) for name in ("name", "text")):
        raise UsageError("not a document", where="documents", expected='{"name": "…", "text": "…"}', found=repr(one)[:100])
    return {"name": one["name"], "text": one["text"]}


def _sampling(given: Any) -> dict[str, Any]:
    values = dict(DEFAULTS)
    if given is not None and not isinstance(given, Mapping):
        raise UsageError("not settings", where="sampling", expected=" ".join(SAMPLING), found=type(given).__name__)
    for name, value in (given or {}).items():
        if name not in SAMPLING:
            raise UsageError("no such setting", where="sampling", expected=" ".join(SAMPLING), found=name)
        kind, low, high = SAMPLING[name]
        is_number = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise UsageError("setting is out of range", where=f"sampling.{name}", expected=f"{low:g} to {high:g}", found=value)
        values[name] = kind(value)
    return values
