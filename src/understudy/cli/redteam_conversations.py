"""Commands of the red team about conversations that were had: list, open, branch, run again."""

from __future__ import annotations

from understudy.cli.redteam_desk import Commands, Desk, show
from understudy.cli.terminal import write
from understudy.errors import UsageError


class ConversationCommands:
    """What was said, and going on from there."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.commands: Commands = {
            "list": ("the conversations", self._list),
            "open": ("ID: read a conversation, and go on with it", self._open),
            "branch": ("TURNS: go on otherwise after so many turns", self._branch),
            "rerun": ("run this conversation again on the model at hand", self._rerun),
        }

    def _list(self, _: str) -> None:
        records, beginnings = self.desk.store.records(is_bare=True), self.desk.store.beginnings()
        mine = {
            one.conversation: one
            for one in records.current_ratings()
            if one.rater == self.desk.rater
        }
        for one in records.conversations:
            rating = mine[one.id].severity if one.id in mine else "not rated"
            num_turns, first = beginnings.get(one.id, (0, ""))
            label = one.title or first
            relation = f" {one.relation} of {one.parent}" if one.parent else ""
            show(
                f"{one.id}  {num_turns:2} {'turn ' if num_turns == 1 else 'turns'} {rating:10}"
                f" {one.model}  {label[:60]!r}{relation}"
            )

    def _open(self, id: str) -> None:
        found = [
            one
            for one in self.desk.store.records(is_bare=True).conversations
            if id and one.id.startswith(id)
        ]
        if len(found) != 1:
            raise UsageError(
                "no conversation, or several",
                where="/open",
                expected="the beginning of an id",
                found=id,
            )
        self.desk.conversation = self.desk.store.conversation(found[0].id)
        for turn in self.desk.store.turns(found[0].id):
            through = f" ({', '.join(turn.converters)})" if turn.converters else ""
            show(
                f"{turn.number}{through} > {turn.sent}"
                f"\n{turn.answer}{f'  [{turn.state}]' if turn.state != 'said' else ''}"
            )

    def _branch(self, rest: str) -> None:
        if not rest.isdigit():
            raise UsageError(
                "how many turns stay?", where="/branch", expected="a number", found=rest
            )
        self.desk.conversation = self.desk.store.branch(
            self.desk.here().id, int(rest), by=self.desk.rater
        )
        write(f"conversation {self.desk.conversation.id}\n")

    def _rerun(self, _: str) -> None:
        self.desk.conversation = self.desk.live.begin_rerun(self.desk.here().id, by=self.desk.rater)
        for turn in self.desk.live.rerun(self.desk.conversation.id):
            show(f"{turn.number} > {turn.sent}\n{turn.answer}")
        write(f"conversation {self.desk.conversation.id}\n")
