"""Which adapters a request asks for: by the model's name (`base:adapter`), or by number in llama-
server's field `lora`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.engine import AdapterAsked
from understudy.serve.errors import ApiError
from understudy.serve.pool import LoadedModel


def chosen_adapter(served: LoadedModel, by_name: str | None, body: Any) -> AdapterAsked | None:
    """What acts on a request; None: what acts on all that choose nothing.

    Raises:
        ApiError: an adapter that is not loaded, or chosen in both ways.
    """
    lora = getattr(body, "lora", None)
    if by_name is None:
        return None if lora is None else named_scales(served, lora)
    if lora is not None:
        what = "the adapter is in the model's name already"
        raise ApiError(400, f"lora: {what}", param="lora", code="invalid_value")
    names = [adapter.name for adapter in served.model.adapters.list()]
    if by_name not in names:
        known = ", ".join(f"{served.name}:{name}" for name in names) or "none"
        raise ApiError(
            404,
            f"{served.name} has no adapter {by_name!r}; there are: {known}",
            param="model",
            code="model_not_found",
        )
    return by_name


def named_scales(served: LoadedModel, entries: Sequence[Any]) -> dict[str, float]:
    """Scales by name of llama-server's by number; a number that is not there is refused."""
    by_id = {adapter.id: adapter.name for adapter in served.model.adapters.list()}
    scales: dict[str, float] = {}
    for entry in entries:
        if entry.id not in by_id:
            known = ", ".join(map(str, by_id)) or "none is loaded"
            raise ApiError(
                400,
                f"lora: there is no adapter {entry.id}; there are: {known}",
                param="lora",
                code="invalid_value",
            )
        scales[by_id[entry.id]] = entry.scale
    return scales
