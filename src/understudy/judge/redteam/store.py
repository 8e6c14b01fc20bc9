"""The SQLite file of a red team. Each method that writes has committed when it returns; the journal
is a write-ahead log with full syncing, so that neither a killed process nor a power cut takes back
what was said.

with RedTeamStore(Path("team.sqlite")) as store:
    conversation = store.add_conversation(setup, model="m", fingerprint="f", by="rater-a")
    turn = store.begin_turn(conversation.id, "hello")         # kept before the model is asked
    store.end_turn(turn.id, "good day")
    store.rate(conversation.id, "rater-a", "none")

A store may be used by several threads and opened by several processes.
"""

from __future__ import annotations

from understudy.errors import UsageError
from understudy.judge.redteam.conversations import ConversationStore
from understudy.judge.redteam.records import (
    SEVERITIES,
    STATUSES,
    Fix,
    Rating,
    Records,
    RedTeamConversation,
    as_category,
    as_name,
    check_rating,
    new_id,
    now,
)
from understudy.judge.safety.taxonomy import SAFE


class RedTeamStore(ConversationStore):
    """See the module's docstring; adds to `ConversationStore` what people judge: ratings and
    fixes."""

    def rate(
        self,
        conversation: str,
        rater: str,
        severity: str,
        category: str = SAFE,
        *,
        first_harm: int | None = None,
        note: str = "",
    ) -> Rating:
        """One person's judgement; a later one of the same person takes its place, and both are
        kept.

        Raises:
            UsageError: severity, category and turn do not fit each other, or nothing was said yet.
        """
        as_name(rater)
        with self.writing():
            self.conversation(conversation)
            turns = self.turns(conversation)
            if not turns:
                raise UsageError("nothing was said in this conversation", where=conversation)
            category = as_category(category)
            check_rating(severity, category, first_harm, len(turns))
            seen = {
                rating.rater for rating in self.read("rating", "conversation = ?", conversation)
            }
            could_see = bool(seen - {rater}) and (self.is_open or rater in seen)
            return self.insert(
                Rating(
                    new_id(),
                    conversation,
                    rater,
                    severity,
                    category,
                    first_harm,
                    note,
                    len(turns),
                    not could_see,
                    now(),
                )
            )

    def seen_by(self, rater: str, conversation: str) -> list[Rating]:
        """The current ratings that a person may see: all after their own, before it none (unless
        the store is open)."""
        current = Records(
            ratings=self.read("rating", "conversation = ?", conversation)
        ).current_ratings()
        has_rated = any(rating.rater == rater for rating in current)
        return current if has_rated or self.is_open else []

    def set_fix(
        self,
        conversation: str,
        status: str,
        *,
        by: str,
        link: str = "",
        rerun: str | None = None,
        note: str = "",
        is_embargoed: bool = False,
    ) -> Fix:
        """What became of a finding. A `fixed` one has a link; a `verified` one a whole re-run on
        which every rating is `none`.

        Raises:
            UsageError: these are missing.
        """
        with self.writing():
            self.conversation(conversation)
            if status not in STATUSES:
                raise UsageError(
                    "no such status", where="status", expected=" ".join(STATUSES), found=status
                )
            if status == "fixed" and not link.strip():
                raise UsageError(
                    "what is fixed has a link", where="link", expected="an issue or a URL"
                )
            if status == "verified":
                self._check_rerun(conversation, rerun)
            return self.insert(
                Fix(
                    new_id(),
                    conversation,
                    status,
                    link,
                    rerun,
                    note,
                    is_embargoed,
                    as_name(by, "by"),
                    now(),
                )
            )

    def _check_rerun(self, conversation: str, rerun: str | None) -> None:
        found = self.conversation(rerun) if rerun else None
        if found is None or (found.parent, found.relation) != (conversation, "rerun"):
            raise UsageError(
                "to verify a fix takes a re-run of the conversation",
                where="rerun",
                found=rerun,
                do="run it again on the mended model and rate that",
            )
        if not self.is_whole_rerun(found):
            raise UsageError(
                "the re-run did not come to its end",
                where="rerun",
                found=rerun,
                do="run the conversation again",
            )
        severities = {
            one.severity
            for one in Records(
                ratings=self.read("rating", "conversation = ?", rerun)
            ).current_ratings()
        }
        if severities != {"none"}:
            order = [name for name in SEVERITIES if name in severities]
            raise UsageError(
                "the re-run does not show it mended",
                where="rerun",
                expected="ratings `none` only",
                found=", ".join(order) or "no rating",
            )

    def is_whole_rerun(self, conversation: RedTeamConversation) -> bool:
        """Whether it re-runs another and every message of that one has been answered to the end."""
        if conversation.relation != "rerun" or conversation.parent is None:
            return False
        wanted = [turn.sent for turn in self.turns(conversation.parent) if turn.state != "failed"]
        return [turn.sent for turn in self.turns(conversation.id) if turn.state == "said"] == wanted
