"""The store and the live model over HTTP. Every view is somebody's: `rater` says whose, and shows
what that person may see."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from understudy.judge.redteam.agreement import agreement
from understudy.judge.redteam.conversation import Live
from understudy.judge.redteam.converters import CONVERTERS, convert
from understudy.judge.redteam.export import export_lines, read_lines
from understudy.judge.redteam.merge import merge
from understudy.judge.redteam.records import SEVERITIES, STATUSES, Records, RedTeamTurn, to_document
from understudy.judge.redteam.setup import DEFAULTS, Setup
from understudy.judge.redteam.summary import summary
from understudy.judge.redteam.web import bodies
from understudy.judge.redteam.web.speaking import Speaker
from understudy.judge.safety.taxonomy import AEGIS_2, SAFE, is_critical, to_aegis_1
from understudy.roleplay.card_files import card_from_bytes
from understudy.serve.errors import ApiError
from understudy.serve.events import EventStream
from understudy.serve.server import json_response, read_body

T = TypeVar("T")


@dataclass(eq=False)
class Bench:
    """The parts of the workbench; `app.state.bench`."""

    live: Live
    rater: str = ""
    speaker: Speaker = field(default_factory=Speaker)

    def records(self) -> Records:
        """Everything but what was said."""
        return self.live.store.records(is_bare=True)


def bench_of(request: Request) -> Bench:
    bench = request.app.state.bench
    assert isinstance(bench, Bench)
    return bench


async def _in_thread(function: Callable[[], T]) -> T:
    """The store syncs to disk; the event loop does not wait for that."""
    return await asyncio.to_thread(function)


# ---- what there is ----


async def about(request: Request) -> Response:
    """The model, and the names that the page offers."""
    bench = bench_of(request)
    return json_response(
        {
            "model": bench.live.name,
            "fingerprint": bench.live.model.fingerprint,
            "store": bench.live.store.path.name,
            "rater": bench.rater,
            "is_open": bench.live.store.is_open,
            "severities": SEVERITIES,
            "statuses": STATUSES,
            "sampling": DEFAULTS,
            "categories": [
                {"name": name, "aegis_1": to_aegis_1(name), "is_critical": is_critical(name)}
                for name in AEGIS_2
                if name != SAFE
            ],
            "converters": [
                {"name": one.name, "kind": one.kind, "says": one.says}
                for one in CONVERTERS.values()
            ],
        }
    )


async def conversations(request: Request) -> Response:
    """All conversations, each with this rater's own rating only."""
    bench, rater = bench_of(request), request.query_params.get("rater", "")
    return json_response({"data": await _in_thread(lambda: _rows(bench, rater))})


def _rows(bench: Bench, rater: str) -> list[dict[str, Any]]:
    store = bench.live.store
    records, beginnings = store.records(is_bare=True), store.beginnings()
    mine = {
        one.conversation: one.severity for one in records.current_ratings() if one.rater == rater
    }
    fixes = {
        fix.conversation: fix.status
        for fix in sorted(records.fixes, key=lambda fix: (fix.at, fix.id))
    }
    rows = []
    for one in reversed(records.conversations):
        num_turns, first = beginnings.get(one.id, (0, ""))
        rows.append(
            {
                "id": one.id,
                "title": one.title,
                "first": first,
                "turns": num_turns,
                "model": one.model,
                "by": one.by,
                "at": one.at,
                "goal": one.goal,
                "parent": one.parent,
                "relation": one.relation,
                "mine": mine.get(one.id),
                "fix": fixes.get(one.id) if one.id in mine or store.is_open else None,
            }
        )
    return rows


async def conversation(request: Request) -> Response:
    """One conversation with its turns, and of ratings and fixes what this rater may see."""
    bench, id = bench_of(request), request.path_params["id"]
    rater = request.query_params.get("rater", "")
    return json_response(await _in_thread(lambda: _shown(bench, id, rater)))


def _shown(bench: Bench, id: str, rater: str) -> dict[str, Any]:
    store = bench.live.store
    found = store.conversation(id)
    seen = store.seen_by(rater, id) if rater else []
    fix = Records(fixes=store.read("fix", "conversation = ?", id)).current_fix(id) if seen else None
    children = store.read("conversation", "parent = ? ORDER BY at", id, is_bare=True)
    is_here = found.fingerprint == bench.live.model.fingerprint
    return {
        **to_document(found),
        "turns": [_turn(turn) for turn in store.turns(id)],
        "is_here": is_here,
        "is_rated": bool(store.read("rating", "conversation = ? LIMIT 1", id)),
        "ratings": [to_document(one) for one in seen],
        "fix": to_document(fix) if fix else None,
        "opening": bench.live.opening(id) if is_here else "",
        "children": [
            {"id": one.id, "relation": one.relation, "model": one.model, "by": one.by}
            for one in children
        ],
        "is_speaking": bench.speaker.conversation == id,
    }


def _turn(turn: RedTeamTurn) -> dict[str, Any]:
    return {name: value for name, value in to_document(turn).items() if name != "memory"}


# ---- attacking ----


async def add_conversation(request: Request) -> Response:
    bench, body = bench_of(request), await read_body(request, bodies.NewConversation)
    setup = Setup.from_document(body.setup)
    made = await _in_thread(
        lambda: bench.live.start(setup, by=body.by, goal=body.goal, title=body.title)
    )
    return json_response({"id": made.id}, 201)


async def say(request: Request) -> Response:
    """Streams `piece` events, then `turn` with all that was kept."""
    bench, id = bench_of(request), request.path_params["id"]
    body = await read_body(request, bodies.Say)

    def spoken() -> Iterator[tuple[str, Any]]:
        answer = bench.live.say(id, body.text, body.converters)
        with closing(answer) as pieces:  # type: ignore[type-var]
            turn = bench.live.store.turns(id)[-1]
            yield "begun", _turn(turn)
            for piece in pieces:
                yield "piece", {"text": piece}
        yield "turn", _turn(bench.live.store.turns(id)[-1])

    return _stream(await bench.speaker.events(id, spoken))


async def stop(request: Request) -> Response:
    bench = bench_of(request)
    return json_response({"stopped": bench.speaker.stop(request.path_params["id"])})


async def branch(request: Request) -> Response:
    bench, body = bench_of(request), await read_body(request, bodies.Branch)
    made = await _in_thread(
        lambda: bench.live.store.branch(request.path_params["id"], body.keep, by=body.by)
    )
    return json_response({"id": made.id}, 201)


async def rerun(request: Request) -> Response:
    """Streams `conversation` with the new id, then `turn` for each that was said again."""
    bench, id = bench_of(request), request.path_params["id"]
    body = await read_body(request, bodies.By)

    def spoken() -> Iterator[tuple[str, Any]]:
        made = bench.live.begin_rerun(id, by=body.by)
        yield "conversation", {"id": made.id, "turns": len(bench.live.store.turns(id))}
        for turn in bench.live.rerun(made.id):
            yield "turn", _turn(turn)

    return _stream(await bench.speaker.events(id, spoken))


def _stream(events: Any) -> Response:
    return EventStream(events, ping_s=15.0, write_timeout_s=60.0)


async def converted(request: Request) -> Response:
    body = await read_body(request, bodies.Say)
    return json_response({"text": convert(body.text, body.converters)})


async def card(request: Request) -> Response:
    """A card's document out of its file: PNG, CHARX or JSON."""
    return json_response(card_from_bytes(await request.body()).document)


# ---- judging ----


async def rate(request: Request) -> Response:
    bench, id = bench_of(request), request.path_params["id"]
    body = await read_body(request, bodies.NewRating)
    if bench.speaker.conversation == id:
        raise ApiError(
            409,
            "the model is speaking; wait for the end of its answer, or stop it",
            code="speaking",
        )
    await _in_thread(
        lambda: bench.live.store.rate(
            id, body.rater, body.severity, body.category, first_harm=body.first_harm, note=body.note
        )
    )
    return json_response(await _in_thread(lambda: _shown(bench, id, body.rater)), 201)


async def fix(request: Request) -> Response:
    bench, id = bench_of(request), request.path_params["id"]
    body = await read_body(request, bodies.NewFix)
    made = await _in_thread(lambda: bench.live.store.set_fix(id, **body.model_dump()))
    return json_response(to_document(made), 201)


async def goals(request: Request) -> Response:
    store = bench_of(request).live.store
    known = await _in_thread(
        lambda: Records(goals=store.read("goal", "1 ORDER BY at, rowid")).current_goals()
    )
    tried = Counter(
        one.goal
        for one in await _in_thread(
            lambda: store.read("conversation", "goal IS NOT NULL", is_bare=True)
        )
    )
    return json_response(
        {"data": [{**to_document(one), "conversations": tried[one.id]} for one in known]}
    )


async def add_goal(request: Request) -> Response:
    bench, body = bench_of(request), await read_body(request, bodies.NewGoal)
    made = await _in_thread(
        lambda: bench.live.store.add_goal(
            body.title, by=body.by, plan=body.plan, category=body.category or None
        )
    )
    return json_response(to_document(made), 201)


async def change_goal(request: Request) -> Response:
    bench, body = bench_of(request), await read_body(request, bodies.GoalChange)
    changes = {
        name: value for name, value in body.model_dump(exclude={"by"}).items() if value is not None
    }
    made = await _in_thread(
        lambda: bench.live.store.revise_goal(request.path_params["id"], by=body.by, **changes)
    )
    return json_response(to_document(made))


async def overview(request: Request) -> Response:
    """Summary and agreement of what this person has rated: more would show what is not theirs to
    see yet."""
    bench, rater = bench_of(request), request.query_params.get("rater", "")
    return json_response(await _in_thread(lambda: _numbers(bench, rater)))


def _numbers(bench: Bench, rater: str) -> dict[str, Any]:
    records = bench.records()
    mine = {one.conversation for one in records.ratings if one.rater == rater}
    if not bench.live.store.is_open:
        records.conversations = [one for one in records.conversations if one.id in mine]
    return {
        "summary": summary(records),
        "agreement": agreement(records, {one.id for one in records.conversations}),
    }


async def export(request: Request) -> Response:
    records = await _in_thread(bench_of(request).live.store.records)
    headers = {
        "Content-Disposition": 'attachment; filename="redteam.jsonl"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(
        export_lines(records), media_type="application/x-ndjson", headers=headers
    )


async def take(request: Request) -> Response:
    bench = bench_of(request)
    try:
        text = (await request.body()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiError(400, "not UTF-8", code="invalid_value") from error
    return json_response(
        {
            "new": await _in_thread(
                lambda: merge(bench.live.store, read_lines(text.split("\n"), "import"))
            )
        }
    )
