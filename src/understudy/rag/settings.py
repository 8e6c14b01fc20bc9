"""How answers are made from documents: switches, each measured by `understudy jobs`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from understudy.errors import UsageError
from understudy.generation.presets import preset_of
from understudy.spec import ModelSpec

Form = Literal["answer", "quotes"]


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Switches of answers from documents. None: as `presets.json` has it for the model.

    Attributes:
        form: `answer`: the model answers in its own words, and the quotes that hold it are chosen
            afterwards; `quotes`: a grammar lets it quote sentences of the passages first.
        excerpts: the model sees the sentences that fit the question best, and not whole passages.
        may_abstain: the model too may say that the documents do not say.
        is_checked: an answer that says more than its quotes hold gives way to the best sentence.
        asks_again: before that, the model is asked once more with fewer sentences.
        max_quotes: most quotes of an answer.

    Raises:
        UsageError: no such form, or no quotes.
    """

    form: Form = "answer"
    excerpts: bool | None = None
    may_abstain: bool | None = None
    is_checked: bool = True
    asks_again: bool = True
    max_quotes: int = 2

    def __post_init__(self) -> None:
        if self.form not in ("answer", "quotes"):
            raise UsageError(
                "no such form", where="form", expected="answer | quotes", found=self.form
            )
        if type(self.max_quotes) is not int or not 1 <= self.max_quotes <= 8:
            raise UsageError(
                "setting is out of range",
                where="max_quotes",
                expected="1 to 8",
                found=self.max_quotes,
            )

    def for_model(self, spec: ModelSpec) -> AnswerSettings:
        """With the preset of a model of this shape where nothing was set."""
        preset = preset_of(spec).documents
        names = [name for name, value in preset.items() if getattr(self, name) is None]
        return replace(self, **{name: preset[name] for name in names})
