"""Commands of the red team about the next conversation: system text, card, documents, tools, and
what is done to messages.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from understudy.cli.redteam_desk import Commands, Desk, read_text, show, show_rows
from understudy.cli.session_options import read_tools
from understudy.cli.terminal import write
from understudy.errors import UsageError
from understudy.judge.redteam.converters import CONVERTERS, convert
from understudy.judge.redteam.setup import Setup


class SetupCommands:
    """How the next conversation is set up."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.commands: Commands = {
            "new": ("[TITLE]: a conversation in the present setup", desk.begin),
            "system": (
                "TEXT: the system text of the next conversation",
                lambda rest: self._set_up(system=rest),
            ),
            "card": ("FILE: play against a character; without FILE none", self._card),
            "document": ("FILE: a document in every prompt; without FILE none", self._document),
            "tools": (
                "FILE: scripted tools, JSON, each with `returns`; without FILE none",
                self._tools,
            ),
            "search": (
                "on|off: find passages of the documents for each message (extra rag)",
                lambda rest: self._flag("is_searched", rest),
            ),
            "guard": (
                "on|off: word lists and personal data before and behind the model",
                lambda rest: self._flag("is_guarded", rest),
            ),
            "set": ("NAME VALUE: temperature, top_p, seed or max_tokens", self._set),
            "setup": (
                "the present setup",
                lambda _: show(
                    json.dumps(self.desk.setup.to_document(), indent=1, ensure_ascii=False)
                ),
            ),
            "converters": ("what can be done to a message", self._list_converters),
            "convert": (
                "[NAME …]: do this to the next messages, in this order; without NAME nothing",
                self._convert,
            ),
            "preview": (
                "TEXT: what the model would get",
                lambda rest: show(convert(rest, list(self.desk.converters))),
            ),
        }

    def _set_up(self, **changes: object) -> None:
        changed = replace(self.desk.setup, **changes)  # type: ignore[arg-type]
        self.desk.setup = Setup.from_document(changed.to_document())
        self.desk.conversation = None
        write("the next message begins a conversation in this setup\n")

    def _card(self, path: str) -> None:
        from understudy.roleplay.card_files import read_card

        self._set_up(character=read_card(path).document if path else None)

    def _document(self, path: str) -> None:
        added = ({"name": Path(path).name, "text": read_text(path)},) if path else ()
        self._set_up(documents=(*self.desk.setup.documents, *added) if path else ())

    def _tools(self, path: str) -> None:
        if not path:
            return self._set_up(tools=())
        if path.endswith(".py"):
            return self._set_up(
                tools=tuple(
                    {**tool.to_openai(), "returns": "done"} for tool in read_tools(Path(path))
                )
            )
        try:
            listed = json.loads(read_text(path))
        except ValueError as error:
            raise UsageError(f"not JSON ({error})", where=path) from error
        return self._set_up(tools=tuple(listed if isinstance(listed, list) else [listed]))

    def _flag(self, name: str, rest: str) -> None:
        if rest not in ("on", "off"):
            raise UsageError("on or off?", where=name, expected="on, off", found=rest)
        self._set_up(**{name: rest == "on"})

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        try:
            self._set_up(sampling={**self.desk.setup.sampling, name: json.loads(value)})
        except ValueError as error:
            raise UsageError("not a value", where=f"/set {name}", found=value) from error

    def _list_converters(self, _: str) -> None:
        show_rows((f"{one.name}", f"{one.kind}: {one.says}") for one in CONVERTERS.values())

    def _convert(self, rest: str) -> None:
        names = rest.replace(",", " ").split()
        convert("", names)
        self.desk.converters = tuple(names)
        write(
            f"messages go through {', then '.join(names)}\n"
            if names
            else "messages go as they are\n"
        )
