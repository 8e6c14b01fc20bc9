"""Saved conversations: their text as JSON, beside it the keys and values of their prompt."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from understudy.atomic import written_aside
from understudy.engine import AdapterAsked
from understudy.errors import DocumentError, FormatError, MissingError, UnderstudyWarning
from understudy.generation.plan import Block, Turn
from understudy.model import Model
from understudy.text.toolcalls import ParsedCall

FORMAT = 2
Computed = tuple[list[int], AdapterAsked | None]  # a prompt, and the adapters that acted on it


class SavedConversation(ABC):
    """`save` and `resume` for whatever tells its conversation as a document."""

    model: Model
    sampling: Mapping[str, Any] = MappingProxyType({})

    @property
    def adapter(self) -> AdapterAsked | None:
        """Which of the model's adapters act on it; None: those that act on all."""
        return self.sampling.get("adapter")

    @property
    @abstractmethod
    def owner(self) -> str:
        """What a saved conversation belongs to: only that may resume it."""

    @property
    @abstractmethod
    def computed(self) -> Computed:
        """The last prompt, whose keys and values are saved too, and the adapters that acted on it:
        those of a session with tools act on some of its requests alone.
        """

    @abstractmethod
    def to_document(self) -> dict[str, Any]:
        """The conversation as plain JSON."""

    @abstractmethod
    def read_document(self, document: Mapping[str, Any]) -> None:
        """Goes on with what `to_document` gave; KeyError, TypeError or ValueError where it is
        something else, and then all is as it was.
        """

    def restore(self, document: Mapping[str, Any], where: object = None) -> None:
        """Goes on with a conversation that `to_document` gave.

        Raises:
            DocumentError: something else; all is as it was.
        """
        try:
            self.read_document(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DocumentError(
                f"not a saved session ({type(error).__name__})", where=where
            ) from error

    def save(self, path: str | Path, *, with_state: bool = True) -> None:
        """Writes the conversation (`path`) and its keys and values (`path` + `.kv`).

        Args:
            with_state: without it `path` alone is written, some kilobytes; `resume` then computes
                the prompt again.
        """
        active = self.model.active_adapters(self.adapter)
        tokens, adapter = self.computed
        state = _state_path(Path(path))
        if with_state and tokens:
            self.model.save_state(state, tokens, adapter)
        else:  # what an earlier save left belongs to another prompt
            state.unlink(missing_ok=True)
        document = {"adapters": active.identity, **self.to_document()}
        save(path, self.model, self.owner, document)

    def resume(self, path: str | Path) -> None:
        """Goes on with a saved conversation; with the same model without computing its prompt
        again.

        Raises:
            DocumentError: not a session, or of another character.
        """
        document = read(path, self.owner)
        self.restore(document, path)
        if document.get("adapters", "") != self.model.active_adapters(self.adapter).identity:
            what = f"{path}: was written under other adapters than act now"
            warnings.warn(what, UnderstudyWarning, stacklevel=2)
        load_state(path, self.model, document)


def save(path: str | Path, model: Model, owner: str, document: dict[str, Any]) -> None:
    """Writes a conversation; `owner` says what it belongs to."""
    path = Path(path)
    document = {"format": FORMAT, "owner": owner, "model": model.fingerprint, **document}
    with written_aside(path) as aside:
        aside.write_text(json.dumps(document, ensure_ascii=True), encoding="utf-8")


def read(path: str | Path, owner: str) -> dict[str, Any]:
    """The document of a saved conversation.

    Raises:
        DocumentError: not there, not one, or of another owner.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        found = document["format"], document["owner"], document["model"]
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise DocumentError(what, where=path, do="name a file that `save` wrote") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(f"not a saved session ({type(error).__name__})", where=path) from error
    if found[:2] != (FORMAT, owner):
        raise DocumentError(
            "session belongs to another character or setting",
            where=path,
            expected=owner,
            found=found[1],
        )
    return dict(document)


def load_state(path: str | Path, model: Model, document: dict[str, Any]) -> None:
    """Brings the prompt's keys and values back; of another model, or damaged, they are computed
    again when they are needed.
    """
    state = _state_path(Path(path))
    if document["model"] == model.fingerprint and state.is_file():
        try:
            model.load_state(state)
        except (FormatError, MissingError):
            state.unlink(missing_ok=True)


def turn_document(turn: Turn) -> dict[str, Any]:
    calls = [asdict(call) for call in turn.calls]
    thought = {"reasoning": turn.reasoning} if turn.reasoning else {}
    return {"role": turn.role, "text": turn.text, "calls": calls, "ids": list(turn.ids), **thought}


def read_turn(document: dict[str, Any]) -> Turn:
    """What `turn_document` wrote; KeyError, TypeError or ValueError where it is something else."""
    role, text = document["role"], document["text"]
    if role not in ("user", "assistant", "tool") or not isinstance(text, str):
        raise ValueError("not a message")
    calls = tuple(ParsedCall(call["name"], dict(call["arguments"])) for call in document["calls"])
    ids = tuple(str(id) for id in document.get("ids", ()))  # files of version 0.1 have none
    blocks = [Block("tools" if role == "tool" or calls else "history", text)]
    return Turn(role, blocks, calls, ids, str(document.get("reasoning", "")))


def _state_path(path: Path) -> Path:
    return path.with_name(path.name + ".kv")
