"""What an MCP server's tool gave back, as the model reads it.

Texts are texts. A text resource comes with its address, a link with its address and what it is said
to be, and what a model here cannot read (images, sound, bytes) with its kind and size. A structured
result is JSON where no text says it; nothing at all is said to be nothing. Schema: MCP 2026-07-28,
server/tools, "Tool Result".
"""

from __future__ import annotations

import json
from typing import Any

NOTHING = "(no result: the tool gave nothing back)"


def result_text(result: Any) -> str:
    """The text of a `CallToolResult`."""
    parts = [_part(part) for part in result.content]
    has_text = any(
        part.type == "resource" or (part.type == "text" and part.text) for part in result.content
    )
    structured = getattr(result, "structured_content", None)
    if structured is not None and not has_text:
        parts.append(json.dumps(structured, ensure_ascii=False))
    return "\n".join(part for part in parts if part) or NOTHING


def _part(part: Any) -> str:
    kind = getattr(part, "type", "content")
    if kind == "text":
        return str(part.text)
    if kind == "resource":
        return _resource(part.resource)
    if kind == "resource_link":
        title = getattr(part, "title", None) or part.name
        about = f": {part.description}" if part.description else ""
        return f"[link to {title} at {part.uri}{about}]"
    size = len(getattr(part, "data", "") or "") * 3 // 4
    return f"[{getattr(part, 'mime_type', None) or kind}, {size:,} bytes, not shown]"


def _resource(resource: Any) -> str:
    text = getattr(resource, "text", None)
    if text is not None:
        return f"[{resource.uri}]\n{text}"
    mime, size = resource.mime_type or "bytes", len(resource.blob) * 3 // 4
    return f"[{resource.uri}: {mime}, {size:,} bytes, not shown]"
