"""The order of what an event stream sends, where the connection takes its time."""

from __future__ import annotations

import asyncio

import pytest

from understudy.serve.events import EventStream

SLOW = 0.4  # seconds; comments are due every 0.04


async def _words():
    yield b"data: one\n\n"


async def _sent_by(slow: str) -> list[str]:
    """What is sent where one kind of message takes its time: kinds in their order."""
    sent: list[str] = []

    async def send(message):
        body = message.get("body", b"")
        kind = "start" if message["type"] == "http.response.start" else "body"
        kind = "end" if not message.get("more_body", True) else kind
        sent.append("comment" if body.startswith(b":") else kind)
        if kind == slow:
            await asyncio.sleep(SLOW)

    stream = EventStream(_words(), ping_s=0.04, write_timeout_s=5.0)
    await stream({"type": "http"}, asyncio.Event().wait, send)
    return sent


@pytest.mark.parametrize("slow", ["start", "body", "end"])
def test_no_comment_comes_before_the_head_or_behind_the_end(slow):
    assert asyncio.run(_sent_by(slow)) == ["start", "body", "end"]
