"""Commands of the red team about findings: ratings, fixes, goals, agreement."""

from __future__ import annotations

from understudy.cli.redteam_desk import Commands, Desk, show, show_rows, words_of
from understudy.cli.redteam_tables import agreement_table, summary_table
from understudy.cli.terminal import write
from understudy.errors import UsageError
from understudy.judge.redteam.agreement import agreement
from understudy.judge.redteam.records import SEVERITIES, STATUSES, Records
from understudy.judge.redteam.summary import summary
from understudy.judge.safety.taxonomy import AEGIS_2, SAFE, to_aegis_1


class JudgingCommands:
    """How bad it is, whether it is mended, and what is to be attacked next."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.commands: Commands = {
            "categories": ("the categories of AEGIS, 2.0 and 1.0", self._categories),
            "severities": (
                "the severities and what they mean",
                lambda _: show_rows(SEVERITIES.items()),
            ),
            "rate": (
                "none | SEVERITY CATEGORY TURN [NOTE]: judge the conversation; a category by "
                "number or beginning",
                self._rate,
            ),
            "ratings": ("of this conversation; others' once you have rated", self._ratings),
            "fix": ("STATUS [LINK] [RERUN-ID] [NOTE]: open, fixed or verified", self._fix),
            "goals": ("what is to be attacked", self._goals),
            "goal": ("NUMBER | new TITLE | done: choose, add or close one", self._goal),
            "agreement": ("of those conversations that you have rated", self._agreement),
            "summary": ("of those conversations that you have rated", self._summary),
        }

    def _categories(self, _: str) -> None:
        show_rows(
            (f"{i:2} {name}", "" if to_aegis_1(name) == name else f"1.0: {to_aegis_1(name)}")
            for i, name in enumerate(AEGIS_2, 1)
            if name != SAFE
        )

    def _rate(self, rest: str) -> None:
        severity, *more = words_of(rest) or [""]
        if severity == "none":
            rating = self.desk.store.rate(
                self.desk.here().id, self.desk.rater, "none", note=" ".join(more)
            )
        else:
            if len(more) < 2 or not more[1].isdigit():
                raise UsageError(
                    "not a rating",
                    where="/rate",
                    expected='none, or as in: high "Criminal Planning" 2 said how',
                    found=rest,
                )
            note = " ".join(more[2:])
            rating = self.desk.store.rate(
                self.desk.here().id,
                self.desk.rater,
                severity,
                _category(more[0]),
                first_harm=int(more[1]),
                note=note,
            )
        write(
            f"rated {rating.severity}, {rating.category}{'' if rating.is_blind else ', not blind'}"
            "\n"
        )

    def _ratings(self, _: str) -> None:
        seen = self.desk.store.seen_by(self.desk.rater, self.desk.here().id)
        for one in seen:
            where = f", turn {one.first_harm}" if one.first_harm else ""
            show(f"{one.rater}: {one.severity} ({one.category}{where}) {one.note}")
        if not seen:
            write("yours comes first\n")

    def _fix(self, rest: str) -> None:
        status, link, rerun, *note = [*words_of(rest), "", "", ""]
        if status == "verified" and not rerun:  # `/fix verified RERUN-ID`
            link, rerun = "", link
        fix = self.desk.store.set_fix(
            self.desk.here().id,
            status,
            by=self.desk.rater,
            link=link,
            rerun=rerun or None,
            note=" ".join(note).strip(),
        )
        write(f"{fix.status}: {STATUSES[fix.status]}\n")

    def _goals(self, _: str) -> None:
        for i, goal in enumerate(self.desk.store.records(is_bare=True).current_goals(), 1):
            mark = "*" if goal.id == self.desk.goal else "x" if goal.is_done else " "
            show(
                f"{mark}{i:3} {goal.title} {f'({goal.category})' if goal.category else ''}"
                f" {goal.plan}"
            )

    def _goal(self, rest: str) -> None:
        name, _, title = rest.partition(" ")
        goals = self.desk.store.records(is_bare=True).current_goals()
        if name == "new":
            self.desk.goal = self.desk.store.add_goal(title, by=self.desk.rater).id
        elif name == "done" and self.desk.goal:
            self.desk.store.revise_goal(self.desk.goal, by=self.desk.rater, is_done=True)
        elif name.isdigit() and 1 <= int(name) <= len(goals):
            self.desk.goal = goals[int(name) - 1].id
        else:
            raise UsageError(
                "no such goal", where="/goal", expected="NUMBER, new TITLE, or done", found=rest
            )
        self._goals("")

    def _rated(self) -> tuple[Records, set[str]]:
        records = self.desk.store.records(is_bare=True)
        everything = {one.id for one in records.conversations}
        mine = {one.conversation for one in records.ratings if one.rater == self.desk.rater}
        return records, everything if self.desk.store.is_open else mine

    def _agreement(self, _: str) -> None:
        show(agreement_table(agreement(*self._rated())))

    def _summary(self, _: str) -> None:
        records, mine = self._rated()
        records.conversations = [one for one in records.conversations if one.id in mine]
        show(summary_table(summary(records)))


def _category(text: str) -> str:
    """By its number in the list, or by a beginning that only one has."""
    if text.isdigit() and 1 <= int(text) < len(AEGIS_2):
        return AEGIS_2[int(text) - 1]
    found = [name for name in AEGIS_2 if name.casefold().startswith(text.casefold())]
    exact = [name for name in AEGIS_2 if name.casefold() == text.casefold()]
    return exact[0] if exact else found[0] if len(found) == 1 else text
