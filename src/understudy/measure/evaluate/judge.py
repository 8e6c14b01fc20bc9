"""What tasks ask of a model: likelihoods, perplexity, greedy answers and calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.measure.evaluate.likelihood import ModelScorer, Scorer
from understudy.measure.perplexity import Perplexity, perplexity
from understudy.model import Model


class Judge:
    """One model under judgement; answers are greedy, so that a run repeats."""

    def __init__(self, model: Model, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.scorer: Scorer = ModelScorer(model)

    def perplexity(self, text: str) -> Perplexity:
        return perplexity(self.model, text)

    def answer(self, messages: Sequence[dict[str, Any]], max_tokens: int = 128, **options: Any) -> str:
        return str(self.reply(messages, max_tokens, **options).text)

    def reply(self, messages: Sequence[dict[str, Any]], max_tokens: int = 128, **options: Any) -> Any:
        return self.model.generate(list(messages), temperature=0.0, max_tokens=max_tokens, seed=self.seed, **options)
