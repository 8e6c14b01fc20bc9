"""What `/v1/responses` gives: output items, and the events by which a stream tells of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from understudy.generation.reader import CallPiece, CallStart, ReasoningPiece, ReplyPiece, TextPiece
from understudy.serve.api.responses_bodies import CallItem, Item, MessageItem, ReasoningItem
from understudy.serve.events import event

_KINDS: dict[type, str] = {
    TextPiece: "message",
    ReasoningPiece: "reasoning",
    CallStart: "function_call",
}


class OutputItems:
    """The items of one response, the last of which is being written."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    @property
    def last(self) -> dict[str, Any]:
        return self.all[-1]

    @property
    def place(self) -> dict[str, Any]:
        """Where the last item stands, as events tell it."""
        return {"output_index": len(self.all) - 1, "item_id": self.last["id"]}

    def is_begun_by(self, piece: ReplyPiece) -> bool:
        """Whether a piece begins an item of its own."""
        if isinstance(piece, CallPiece):
            return False
        kind = _KINDS[type(piece)]
        return kind == "function_call" or not self.all or self.last["type"] != kind

    def add(self, piece: ReplyPiece) -> None:
        if isinstance(piece, CallPiece):
            self.last["arguments"] += piece.text
            return
        if self.is_begun_by(piece):
            if isinstance(piece, CallStart):
                self.all.append(_new_call(piece))
            else:
                self.all.append(_new_item(_KINDS[type(piece)]))
        if not isinstance(piece, CallStart):
            self.last["content"][0]["text"] += piece.text

    def refuse(self, notice: str) -> None:
        """A message that says what the guard says."""
        item = _new_item("message")
        item["content"] = [{"type": "refusal", "refusal": notice}]
        self.all.append(item)


def _new_call(start: CallStart) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{secrets.token_hex(12)}",
        "call_id": start.id,
        "name": start.name,
        "arguments": "",
        "status": "in_progress",
    }


def _new_item(kind: str) -> dict[str, Any]:
    """A message or a reasoning that has just begun."""
    if kind == "reasoning":
        content = [{"type": "reasoning_text", "text": ""}]
        return {
            "type": "reasoning",
            "id": f"rs_{secrets.token_hex(12)}",
            "summary": [],
            "content": content,
            "status": "in_progress",
        }
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{secrets.token_hex(12)}",
        "role": "assistant",
        "status": "in_progress",
        "content": [part],
    }


def as_item(item: dict[str, Any]) -> Item:
    """An output item as an item of the next conversation."""
    if item["type"] == "reasoning":
        return ReasoningItem(type="reasoning", id=item["id"], content=item["content"])
    if item["type"] == "function_call":
        return CallItem(
            type="function_call",
            call_id=item["call_id"],
            name=item["name"],
            arguments=item["arguments"],
        )
    part = item["content"][0]
    return MessageItem(role="assistant", content=part.get("text", part.get("refusal", "")))


class ItemEvents:
    """Events about `items`, numbered."""

    def __init__(self, items: OutputItems) -> None:
        self._items, self._number = items, 0

    def event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def _of_content(self, kind: str, **fields: Any) -> bytes:
        return self.event(kind, **self._items.place, content_index=0, **fields)

    def _of_item(self, kind: str, item: dict[str, Any]) -> bytes:
        index = self._items.place["output_index"]
        return self.event(f"response.output_item.{kind}", output_index=index, item=item)

    def opening(self) -> Iterator[bytes]:
        """The last item has begun."""
        item = self._items.last
        if item["type"] == "function_call":
            yield self._of_item("added", {**item, "arguments": ""})
            return
        yield self._of_item("added", {**item, "content": []})
        part = {**item["content"][0], "text": ""}
        yield self._of_content("response.content_part.added", part=part)

    def delta(self, piece: ReplyPiece) -> Iterator[bytes]:
        """A piece was added to it."""
        if isinstance(piece, TextPiece):
            yield self._of_content("response.output_text.delta", delta=piece.text, logprobs=[])
        elif isinstance(piece, ReasoningPiece):
            yield self._of_content("response.reasoning_text.delta", delta=piece.text)
        elif isinstance(piece, CallPiece):
            yield self.event(
                "response.function_call_arguments.delta", **self._items.place, delta=piece.text
            )

    def closing(self, status: str) -> Iterator[bytes]:
        """It is whole, or `incomplete`."""
        item = self._items.last
        item["status"] = status
        if item["type"] == "function_call":
            yield self.event(
                "response.function_call_arguments.done",
                **self._items.place,
                name=item["name"],
                arguments=item["arguments"],
            )
        else:
            part = item["content"][0]
            if item["type"] == "message":
                yield self._of_content("response.output_text.done", text=part["text"], logprobs=[])
            else:
                yield self._of_content("response.reasoning_text.done", text=part["text"])
            yield self._of_content("response.content_part.done", part=part)
        yield self._of_item("done", item)

    def refusal(self, notice: str) -> Iterator[bytes]:
        """A message of its own, in the place of what the guard stopped."""
        self._items.refuse(notice)
        item = self._items.last
        part, item["status"] = item["content"][0], "incomplete"
        yield self._of_item("added", {**item, "content": [], "status": "in_progress"})
        yield self._of_content("response.content_part.added", part={**part, "refusal": ""})
        yield self._of_content("response.refusal.delta", delta=part["refusal"])
        yield self._of_content("response.refusal.done", refusal=part["refusal"])
        yield self._of_content("response.content_part.done", part=part)
        yield self._of_item("done", item)
