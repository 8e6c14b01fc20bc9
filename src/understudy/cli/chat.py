"""`understudy chat`: a conversation in the terminal.

Ctrl-C while the model speaks ends its reply, not the program; Ctrl-D or /quit ends the program. Reads plain lines when
standard input is not a terminal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from understudy.cli.options import add_loading, add_model, add_sampling, load_model, sampling_of
from understudy.cli.terminal import write
from understudy.engine import Output
from understudy.errors import ContextError, UnderstudyError, UsageError
from understudy.files.packed import cache_folder
from understudy.model import Model


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--system", help="system message")
    add_sampling(parser, max_tokens=512)
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    model = load_model(arguments)
    conversation = Conversation(model, arguments.system, sampling_of(arguments))
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if is_terminal:
        write(f"{model.path.name}, {model.context} tokens. /help lists the commands.\n")
    for line in _terminal_lines() if is_terminal else (line.rstrip("\n") for line in sys.stdin):
        if not line.strip():
            continue
        try:
            if line.startswith("/"):
                if not conversation.command(line):
                    break
            else:
                conversation.say(line)
        except UnderstudyError as error:
            write(f"understudy: {error}\n", sys.stderr)
    return 0


def _terminal_lines() -> Iterator[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(history=FileHistory(str(folder / "chat-history")))
    while True:
        try:
            yield session.prompt("> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


class Conversation:
    """Messages, settings and the commands that change them."""

    def __init__(self, model: Model, system: str | None, sampling: dict[str, Any]) -> None:
        self.model, self.sampling = model, sampling
        self.messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self.last: Output | None = None
        self.commands: dict[str, tuple[str, Callable[[str], object]]] = {
            "help": ("this list", self._help),
            "system": ("TEXT: set the system message and begin anew", self._system),
            "reset": ("begin anew", lambda _: self._keep_system()),
            "set": ("NAME VALUE: a sampling setting, such as temperature 0.7", self._set),
            "stats": ("figures of the last reply", self._stats),
            "save": ("FILE: write the conversation as JSON", self._save),
            "load": ("FILE: read such a conversation", self._load),
            "undo": ("forget the last exchange", self._undo),
            "quit": ("leave", lambda _: None),
        }

    def say(self, text: str) -> None:
        """One exchange. A reply that is interrupted stays in the conversation as far as it was spoken."""
        self.messages.append({"role": "user", "content": text})
        spoken = ""
        outputs = self.model.stream_outputs(self.messages, **self.sampling)
        try:
            for output in outputs:
                spoken += output.text
                self.last = output
                write(output.text)
        except KeyboardInterrupt:
            write(" …")
            outputs.close()  # type: ignore[attr-defined]
        except ContextError:
            self.messages.pop()
            raise
        write("\n")
        self.messages.append({"role": "assistant", "content": self.model.dialect.clean(spoken)})

    def command(self, line: str) -> bool:
        """Runs a /command; False when the conversation is to end."""
        name, _, rest = line[1:].partition(" ")
        if name in ("quit", "exit", "q"):
            return False
        if name not in self.commands:
            raise UsageError("unknown command", where=f"/{name}", do="/help lists the commands")
        self.commands[name][1](rest.strip())
        return True

    def _help(self, _: str) -> None:
        for name, (meaning, _run) in self.commands.items():
            write(f"/{name:8} {meaning}\n")

    def _keep_system(self) -> None:
        self.messages = [m for m in self.messages if m["role"] == "system"]

    def _system(self, text: str) -> None:
        self.messages = [{"role": "system", "content": text}] if text else []

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if name not in self.sampling or not value:
            raise UsageError("no such setting", where="/set", expected=", ".join(self.sampling), found=name)
        try:
            self.sampling[name] = [value] if name == "stop" else json.loads(value)
        except ValueError as error:
            raise UsageError("not a value", where=f"/set {name}", found=value) from error

    def _stats(self, _: str) -> None:
        usage = self.last.usage if self.last is not None else None
        if usage is None:
            write("no finished reply yet\n")
            return
        write(
            f"{usage.prompt_tokens} tokens of prompt ({usage.cached_tokens} remembered), {usage.completion_tokens} of reply, "
            f"first after {usage.first_token_s * 1000:.0f} ms, then {usage.decode_rate:.1f} tokens/s\n"
        )

    def _save(self, name: str) -> None:
        try:
            Path(name).write_text(json.dumps(self.messages, ensure_ascii=False, indent=1), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write: {error.strerror}", where=name or "/save") from error

    def _load(self, name: str) -> None:
        try:
            messages = json.loads(Path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read a conversation: {error}", where=name or "/load") from error
        self.model.dialect.render(messages)
        self.messages = messages

    def _undo(self, _: str) -> None:
        while self.messages and self.messages.pop()["role"] != "user":
            pass
