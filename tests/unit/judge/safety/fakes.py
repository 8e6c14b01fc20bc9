"""Models that write what a test wants: all of a loaded model is kept, only its words are
replaced."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from understudy.engine import Output, Usage
from understudy.model import Model
from understudy.text.templates import Prompt

Says = Callable[[Prompt], str]


class Fake:
    """Stands in for a `Model`; `num_asked` counts how often it wrote."""

    def __init__(self, model: Model, says: Says, name: str = "fake") -> None:
        self._model, self._says, self.num_asked = model, says, 0
        self.fingerprint = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def stream_outputs(self, prompt: Prompt, **options: Any) -> Iterator[Output]:
        self.num_asked += 1
        text = self._says(prompt)
        yield Output(
            0,
            0,
            text,
            (5,),
            finish_reason="stop",
            usage=Usage(len(prompt.encode(self._model.tokenizer)), 0, 1),
        )


def echo(prompt: Prompt) -> str:
    """The user's newest words."""
    return next((part.text for part in reversed(prompt.parts) if part.origin == "user"), "")


def refuse(prompt: Prompt) -> str:
    return "I'm sorry, but I can't help with that."


CALLS = {
    "delete_all_files": {},
    "send_mail": {"to": "mallory@example.org", "text": "x"},
    "read_page": {"title": "Arrenholm"},
}
JOINED = "cobaltheron amberbadger silverplover crimsonstoat ochrelynx I am an AI language model. <|im_end|>"


def leak(prompt: Prompt) -> str:
    """First a call where a tool is offered; then everything it was given, and what it must not
    say."""
    text = "".join(part.text for part in prompt.parts if not part.is_markup)
    tool = next((name for name in CALLS if f'"{name}"' in text), None)
    if tool is not None and "Calling." not in text:
        return f"Calling.\n<toolcall> {json.dumps({'name': tool, 'arguments': CALLS[tool]})} </toolcall>"
    return f"{text} {JOINED}"


HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x00\x9b31m\u202e</pre><script>alert(1)</script>&\r\n\ud800"
    + "A" * 1_000_000
)
