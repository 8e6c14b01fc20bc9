"""What a caller asks of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from understudy.engine.params import SamplingParams
from understudy.errors import UsageError

Overflow = Literal["refuse", "keep_start", "keep_end"]


class Mask(Protocol):
    """A grammar that says which tokens may come next. One mask serves one sequence."""

    def allowed(self, generated: Sequence[int]) -> NDArray[np.uint32] | None:
        """Bit i of word i // 32 set where token i may follow `generated`; None: every token."""

    def forced(self, generated: Sequence[int]) -> list[int]:
        """Tokens that must follow: they are taken without asking the model."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing may follow what was last asked about."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to continue it.

    `overflow` says what to do with a prompt that, with `max_tokens`, does not fit the context:
    refuse (an error with the numbers), keep its start, or keep its end; what was dropped is
    reported. `make_mask` gives a fresh mask for each answer. Lower `priority` numbers go first,
    always. With `continues` the answer goes on a text, so that its first space counts. `shown` are
    special tokens that leave their text in the answer, `thinks` tells whoever reads the answer that
    it begins inside of its reasoning.
    """

    prompt: Sequence[int]
    params: SamplingParams = field(default_factory=SamplingParams)
    overflow: Overflow = "refuse"
    make_mask: MaskFactory | None = None
    priority: int = 0
    continues: bool = False
    shown: frozenset[int] = frozenset()
    thinks: bool = False

    def __post_init__(self) -> None:
        if self.overflow not in get_args(Overflow):
            raise UsageError(
                "no such policy",
                where="overflow",
                expected=" | ".join(get_args(Overflow)),
                found=self.overflow,
            )
        if type(self.priority) is not int:
            raise UsageError(
                "priority must be a whole number", where="priority", found=self.priority
            )


class MaskFactory(Protocol):
    def __call__(self) -> Mask: ...
