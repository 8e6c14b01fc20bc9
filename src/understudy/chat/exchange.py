"""A message on its way to its reply, with the calls and results between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy.chat.loop import ToolCall, ToolResult
from understudy.chat.sources import Grounding
from understudy.engine import Usage
from understudy.generation.plan import Ledger, Turn
from understudy.text.toolcalls import ParsedCall


@dataclass(slots=True)
class Exchange:
    """`newest` are its turns: the message, then calls and results."""

    text: str
    grounding: Grounding | None
    newest: list[Turn] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    waiting: list[ToolCall] = field(default_factory=list)
    num_passages: int = 0
    refused: tuple[tuple[ParsedCall, str], ...] = ()
    ledger: Ledger | None = None
