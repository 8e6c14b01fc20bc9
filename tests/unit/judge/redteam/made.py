"""Stores with something in them. The people are called rater-a, rater-b …: nobody."""

from __future__ import annotations

from understudy.judge.redteam.store import RedTeamStore

MODEL = ("fake", "f" * 8)


def talk(
    store: RedTeamStore, *texts: str, by: str = "rater-a", model: tuple[str, str] = MODEL, **more
):
    """A conversation in which each text was answered with itself in capitals."""
    conversation = store.add_conversation({"system": "Be kind."}, model=model, by=by, **more)
    for text in texts:
        store.end_turn(store.begin_turn(conversation.id, text).id, text.upper())
    return conversation


def rated(store: RedTeamStore, *ratings: tuple[str, ...], model: tuple[str, str] = MODEL):
    """A conversation of three turns with a rating (rater, severity[, category, turn]) each."""
    conversation = talk(store, "one", "two", "three", model=model)
    for rater, severity, *more in ratings:
        category, first_harm = (more[0], int(more[1])) if more else ("Safe", None)
        store.rate(conversation.id, rater, severity, category, first_harm=first_harm)
    return conversation
