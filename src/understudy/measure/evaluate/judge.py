"""What tasks ask of a model: likelihoods, perplexity, greedy answers and calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.measure.evaluate.likelihood import ModelScorer
from understudy.measure.perplexity import Perplexity, perplexity
from understudy.model import Model


class Judge:
    """One model under judgement; answers are greedy, so that a run repeats."""

    def __init__(self, model: Model, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.scorer = ModelScorer(model)

    def perplexity(self, text: str) -> Perplexity:
        return perplexity(self.model, text)

    def answer(self, messages: Sequence[dict[str, Any]], max_tokens: int = 128, **options: Any) -> str:
        return str(self.reply(messages, max_tokens, **options).text)

    def reply(self, messages: Sequence[dict[str, Any]], max_tokens: int = 128, **options: Any) -> Any:
        return self.model.generate(list(messages), temperature=0.0, max_tokens=max_tokens, seed=self.seed, **options)

    def answer_logprobs(self, question: str, beginnings: Sequence[str]) -> list[float]:
        """Log-likelihood of each beginning of an answer to a user's question, in nats."""
        context = self.model.encode_prompt([{"role": "user", "content": question}])
        continuations = [self.model.tokenizer.encode(text, add_bos=False) for text in beginnings]
        return [self.scorer.score_tokens(context, continuation).logprob for continuation in continuations]

    def continuation(self, prompt: Sequence[int], num_tokens: int) -> tuple[int, ...]:
        """The greedy continuation of token ids."""
        return self.model.generate(list(prompt), temperature=0.0, max_tokens=num_tokens, ignore_eos=True).tokens
