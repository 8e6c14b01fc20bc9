"""A conversation with tools, documents and a character, each optional; every token accounted for.

session.py      `Session(model, system=..., tools=..., documents=..., character=...).say(text)`
settings.py     how replies are made | setup.py: all that a session was given
history.py      what was said, and how much of it prompts still hold
exchange.py     a message on its way to its answer, with calls and results between them
prompting.py    what one prompt is made of | choose.py: which of many tools it shows
writing.py      the model writes, tools run, the model reads their results | reply_text.py: as text
loop.py         running what was called: time limit, errors as results, clamping, approval
sources.py      what documents and characters must offer to a session
saved.py        a conversation as files | stepping.py: `asay` and `astream`
mcp.py          tools of an MCP server (extra `mcp`) | mcp_results.py: what they give back
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.shown import shown

if TYPE_CHECKING:
    from understudy.chat.session import Session
    from understudy.chat.settings import SessionSettings

__all__ = ["Session", "SessionSettings"]
__getattr__ = shown(__name__, __all__)
