"""What requests say. Unknown fields are faults; what values mean, the store and the setup check."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from understudy.serve.api.bodies import Body


class NewConversation(Body):
    by: str
    setup: dict[str, Any] = Field(default_factory=dict)
    title: str = ""
    goal: str | None = None


class Say(Body):
    text: str
    converters: list[str] = Field(default_factory=list)


class Branch(Body):
    by: str
    keep: int


class By(Body):
    by: str


class NewRating(Body):
    rater: str
    severity: str
    category: str = "Safe"
    first_harm: int | None = None
    note: str = ""


class NewFix(Body):
    by: str
    status: str
    link: str = ""
    rerun: str | None = None
    note: str = ""
    is_embargoed: bool = False


class NewGoal(Body):
    by: str
    title: str
    plan: str = ""
    category: str | None = None


class GoalChange(Body):
    by: str
    title: str | None = None
    plan: str | None = None
    category: str | None = None
    is_done: bool | None = None
