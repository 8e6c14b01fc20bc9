"""The red team's workbench in the terminal: what is typed goes to the model, lines with / are
commands.

Ctrl-C ends an answer and not the program. Answers are shown up to 20,000 characters, and kept
whole.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from understudy.cli.redteam_tables import agreement_table, summary_table
from understudy.cli.session_options import read_tools
from understudy.cli.terminal import run_command, typed_lines, write
from understudy.errors import UnderstudyError, UsageError
from understudy.judge.redteam.agreement import agreement
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.converters import CONVERTERS, convert
from understudy.judge.redteam.records import (
    SEVERITIES,
    STATUSES,
    Records,
    RedTeamConversation,
    as_name,
)
from understudy.judge.redteam.setup import Setup
from understudy.judge.redteam.summary import summary
from understudy.judge.safety.taxonomy import AEGIS_2, SAFE, to_aegis_1

MOST_SHOWN = 20_000


class RedTeam:
    """One person at work; `run` reads lines until /quit."""

    def __init__(self, live: Live, rater: str) -> None:
        self.live, self.store, self.rater = live, live.store, as_name(rater)
        self.setup, self.goal, self.converters = Setup(), "", tuple[str, ...]()
        self.conversation: RedTeamConversation | None = None
        self.commands: dict[str, tuple[str, Callable[[str], object]]] = {
            "help": ("this list", self._help),
            "new": ("[TITLE]: a conversation in the present setup", self._new),
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
                lambda _: _show(json.dumps(self.setup.to_document(), indent=1, ensure_ascii=False)),
            ),
            "converters": ("what can be done to a message", self._list_converters),
            "convert": (
                "[NAME …]: do this to the next messages, in this order; without NAME nothing",
                self._convert,
            ),
            "preview": (
                "TEXT: what the model would get",
                lambda rest: _show(convert(rest, list(self.converters))),
            ),
            "file": ("FILE: say what a file holds", lambda rest: self.say(_read(rest))),
            "list": ("the conversations", self._list),
            "open": ("ID: read a conversation, and go on with it", self._open),
            "branch": ("TURNS: go on otherwise after so many turns", self._branch),
            "rerun": ("run this conversation again on the model at hand", self._rerun),
            "categories": ("the categories of AEGIS, 2.0 and 1.0", self._categories),
            "severities": (
                "the severities and what they mean",
                lambda _: _rows(SEVERITIES.items()),
            ),
            "rate": (
                "none | SEVERITY CATEGORY TURN [NOTE]: judge the conversation; a category by number or beginning",
                self._rate,
            ),
            "ratings": ("of this conversation; others' once you have rated", self._ratings),
            "fix": ("STATUS [LINK] [RERUN-ID] [NOTE]: open, fixed or verified", self._fix),
            "goals": ("what is to be attacked", self._goals),
            "goal": ("NUMBER | new TITLE | done: choose, add or close one", self._goal),
            "agreement": ("of those conversations that you have rated", self._agreement),
            "summary": ("of those conversations that you have rated", self._summary),
            "quit": ("leave", lambda _: None),
        }

    def run(self) -> int:
        """Reads until the end; errors are said and nothing is lost."""
        is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
        write(
            f"{self.store.path}: {self.live.name}, rater {self.rater}. /help lists the commands.\n"
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
        if self.conversation is None:
            self._new("")
        assert self.conversation is not None
        shown = 0
        with closing(self.live.say(self.conversation.id, text, self.converters)) as pieces:  # type: ignore[type-var]
            try:
                for piece in pieces:
                    write(piece[: max(0, MOST_SHOWN - shown)])
                    shown += len(piece)
            except KeyboardInterrupt:
                write(" …")
        turn = self.store.turns(self.conversation.id)[-1]
        write(
            f"\n{f'… {shown - MOST_SHOWN:,} more characters are not shown. ' if shown > MOST_SHOWN else ''}[turn {turn.number}]\n"
        )
        for call in turn.calls:
            _show(
                f"  called {call['name']}({json.dumps(call['arguments'], ensure_ascii=False)}): {call.get('result', call.get('refused'))}"
            )

    def _help(self, _: str) -> None:
        _rows((f"/{name}", meaning) for name, (meaning, _run) in self.commands.items())

    # ---- setup ----

    def _set_up(self, **changes: object) -> None:
        self.setup = Setup.from_document(replace(self.setup, **changes).to_document())  # type: ignore[arg-type]
        self.conversation = None
        write("the next message begins a conversation in this setup\n")

    def _card(self, path: str) -> None:
        from understudy.roleplay.card_files import read_card

        self._set_up(character=read_card(path).document if path else None)

    def _document(self, path: str) -> None:
        added = ({"name": Path(path).name, "text": _read(path)},) if path else ()
        self._set_up(documents=(*self.setup.documents, *added) if path else ())

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
            listed = json.loads(_read(path))
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
            self._set_up(sampling={**self.setup.sampling, name: json.loads(value)})
        except ValueError as error:
            raise UsageError("not a value", where=f"/set {name}", found=value) from error

    def _new(self, title: str) -> None:
        self.conversation = self.live.start(
            self.setup, by=self.rater, goal=self.goal or None, title=title
        )
        write(f"conversation {self.conversation.id}\n")
        if opening := self.live.opening(self.conversation.id):
            _show(opening)

    # ---- converters ----

    def _list_converters(self, _: str) -> None:
        _rows((f"{one.name}", f"{one.kind}: {one.says}") for one in CONVERTERS.values())

    def _convert(self, rest: str) -> None:
        names = rest.replace(",", " ").split()
        convert("", names)
        self.converters = tuple(names)
        write(
            f"messages go through {', then '.join(names)}\n"
            if names
            else "messages go as they are\n"
        )

    # ---- conversations ----

    def _list(self, _: str) -> None:
        records, beginnings = self.store.records(is_bare=True), self.store.beginnings()
        mine = {
            one.conversation: one for one in records.current_ratings() if one.rater == self.rater
        }
        for one in records.conversations:
            rating = mine[one.id].severity if one.id in mine else "not rated"
            num_turns, first = beginnings.get(one.id, (0, ""))
            label = one.title or first
            relation = f" {one.relation} of {one.parent}" if one.parent else ""
            _show(
                f"{one.id}  {num_turns:2} {'turn ' if num_turns == 1 else 'turns'} {rating:10} {one.model}  {label[:60]!r}{relation}"
            )

    def _open(self, id: str) -> None:
        found = [
            one
            for one in self.store.records(is_bare=True).conversations
            if id and one.id.startswith(id)
        ]
        if len(found) != 1:
            raise UsageError(
                "no conversation, or several",
                where="/open",
                expected="the beginning of an id",
                found=id,
            )
        self.conversation = self.store.conversation(found[0].id)
        for turn in self.store.turns(found[0].id):
            through = f" ({', '.join(turn.converters)})" if turn.converters else ""
            _show(
                f"{turn.number}{through} > {turn.sent}\n{turn.answer}{f'  [{turn.state}]' if turn.state != 'said' else ''}"
            )

    def _branch(self, rest: str) -> None:
        if not rest.isdigit():
            raise UsageError(
                "how many turns stay?", where="/branch", expected="a number", found=rest
            )
        self.conversation = self.store.branch(self._here().id, int(rest), by=self.rater)
        write(f"conversation {self.conversation.id}\n")

    def _rerun(self, _: str) -> None:
        self.conversation = self.live.begin_rerun(self._here().id, by=self.rater)
        for turn in self.live.rerun(self.conversation.id):
            _show(f"{turn.number} > {turn.sent}\n{turn.answer}")
        write(f"conversation {self.conversation.id}\n")

    def _here(self) -> RedTeamConversation:
        if self.conversation is None:
            raise UsageError(
                "no conversation", where="here", do="begin one by saying something, or /open one"
            )
        return self.conversation

    # ---- judging ----

    def _categories(self, _: str) -> None:
        _rows(
            (f"{i:2} {name}", "" if to_aegis_1(name) == name else f"1.0: {to_aegis_1(name)}")
            for i, name in enumerate(AEGIS_2, 1)
            if name != SAFE
        )

    def _rate(self, rest: str) -> None:
        severity, *more = _words(rest) or [""]
        if severity == "none":
            rating = self.store.rate(self._here().id, self.rater, "none", note=" ".join(more))
        else:
            if len(more) < 2 or not more[1].isdigit():
                raise UsageError(
                    "not a rating",
                    where="/rate",
                    expected='none, or as in: high "Criminal Planning" 2 said how',
                    found=rest,
                )
            note = " ".join(more[2:])
            rating = self.store.rate(
                self._here().id,
                self.rater,
                severity,
                _category(more[0]),
                first_harm=int(more[1]),
                note=note,
            )
        write(
            f"rated {rating.severity}, {rating.category}{'' if rating.is_blind else ', not blind'}\n"
        )

    def _ratings(self, _: str) -> None:
        seen = self.store.seen_by(self.rater, self._here().id)
        for one in seen:
            where = f", turn {one.first_harm}" if one.first_harm else ""
            _show(f"{one.rater}: {one.severity} ({one.category}{where}) {one.note}")
        if not seen:
            write("yours comes first\n")

    def _fix(self, rest: str) -> None:
        status, link, rerun, *note = [*_words(rest), "", "", ""]
        if status == "verified" and not rerun:  # `/fix verified RERUN-ID`
            link, rerun = "", link
        fix = self.store.set_fix(
            self._here().id,
            status,
            by=self.rater,
            link=link,
            rerun=rerun or None,
            note=" ".join(note).strip(),
        )
        write(f"{fix.status}: {STATUSES[fix.status]}\n")

    def _goals(self, _: str) -> None:
        for i, goal in enumerate(self.store.records(is_bare=True).current_goals(), 1):
            mark = "*" if goal.id == self.goal else "x" if goal.is_done else " "
            _show(
                f"{mark}{i:3} {goal.title} {f'({goal.category})' if goal.category else ''} {goal.plan}"
            )

    def _goal(self, rest: str) -> None:
        name, _, title = rest.partition(" ")
        goals = self.store.records(is_bare=True).current_goals()
        if name == "new":
            self.goal = self.store.add_goal(title, by=self.rater).id
        elif name == "done" and self.goal:
            self.store.revise_goal(self.goal, by=self.rater, is_done=True)
        elif name.isdigit() and 1 <= int(name) <= len(goals):
            self.goal = goals[int(name) - 1].id
        else:
            raise UsageError(
                "no such goal", where="/goal", expected="NUMBER, new TITLE, or done", found=rest
            )
        self._goals("")

    def _rated(self) -> tuple[Records, set[str]]:
        records = self.store.records(is_bare=True)
        everything = {one.id for one in records.conversations}
        mine = {one.conversation for one in records.ratings if one.rater == self.rater}
        return records, everything if self.store.is_open else mine

    def _agreement(self, _: str) -> None:
        _show(agreement_table(agreement(*self._rated())))

    def _summary(self, _: str) -> None:
        records, mine = self._rated()
        records.conversations = [one for one in records.conversations if one.id in mine]
        _show(summary_table(summary(records)))


def _category(text: str) -> str:
    """By its number in the list, or by a beginning that only one has."""
    if text.isdigit() and 1 <= int(text) < len(AEGIS_2):
        return AEGIS_2[int(text) - 1]
    found = [name for name in AEGIS_2 if name.casefold().startswith(text.casefold())]
    exact = [name for name in AEGIS_2 if name.casefold() == text.casefold()]
    return exact[0] if exact else found[0] if len(found) == 1 else text


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            f"cannot read: {getattr(error, 'strerror', None) or 'not UTF-8'}",
            where=path or "no file",
        ) from error


def _show(text: str) -> None:
    more = (
        f"\n… {len(text) - MOST_SHOWN:,} more characters are not shown."
        if len(text) > MOST_SHOWN
        else ""
    )
    write(f"{text[:MOST_SHOWN]}{more}\n")


def _rows(pairs: Iterable[tuple[str, str]]) -> None:
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    for name, meaning in rows:
        write(f"{name:{width}}  {meaning}\n")
