"""Errors as HTTP answers: one exception of our own, and what the tree of errors means in HTTP."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from understudy.atomic import is_full_disk
from understudy.engine.handles import BusyError, StoppedError, TimeoutExceeded
from understudy.errors import (
    ContextError,
    InputError,
    MemoryBudgetError,
    SchemaError,
    TemplateError,
    UnderstudyError,
    UsageError,
)
from understudy.rag.schema import StoreError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    422: "invalid_request_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_UNION_NOISE = {
    "str",
    "int",
    "float",
    "bool",
    "none",
    "dict",
    "list",
    "tuple",
    "tool_use",
    "tool_result",
}

_TAGS = {
    *("message", "function_call", "function_call_output", "reasoning", "item_reference"),
    *("text", "refusal", "thinking", "redacted_thinking"),
}


class ApiError(Exception):
    """An answer that is an error. `param` names the field of the body, `code` is for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.details = details
        self.status, self.message, self.param, self.code, self.headers = (
            status,
            message,
            param,
            code,
            headers or {},
        )

    @property
    def type(self) -> str:
        return _TYPES.get(self.status, "server_error")

    def to_openai(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def to_anthropic(self) -> dict[str, Any]:
        kind = {429: "rate_limit_error", 503: "overloaded_error", 413: "request_too_large"}.get(
            self.status, self.type
        )
        kind = "api_error" if kind == "server_error" else kind
        details = {} if self.details is None else {"details": self.details}
        return {"type": "error", "error": {"type": kind, "message": self.message, **details}}


def unsupported(param: str, why: str = "is not implemented by this server") -> ApiError:
    return ApiError(400, f"{param}: {why}", param=param, code="unsupported_parameter")


def from_validation(error: ValidationError) -> ApiError:
    """The first fault of a body, named the way its writer would; of the members of a union that of
    the one that fits best.
    """
    faults = error.errors(include_url=False)
    beginning = param_name(_of_kind(faults)["loc"])
    first = max(
        (fault for fault in faults if param_name(fault["loc"]).startswith(beginning)),
        key=lambda fault: (len(fault["loc"]), not fault["type"].endswith("_type")),
    )
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is no JSON ({first['msg']})", code="invalid_json")
    param = param_name(first["loc"])
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{param}: unknown parameter", param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(400, f"{param}: missing", param=param, code="missing_required_parameter")
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _wrong_kind(param, first.get("ctx", {}))
    return ApiError(400, f"{param}: {first['msg']}", param=param, code="invalid_value")


def _of_kind(faults: list[Any]) -> Any:
    """The first fault, or that of the `type` beside it, which explains it."""
    first = faults[0]
    place = (*first["loc"][:-1], "type")
    return next((fault for fault in faults if fault["loc"] == place), first)


def _wrong_kind(param: str, context: dict[str, Any]) -> ApiError:
    """A part of a type that is not taken; images and sound are the ones that are sent most."""
    tag, known = str(context.get("tag", "")), str(context.get("expected_tags", ""))
    if any(word in tag for word in ("image", "audio", "video", "file", "document")):
        message = f"{param}: {tag[:60]!r} is not read by this server; it reads text alone"
    else:
        message = f"{param}.type: expected one of {known}; found {tag[:60]!r}"
    return ApiError(400, message, param=f"{param}.type", code="invalid_value")


def param_name(place: tuple[int | str, ...]) -> str:
    """`messages[0].content` out of pydantic's place, without the names of union members."""
    name = ""
    for i, entry in enumerate(place):
        if isinstance(entry, int):
            name += f"[{entry}]"
        elif _is_member(place, i):
            continue
        elif entry.isidentifier() and entry not in _UNION_NOISE and not entry[:1].isupper():
            name += f".{entry}" if name else entry
    return name or "body"


def _is_member(place: tuple[int | str, ...], i: int) -> bool:
    """Whether a step is the tag of an entry's kind: it stands between its number and its field."""
    is_between = 0 < i < len(place) - 1 and isinstance(place[i - 1], int)
    return is_between and place[i] in _TAGS and isinstance(place[i + 1], str)


def full_disk() -> ApiError:
    """Where is no client's business."""
    return ApiError(507, "the server's disk is full; nothing was kept", code="storage_failed")


def from_understudy(error: UnderstudyError) -> ApiError:
    """What an error means to a client; those of the machine tell nothing about the request."""
    if is_full_disk(error.__cause__):
        return full_disk()
    if isinstance(error, ContextError):
        return ApiError(400, str(error), code="context_length_exceeded")
    if isinstance(error, UsageError):
        param = error.where if isinstance(error.where, str) and error.where.isidentifier() else None
        return ApiError(400, str(error), param=param, code="invalid_value")
    if isinstance(error, SchemaError):
        return ApiError(400, str(error), code="invalid_schema")
    if isinstance(error, TemplateError):
        return ApiError(400, str(error), param="messages", code="invalid_value")
    if isinstance(error, MemoryBudgetError):
        return ApiError(503, str(error), code="out_of_memory")
    if isinstance(error, StoreError):
        return ApiError(507, str(error), code="storage_failed")
    if isinstance(error, InputError):
        return ApiError(400, str(error), code="invalid_value")
    return ApiError(500, str(error), code="generation_failed")


def as_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutExceeded):
        return ApiError(504, str(error), code="timeout")
    if isinstance(error, BusyError):
        return ApiError(
            429, str(error), code="server_busy", headers={"Retry-After": str(error.retry_after_s)}
        )
    if isinstance(error, StoppedError):
        return ApiError(503, str(error), code="server_stopping", headers={"Retry-After": "5"})
    if isinstance(error, UnderstudyError):
        return from_understudy(error)
    raise error
