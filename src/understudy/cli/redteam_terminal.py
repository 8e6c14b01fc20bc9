"""The red team's workbench in the terminal: what is typed goes to the model, lines with / are
commands.

Ctrl-C ends an answer and not the program. Answers are shown up to 20,000 characters, and kept
whole.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing

from understudy.cli.redteam_conversations import ConversationCommands
from understudy.cli.redteam_desk import MAX_SHOWN, Commands, Desk, read_text, show, show_rows
from understudy.cli.redteam_judging import JudgingCommands
from understudy.cli.redteam_setup import SetupCommands
from understudy.cli.terminal import run_command, typed_lines, write
from understudy.errors import UnderstudyError
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.records import as_name


class RedTeam:
    """One person at work; `run` reads lines until /quit."""

    def __init__(self, live: Live, rater: str) -> None:
        self.desk = Desk(live, as_name(rater))
        self.commands: Commands = {
            "help": ("this list", self._help),
            **SetupCommands(self.desk).commands,
            "file": ("FILE: say what a file holds", lambda rest: self.say(read_text(rest))),
            **ConversationCommands(self.desk).commands,
            **JudgingCommands(self.desk).commands,
            "quit": ("leave", lambda _: None),
        }

    def run(self) -> int:
        """Reads until the end; errors are said and nothing is lost."""
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        write(
            f"{self.desk.store.path}: {self.desk.live.name}, rater {self.desk.rater}. /help lists "
            "the commands.\n"
        )
        for line in typed_lines(None) if is_terminal else (line.rstrip("\n") for line in sys.stdin):
            if not line.strip():
                continue
            try:
                if not line.startswith("/") or line.startswith("//"):
                    self.say(line[1:] if line.startswith("//") else line)
                elif not run_command(self.commands, line):
                    break
            except UnderstudyError as error:
                write(f"understudy: {error}\n", sys.stderr)
        return 0

    def say(self, text: str) -> None:
        """One turn with the model; the first begins a conversation."""
        desk, num_shown = self.desk, 0
        if desk.conversation is None:
            desk.begin("")
        id = desk.here().id
        with closing(desk.live.say(id, text, desk.converters)) as pieces:  # type: ignore[type-var]
            try:
                for piece in pieces:
                    write(piece[: max(0, MAX_SHOWN - num_shown)])
                    num_shown += len(piece)
            except KeyboardInterrupt:
                write(" …")
        more = num_shown - MAX_SHOWN
        cut = f"… {more:,} more characters are not shown. " if more > 0 else ""
        turn = desk.store.turns(id)[-1]
        write(f"\n{cut}[turn {turn.number}]\n")
        for call in turn.calls:
            show(
                f"  called {call['name']}({json.dumps(call['arguments'], ensure_ascii=False)}):"
                f" {call.get('result', call.get('refused'))}"
            )

    def _help(self, _: str) -> None:
        show_rows((f"/{name}", meaning) for name, (meaning, _run) in self.commands.items())
