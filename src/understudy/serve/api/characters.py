"""Ours: `/v1/characters` and `/v1/sessions`, turns of game characters, streamed and interruptible.

Characters belong to the server, sessions to the client that opened them. Both are kept in memory.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from understudy.engine.handles import CancelScope
from understudy.errors import Cancelled, DocumentError
from understudy.roleplay.card import Card
from understudy.roleplay.card_files import card_from_bytes
from understudy.roleplay.card_notes import card_notes
from understudy.roleplay.memory import Said
from understudy.roleplay.npc import Npc, NpcTurn
from understudy.serve.api.bodies import JsonObject
from understudy.serve.api.session_bodies import (
    InterruptRequest,
    SavedSession,
    SessionRequest,
    TurnRequest,
    action_document,
)
from understudy.serve.errors import ApiError
from understudy.serve.events import event, respond
from understudy.serve.openapi import RouteEntry
from understudy.serve.server import RequestContext, json_response, read_body, server_of, with_model
from understudy.serve.stores import Playing
from understudy.serve.threads import in_thread, pieces_of

# ---- characters ----


async def add_character(request: Request) -> Response:
    """A card: the bytes of a PNG, CHARX or JSON file as the body, or one file as
    multipart/form-data.
    """
    data, name = await _card_file(request)
    card = await asyncio.to_thread(card_from_bytes, data, name)
    id = card.digest[:16]
    server_of(request).stores.characters.put(id, card)
    return json_response(_character(id, card), 201)


async def _card_file(request: Request) -> tuple[bytes, str]:
    """The bytes of a card, and what to call them in a message."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body(), "body"
    async with request.form(max_files=2, max_fields=10) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if len(files) != 1:
            raise ApiError(400, f"one card a request; found {len(files)} files", param="file")
        return await files[0].read(), (files[0].filename or "file")[:80]


async def characters(request: Request) -> Response:
    return json_response(
        {
            "object": "list",
            "data": [
                _character(id, card) for id, card in server_of(request).stores.characters.items()
            ],
        }
    )


async def character(request: Request) -> Response:
    """The whole card as JSON."""
    id = request.path_params["id"]
    return json_response(
        {**_character(id, _card(request, id)), "card": _card(request, id).document}
    )


async def delete_character(request: Request) -> Response:
    id = request.path_params["id"]
    _card(request, id)
    del server_of(request).stores.characters[id]
    return json_response({"id": id, "object": "character", "deleted": True})


def _card(request: Request, id: str, param: str | None = None) -> Card:
    card = server_of(request).stores.characters.get(id)
    if not isinstance(card, Card):
        raise ApiError(404, f"there is no character {id[:80]!r}", param=param, code="not_found")
    return card


def _character(id: str, card: Card) -> dict[str, Any]:
    return {
        "id": id,
        "object": "character",
        "name": card.shown_name,
        "version": card.version,
        "num_greetings": len(card.greetings),
        "greeting": card.greetings[0] if card.greetings else "",
        "warnings": [*card.warnings, *card_notes(card)],
    }


# ---- sessions ----


async def add_session(request: Request) -> Response:
    """A play with a character."""
    return await _opened(request, await read_body(request, SessionRequest))


async def _opened(
    request: Request, body: SessionRequest, state: JsonObject | None = None
) -> Response:
    """A new session, which goes on where a saved one stood."""
    card = _card(request, body.character, "character")
    server, client = server_of(request), str(request.state.client)
    async with server.pool.lease(body.model) as served:

        def make() -> Npc:
            npc = Npc(
                served.model,
                card,
                lorebooks=body.books(),
                content_guard=served.guard,
                settings=body.npc_settings(),
            )
            if body.history is not None:
                npc.memory.history = [Said(m.role, m.text, m.was_cut) for m in body.history]
                npc.memory.turn = sum(said.role == "user" for said in npc.memory.history)
            if state is not None:
                npc.restore(state)
            return npc

        npc = await in_thread(make, CancelScope(client))
        id = f"sess_{secrets.token_hex(12)}"
        opened = body.model_dump(exclude={"history"}, exclude_unset=True)
        playing = Playing(id, body.character, served.name, npc, served, opened)
    server.stores.sessions.put((client, playing.id), playing)
    return json_response(_session(playing), 201)


async def sessions(request: Request) -> Response:
    """The client's sessions, the one that was opened last at the end."""
    client = str(request.state.client)
    known = server_of(request).stores.sessions.items()
    data = [_session(playing) for (owner, _), playing in known if owner == client]
    return json_response({"object": "list", "data": data})


async def save_session(request: Request) -> Response:
    """The session as a document, which `restore` takes on any server that has its character."""
    playing = _playing(request)
    if playing.lock.locked():
        raise ApiError(409, "a turn is under way; interrupt it, or wait", code="turn_under_way")
    document = {"opened": playing.opened, "state": playing.npc.to_document()}
    return json_response({"object": "saved_session", **document})


async def restore_session(request: Request) -> Response:
    """A saved session under a new id."""
    saved = await read_body(request, SavedSession)
    try:
        return await _opened(request, saved.opened, saved.state)
    except DocumentError as error:
        what = f"state: not of a saved session ({type(error.__cause__).__name__})"
        raise ApiError(400, what, param="state", code="invalid_value") from error


async def session(request: Request) -> Response:
    return json_response(_session(_playing(request)))


async def delete_session(request: Request) -> Response:
    playing = _playing(request)
    if playing.scope is not None:
        playing.scope.cancel()
    del server_of(request).stores.sessions[str(request.state.client), playing.id]
    return json_response({"id": playing.id, "object": "session", "deleted": True})


def _playing(request: Request) -> Playing:
    playing = server_of(request).stores.sessions.get(
        (str(request.state.client), request.path_params["id"])
    )
    if not isinstance(playing, Playing):
        raise ApiError(
            404, f"there is no session {request.path_params['id'][:80]!r}", code="not_found"
        )
    return playing


def _session(playing: Playing) -> dict[str, Any]:
    history = [
        {"role": said.role, "text": said.text, "was_cut": said.was_cut}
        for said in playing.npc.memory.history
    ]
    return {
        "id": playing.id,
        "object": "session",
        "character": playing.character,
        "name": playing.npc.name,
        "model": playing.model,
        "created": playing.created,
        "history": history,
    }


def _model_of_session(request: Request, body: TurnRequest) -> str:
    playing = _playing(request)
    if playing.lock.locked():
        raise ApiError(409, "a turn is under way; interrupt it, or wait", code="turn_under_way")
    return playing.model


@with_model(TurnRequest, _model_of_session)
async def turn(context: RequestContext, body: TurnRequest) -> Response:
    """One turn: what is said comes sentence by sentence, then the whole turn."""
    playing = _playing(context.request)
    if context.served is not playing.served:  # unloaded and loaded again meanwhile
        playing.npc.model, playing.npc.content_guard, playing.served = (
            context.model,
            context.served.guard,
            context.served,
        )
    events = _turn(context, playing, body)
    if body.stream:
        return await respond(context, events=_written(events))
    return await respond(context, whole=_last(events))


async def _turn(
    context: RequestContext, playing: Playing, body: TurnRequest
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """(event, data): `say` for each piece, `turn` at the end."""
    async with playing.lock:
        scope = playing.scope = CancelScope(context.client)
        is_cut = False
        pieces = pieces_of(lambda: playing.npc.stream(body.text, body.state()), scope)
        try:
            async for piece in pieces:
                yield "say", {"text": piece}
        except Cancelled:
            is_cut = True
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
            playing.scope = None
        last = playing.npc.last
        assert last is not None
        context.note(last.usage)
        if last.verdict is not None:
            context.note_stop(last.verdict, 0)
        document = _turn_document(last)
        document["lore"] = [{"name": entry.name, "why": entry.why} for entry in playing.npc.fired]
        document["usage"] |= context.guard_document()
        yield "turn", {**document, "interrupted": is_cut}


async def _written(events: AsyncIterator[tuple[str, dict[str, Any]]]) -> AsyncIterator[bytes]:
    try:
        async for name, data in events:
            yield event(data, name)
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def _last(events: AsyncIterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    try:
        found = [data async for _, data in events]
    finally:
        await events.aclose()  # type: ignore[attr-defined]
    return found[-1]


def _turn_document(turn: NpcTurn) -> dict[str, Any]:
    document: dict[str, Any] = {
        "object": "turn",
        "say": turn.say,
        "emotion": turn.emotion,
        "actions": [action_document(action) for action in turn.actions],
        "refused": [
            {**action_document(action), "reason": reason} for action, reason in turn.refused
        ],
        "memory": list(turn.memory),
        "fault": turn.fault,
        "is_cut": turn.is_cut,
        "was_redrawn": turn.was_redrawn,
    }
    if turn.verdict is not None:
        document["guard"] = turn.verdict.to_document()
    ledger = turn.ledger.to_document() if turn.ledger is not None else None
    usage: dict[str, Any] = {"context": ledger}
    if turn.usage is not None:
        usage |= {
            "prompt_tokens": turn.usage.prompt_tokens,
            "completion_tokens": turn.usage.completion_tokens,
            "total_tokens": turn.usage.prompt_tokens + turn.usage.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": turn.usage.cached_tokens},
        }
    return {**document, "usage": usage}


async def interrupt(request: Request) -> Response:
    """The player cut in: a turn under way ends before its next token, and what was not heard was
    never said.
    """
    body = await read_body(request, InterruptRequest)
    playing = _playing(request)
    if playing.scope is not None:
        playing.scope.cancel()
    async with playing.lock:
        heard = playing.npc.interrupt(body.heard_chars)
    return json_response({"id": playing.id, "heard": heard})


ROUTES = (
    RouteEntry("POST", "/v1/characters", add_character),
    RouteEntry("GET", "/v1/characters", characters),
    RouteEntry("GET", "/v1/characters/{id}", character),
    RouteEntry("DELETE", "/v1/characters/{id}", delete_character),
    RouteEntry("POST", "/v1/sessions", add_session, SessionRequest),
    RouteEntry("GET", "/v1/sessions", sessions),
    RouteEntry("POST", "/v1/sessions/restore", restore_session, SavedSession),
    RouteEntry("GET", "/v1/sessions/{id}", session),
    RouteEntry("POST", "/v1/sessions/{id}/save", save_session),
    RouteEntry("DELETE", "/v1/sessions/{id}", delete_session),
    RouteEntry("POST", "/v1/sessions/{id}/turn", turn, TurnRequest),
    RouteEntry("POST", "/v1/sessions/{id}/interrupt", interrupt, InterruptRequest),
)
