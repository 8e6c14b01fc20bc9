"""`/save` and `/load` as `chat` and `npc` understand them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.errors import UsageError

if TYPE_CHECKING:
    from understudy.chat.saved import SavedConversation

SAVE_HELP = "[--text] FILE: write the conversation; --text: without FILE.kv, what is computed of it"


def save_to(conversation: SavedConversation, rest: str) -> None:
    """Saves as `/save` was typed.

    Raises:
        UsageError: no file is named, or it cannot be written.
    """
    first, _, others = rest.partition(" ")
    is_text = first == "--text"
    name = file_named(others.strip() if is_text else rest)
    try:
        conversation.save(name, with_state=not is_text)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", where=name) from error


def file_named(name: str) -> str:
    """Raises UsageError where there is no name."""
    if not name:
        raise UsageError("no file named", where="/save, /load, /resume")
    return name
