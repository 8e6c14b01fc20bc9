"""What one rendering of a chat template may use: steps, text and time. All text is paid for."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from understudy.errors import TemplateError

MAX_STEPS = 1_000_000  # lines of the compiled template
MAX_TEXT = 1 << 22  # characters of one string
MAX_STEP = 1 << 25  # characters that one step reads or makes, see `costs.py`
MAX_MADE = 1 << 26  # characters of all steps together
MAX_SECONDS = 10.0


@dataclass(slots=True)
class Run:
    """One rendering: what it has used, how lists and objects are written so that what is data in
    them stays hidden, and what hidden data are.
    """

    now: datetime.datetime
    write: Callable[[Any, Callable[[Any], str]], str] = lambda value, write: write(value)
    plain: Callable[[Any], Any] = lambda value: value
    made: int = 0
    steps: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def pay(self, length: int) -> None:
        self.made += length
        if time.monotonic() > self.deadline:
            raise TemplateError(
                "the chat template does not come to an end", expected=f"at most {MAX_SECONDS:g} s"
            )
        if length > MAX_STEP or self.made > MAX_MADE:
            raise TemplateError(
                "the chat template makes too much text", expected=f"at most {MAX_TEXT} characters"
            )

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS or (self.steps % 64 == 0 and time.monotonic() > self.deadline):
            raise TemplateError(
                "the chat template does not come to an end", expected=f"at most {MAX_STEPS} steps"
            )


RUN: ContextVar[Run | None] = ContextVar("understudy_template_run", default=None)


def pay(length: int) -> None:
    run = RUN.get()
    (run or Run(datetime.datetime.min)).pay(
        length
    )  # constants are computed while the template is compiled, outside of a run
