"""llama-server's `/slots`: who is busy, and prompts kept as files."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from understudy.serve.api.bodies import Body, Several
from understudy.serve.errors import ApiError
from understudy.serve.openapi import RouteEntry
from understudy.serve.pool import LoadedModel
from understudy.serve.server import json_response, read_body, server_of

_FILE = re.compile(r"[\w-][\w.-]{0,127}\Z")


class SlotBody(Body):
    """`filename` without a folder; `prompt` says what to save: a text, or the ids of its tokens."""

    filename: str | None = None
    prompt: str | Several[int] | None = None
    model: str | None = None


async def slots(request: Request) -> Response:
    """As many slots as `/props` says, the first ones busy: clients read their number and who is
    free.
    """
    async with server_of(request).pool.lease(None) as served:
        num_running, context = served.driver.num_running, served.model.engine.context
        return json_response(
            [
                {"id": slot, "n_ctx": context, "is_processing": slot < num_running}
                for slot in range(served.num_slots)
            ]
        )


async def slot_action(request: Request) -> Response:
    """`?action=save`, `restore` or `erase`. The cache is found by text, so a slot's number is only
    repeated; what is saved is `prompt`'s.
    """
    body = await read_body(request, SlotBody)
    action = request.query_params.get("action", "")
    slot = request.path_params["id"]
    if not slot.isascii() or not slot.isdigit() or len(slot) > 6:
        raise ApiError(404, "there is no such slot", param="id", code="not_found")
    if action not in ("save", "restore", "erase"):
        raise ApiError(
            400, "action: is save, restore or erase", param="action", code="invalid_value"
        )
    async with server_of(request).pool.lease(body.model) as served:
        if action == "erase":
            erased = served.model.engine.pool.num_free
            await asyncio.to_thread(served.driver.call, lambda engine: engine.pool.forget_all())
            return json_response(
                {"id_slot": int(slot), "n_erased": erased * served.model.engine.pool.page_size}
            )
        path = slot_path(server_of(request).settings.state_folder, body.filename)
        if action == "save":
            return await _save(served, int(slot), path, body)
        if not path.is_file():
            raise ApiError(404, "there is no such file", param="filename", code="not_found")
        tokens = await asyncio.to_thread(served.model.load_state, path)
        return json_response(
            {
                "id_slot": int(slot),
                "filename": path.name,
                "n_restored": len(tokens),
                "n_read": path.stat().st_size,
            }
        )


async def _save(served: LoadedModel, slot: int, path: Path, body: SlotBody) -> Response:
    if body.prompt is None:
        raise ApiError(
            400, "prompt: says what to save", param="prompt", code="missing_required_parameter"
        )
    tokens = served.model.encode_prompt(body.prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = await asyncio.to_thread(served.model.save_state, path, tokens)
    return json_response(
        {"id_slot": slot, "filename": path.name, "n_saved": count, "n_written": path.stat().st_size}
    )


def slot_path(folder: Path | None, filename: str | None) -> Path:
    """A file directly in the folder for slots.

    Raises:
        ApiError: no folder, or a name that could lead out of it.
    """
    if folder is None:
        raise ApiError(
            400,
            "slots cannot be saved; start the server with --state FOLDER",
            code="no_state_folder",
        )
    if filename is None or not _FILE.match(filename):
        raise ApiError(
            400,
            "filename: letters, digits and _ . -, without folders",
            param="filename",
            code="invalid_value",
        )
    return folder / "slots" / filename


ROUTES = (
    RouteEntry("GET", "/slots", slots),
    RouteEntry("POST", "/slots/{id}", slot_action, SlotBody),
)
