"""`understudy chat`: a conversation in the terminal.

Ctrl-C while the model speaks ends its reply, not the program; Ctrl-D or /quit ends the program.
Reads plain lines when standard input is not a terminal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from understudy.cli.moderation import add_guard, guard_of
from understudy.cli.options import add_loading, add_model, add_sampling, load_model, sampling_of
from understudy.cli.saving import SAVE_HELP, file_named, save_to
from understudy.cli.session_options import add_sources, add_thinking, add_tools, session_of
from understudy.cli.terminal import note_if_cut, run_command, typed_lines, write
from understudy.errors import UnderstudyError, UsageError

if TYPE_CHECKING:
    from understudy.chat.session import Session

TEMPERATURE = 0.7  # of talk, as the server's default


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--system", help="system message")
    add_tools(parser)
    add_sources(parser)
    add_thinking(parser)
    add_guard(parser)
    add_sampling(
        parser,
        max_tokens=512,
        temperature=None,
        temperature_help="0 is greedy (default 0.7, since small models repeat themselves; 0 with "
        "tools or documents)",
    )
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    from understudy.formats.packed import cache_folder

    guard = guard_of(arguments)
    model = load_model(arguments)
    with session_of(arguments, model, guard=guard(model) if guard is not None else None) as session:
        conversation = ChatTerminal(session, sampling(arguments))
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        if is_terminal:
            room = f"{session.context} tokens (--context)"
            write(f"{model.path.name}, {room}. /help lists the commands.\n")
        if session.turns and session.character is not None:
            write(f"{session.character.name}: {session.turns[0].text}\n")
        for line in (
            typed_lines(cache_folder() / "chat-history")
            if is_terminal
            else (line.rstrip("\n") for line in sys.stdin)
        ):
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


def sampling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Talk is drawn, as the server draws it; what must be right is greedy."""
    is_job = arguments.tools or arguments.mcp or arguments.documents is not None
    default = 0.0 if is_job else TEMPERATURE
    given = sampling_of(arguments)
    return given | {
        "temperature": default if given["temperature"] is None else given["temperature"]
    }


class ChatTerminal:
    """A session, its settings and the commands that change them."""

    def __init__(self, session: Session, sampling: dict[str, Any]) -> None:
        self.session, self.sampling = session, sampling
        self.commands: dict[str, tuple[str, Callable[[str], object]]] = {
            "help": ("this list", self._help),
            "system": ("TEXT: set the system message and begin anew", self._system),
            "reset": ("begin anew", lambda _: self.session.reset()),
            "set": ("NAME VALUE: a sampling setting, such as temperature 0.7", self._set),
            "stats": ("figures of the last reply", self._stats),
            "ledger": ("where the tokens of the last prompt went", self._ledger),
            "tools": ("the tools", self._tools),
            "save": (SAVE_HELP, lambda rest: save_to(self.session, rest)),
            "load": (
                "FILE: go on with such a conversation",
                lambda name: self.session.resume(file_named(name)),
            ),
            "undo": ("forget the last exchange", lambda _: self.session.undo()),
            "retry": ("another answer to what was said last", self._retry),
            "quit": ("leave", lambda _: None),
        }

    def say(self, text: str) -> None:
        """One exchange. A reply that is interrupted stays in the conversation as far as it was
        spoken.
        """
        answer = self.session.stream(text, **self.sampling)
        with closing(answer) as pieces:  # type: ignore[type-var]
            try:
                for piece in pieces:
                    write(piece)
            except KeyboardInterrupt:
                write(" …")
        write("\n")
        reply = self.session.last
        if reply is None:
            return
        note_if_cut(reply.finish_reason, self.sampling.get("max_tokens"))
        if reply.verdict is not None:
            write(f"  stopped by the guard ({reply.verdict})\n")
        for result in reply.results:
            write(
                f"  {result.call.name}({json.dumps(result.call.arguments, ensure_ascii=False)}) "
                f"-> {result.content}\n"
            )
        for call in reply.tool_calls if reply.finish_reason == "tool_calls" else ():
            write(
                f"  {call.name}({json.dumps(call.arguments, ensure_ascii=False)}) waits: the tool "
                "has no function here\n"
            )
            self.session.undo()
        for citation in reply.citations:
            write(
                f'  "{citation.quote}" ({citation.path}, characters {citation.start} '
                f"to {citation.end})\n"
            )

    def command(self, line: str) -> bool:
        """Runs a /command; False when the conversation is to end."""
        return run_command(self.commands, line)

    def _help(self, _: str) -> None:
        for name, (meaning, _run) in self.commands.items():
            write(f"/{name:8} {meaning}\n")

    def _retry(self, _: str) -> None:
        said = [turn.text for turn in self.session.turns if turn.role == "user"]
        if not said:
            raise UsageError("nothing was said yet", where="/retry")
        self.session.undo()
        self.say(said[-1])

    def _system(self, text: str) -> None:
        self.session.reset()
        self.session.system = text

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if name not in self.sampling or not value:
            raise UsageError(
                "no such setting", where="/set", expected=", ".join(self.sampling), found=name
            )
        try:
            self.sampling[name] = [value] if name == "stop" else json.loads(value)
        except ValueError as error:
            raise UsageError("not a value", where=f"/set {name}", found=value) from error

    def _stats(self, _: str) -> None:
        if self.session.last is None or not self.session.last.usages:
            write("no finished reply yet\n")
            return
        usage = self.session.last.usage
        write(
            f"{usage.prompt_tokens} tokens of prompt ({usage.cached_tokens} "
            f"remembered), {usage.completion_tokens} of reply, "
            f"first after {usage.first_token_s * 1000:.0f} ms, then {usage.decode_rate:.1f} "
            "tokens/s\n"
        )

    def _ledger(self, _: str) -> None:
        ledger = self.session.last.ledger if self.session.last is not None else None
        write(f"{ledger}\n" if ledger is not None else "no prompt yet\n")

    def _tools(self, _: str) -> None:
        for tool in self.session.tools:
            write(f"{tool.name}: {tool.description}\n")
