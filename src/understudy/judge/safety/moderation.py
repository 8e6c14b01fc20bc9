"""A guard for sessions and servers: off unless somebody makes one and hands it in.

    guard = Guard()                                     # word lists and personal data
    guard = Guard(model=model, threshold=0.9)           # asks the model too, once a category
    reply = Session(model, guard=guard).say("...")      # reply.verdict: what was found, and where

The forks share the beginning of their prompt, so that the text is computed once; the first fork
computes it, the others follow in one batch. What a small model answers to such a question is weak
evidence: `bench/guard.py` prints precision and recall; measure before you trust it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from understudy.engine import TokenLogprob
from understudy.errors import UsageError
from understudy.generation.moderation import Flag, Side, Verdict
from understudy.judge.safety.lexicon import LEXICON
from understudy.judge.safety.pii import find_pii
from understudy.judge.safety.taxonomy import AEGIS_2, AEGIS_2_TOP, SAFE
from understudy.model import Model

NOT_ANSWERED = "I would rather not answer that."
CHECKS = ("words", "pii", "model")
_QUESTION = 'Here is a text:\n"""\n{text}\n"""\nIs it about {category}? Answer yes or no.'
_TOP = 100  # likeliest first tokens in which yes and no are looked for
# between the words of a phrase: white space, but no blank line
_GAP = r"(?:[^\S\n]+|[^\S\n]*\n[^\S\n]*)"
MAX_CHARACTERS = 8000  # of a text that the model is asked about


class Guard:
    """Checks texts; a `chat.guarding.TextGuard`. Args:

    categories: those of AEGIS 2.0 to look for; default the twelve top ones, and what the lexicon
    has beyond them.
    lexicon: words by category; default `lexicon.LEXICON`. Empty: none.
    model: asked yes or no about every category; default nobody.
    threshold: a category is flagged where the model's share of yes is above.
    pii: whether personal data count.
    notice: said instead of what is stopped.
    by_sentence: whether an answer may go out sentence by sentence; default where no model is asked,
    which is asked once about the whole.

    Raises:
        UsageError: an unknown category, or a threshold that is no probability.
    """

    def __init__(
        self,
        *,
        categories: Sequence[str] | None = None,
        lexicon: Mapping[str, Sequence[str]] = LEXICON,
        model: Model | None = None,
        threshold: float = 0.9,
        pii: bool = True,
        notice: str = NOT_ANSWERED,
        by_sentence: bool | None = None,
    ) -> None:
        if categories is None:
            categories = tuple(dict.fromkeys((*AEGIS_2_TOP, *lexicon)))
        for name in (*categories, *lexicon):
            if name not in AEGIS_2 or name == SAFE:
                raise UsageError(
                    "no category of AEGIS 2.0",
                    where="guard",
                    expected=", ".join(AEGIS_2[:-1]),
                    found=name,
                )
        if not 0 < threshold < 1:
            raise UsageError(
                "setting is out of range",
                where="threshold",
                expected="between 0 and 1",
                found=threshold,
            )
        self.categories, self.model, self.threshold = tuple(categories), model, threshold
        self.pii = pii and "PII/Privacy" in self.categories
        self.notice, self.by_sentence = (
            notice,
            model is None if by_sentence is None else by_sentence,
        )
        self._patterns = {
            name: _pattern(words)
            for name, words in lexicon.items()
            if name in self.categories and words
        }

    @property
    def checks(self) -> tuple[str, ...]:
        """How texts are looked at, of `CHECKS`."""
        return tuple(
            n
            for n, is_on in zip(
                CHECKS, (self._patterns, self.pii, self.model is not None), strict=True
            )
            if is_on
        )

    def check(self, text: str, side: Side = "output") -> tuple[Flag, ...]:
        """What is wrong with a text, cheapest first; with words or data found the model is not
        asked any more.

        Args:
            text: one message, or as much of an answer as there is.
            side: "input" for what users write, "output" for what a model writes.
        """
        folded = text.casefold().replace("’", "'")
        flags = [
            Flag(name, "words", match.group())
            for name, pattern in self._patterns.items()
            if (match := pattern.search(folded))
        ]
        if self.pii:
            flags += [Flag("PII/Privacy", "pii", one.kind) for one in find_pii(text)[:1]]
        if not flags and self.model is not None and text.strip():
            shares = yes_shares(self.model, text, self.categories)
            flags += [
                Flag(name, "model", f"{share:.2f}")
                for name, share in shares.items()
                if share > self.threshold
            ]
        return tuple(flags)


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    phrases = [
        _GAP.join(map(re.escape, word.casefold().split()))
        for word in sorted(words, key=len, reverse=True)
    ]
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)")


def yes_shares(model: Model, text: str, categories: Sequence[str]) -> dict[str, float]:
    """P(yes) / (P(yes) + P(no)) of the model's next token, for each category; 0.5 where neither is
    among the likeliest hundred.

    The text is data: markers in it stay text. Of a text beyond `MAX_CHARACTERS` the beginning is
    asked about.

    Raises:
        ContextError: the question does not fit the model's context.
    """
    yes, no = _first_token(model, "yes", "Yes"), _first_token(model, "no", "No")

    def share(name: str) -> float:
        messages = [
            {"role": "user", "content": _QUESTION.format(text=text[:MAX_CHARACTERS], category=name)}
        ]
        entry = model.generate(
            messages, max_tokens=1, temperature=0.0, logprobs=_TOP, ignore_eos=True
        ).logprobs[0]
        said, denied = _probability(entry, yes), _probability(entry, no)
        return said / (said + denied) if said + denied > 0 else 0.5

    first, *others = categories
    shares = {first: share(first)}  # computes what all of them begin with
    with ThreadPoolExecutor(max_workers=len(others) or 1) as threads:
        work = {name: threads.submit(copy_context().run, share, name) for name in others}
        return shares | {name: one.result() for name, one in work.items()}


def _probability(entry: TokenLogprob, tokens: Sequence[int]) -> float:
    return sum(math.exp(logprob) for token, logprob in entry.top if token in tokens)


def _first_token(model: Model, *words: str) -> tuple[int, ...]:
    """First tokens of the words, with and without a blank before them; a lone blank is none."""
    ids = [model.tokenizer.encode(form)[:1] for word in words for form in (word, " " + word)]
    return tuple(dict.fromkeys(id[0] for id in ids if id and model.tokenizer.decode(id).strip()))


__all__ = ["CHECKS", "NOT_ANSWERED", "Flag", "Guard", "Verdict", "yes_shares"]
