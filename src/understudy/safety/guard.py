"""A guard in front of and behind a session: off unless somebody makes one.

guard = Guard()                                  # word lists and personal data
guard = Guard(model=model, threshold=0.9)        # also asks the model itself, one yes-or-no fork for each category
guarded = GuardedSession(session, guard)
reply = guarded.say("...")                       # reply.verdict says what was found, and where

The forks share the beginning of their prompt, so that the text is computed once and each category costs a few tokens. What a small
model answers to such a question is weak evidence: `bench/guard.py` prints precision and recall; measure before you trust it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.chat.reply import Reply
from understudy.chat.session import Session
from understudy.errors import UsageError
from understudy.model import Model
from understudy.safety.lexicon import LEXICON
from understudy.safety.pii import find_pii
from understudy.safety.taxonomy import AEGIS_2, AEGIS_2_TOP, SAFE

NOT_ANSWERED = "I would rather not answer that."
_QUESTION = 'Here is a text:\n"""\n{text}\n"""\nIs it about {category}? Answer yes or no.'
_FORCED = 1e4  # added to a token's logit: more than any model's own
MAX_CHARACTERS = 8000  # of a text that the model is asked about


@dataclass(frozen=True, slots=True)
class Flag:
    """A category of AEGIS 2.0, how it was found (`words`, `pii`, `model`), and what was."""

    category: str
    by: str
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`where` is the side that was stopped, None where nothing was."""

    flags: tuple[Flag, ...] = ()
    where: Literal["input", "output"] | None = None

    @property
    def is_safe(self) -> bool:
        return not self.flags


class Guard:
    """Checks texts. Args:

    categories: those of AEGIS 2.0 to look for; default the twelve top ones.
    lexicon: words by category; default `lexicon.LEXICON`. Empty: none.
    model: asked yes or no about every category; default nobody.
    threshold: a category is flagged where the model's share of yes is above.
    pii: whether personal data count.

    Raises:
        UsageError: an unknown category, or a threshold that is no probability.
    """

    def __init__(
        self,
        *,
        categories: Sequence[str] = AEGIS_2_TOP,
        lexicon: Mapping[str, Sequence[str]] = LEXICON,
        model: Model | None = None,
        threshold: float = 0.9,
        pii: bool = True,
    ) -> None:
        for name in (*categories, *lexicon):
            if name not in AEGIS_2 or name == SAFE:
                raise UsageError("no category of AEGIS 2.0", where="guard", expected=", ".join(AEGIS_2[:-1]), found=name)
        if not 0 < threshold < 1:
            raise UsageError("setting is out of range", where="threshold", expected="between 0 and 1", found=threshold)
        self.categories, self.model, self.threshold, self.pii = tuple(categories), model, threshold, pii
        self._patterns = {name: _pattern(words) for name, words in lexicon.items() if name in self.categories and words}

    def check(self, text: str) -> tuple[Flag, ...]:
        """What is wrong with a text, cheapest first; with words or data found the model is not asked any more."""
        flags = [
            Flag(name, "words", match.group())
            for name, pattern in self._patterns.items()
            if (match := pattern.search(text.casefold().replace("’", "'")))
        ]
        if self.pii and "PII/Privacy" in self.categories:
            flags += [Flag("PII/Privacy", "pii", one.kind) for one in find_pii(text)[:1]]
        if not flags and self.model is not None and text.strip():
            shares = yes_shares(self.model, text, self.categories)
            flags += [Flag(name, "model", f"{share:.2f}") for name, share in shares.items() if share > self.threshold]
        return tuple(flags)


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    ordered = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(word.casefold()) for word in ordered)})(?!\w)")


def yes_shares(model: Model, text: str, categories: Sequence[str]) -> dict[str, float]:
    """P(yes) / (P(yes) + P(no)) of the model's next token, for each category. The text is data: markers in it stay text.

    Raises:
        ContextError: the question does not fit the model's context.
    """
    yes, no = _first_token(model, "yes", "Yes"), _first_token(model, "no", "No")
    shares = {}
    for name in categories:
        messages = [{"role": "user", "content": _QUESTION.format(text=text[:MAX_CHARACTERS], category=name)}]
        said, denied = (sum(_probability(model, messages, id) for id in ids) for ids in (yes, no))
        shares[name] = said / (said + denied) if said + denied > 0 else 0.5
    return shares


def _probability(model: Model, messages: list[dict[str, str]], token: int) -> float:
    """The model's own probability of a token as the first of its answer: the bias chooses it, its log-probability has none."""
    reply = model.generate(messages, max_tokens=1, temperature=0.0, logit_bias={token: _FORCED}, logprobs=0, ignore_eos=True)
    return math.exp(reply.logprobs[0].logprob) if reply.logprobs and reply.logprobs[0].token == token else 0.0


def _first_token(model: Model, *words: str) -> tuple[int, ...]:
    """First tokens of the words, with and without a blank before them; a lone blank is none."""
    ids = [model.tokenizer.encode(form)[:1] for word in words for form in (word, " " + word)]
    return tuple(dict.fromkeys(id[0] for id in ids if id and model.tokenizer.decode(id).strip()))


@dataclass(frozen=True, slots=True)
class GuardedReply:
    """`reply` is None where the message was stopped before the model saw it; `text` is what may be shown."""

    text: str
    reply: Reply | None
    verdict: Verdict


class GuardedSession:
    """A session whose messages and answers are checked. A stopped exchange leaves no trace in the conversation.

    Replies come whole: what is streamed out cannot be taken back. Calls run inside the session; give it `approve` for those.
    """

    def __init__(self, session: Session, guard: Guard, *, not_answered: str = NOT_ANSWERED) -> None:
        self.session, self.guard, self.not_answered = session, guard, not_answered

    def say(self, text: str, **options: Any) -> GuardedReply:
        """As `Session.say`; see `GuardedReply`."""
        if flags := self.guard.check(text):
            return GuardedReply(self.not_answered, None, Verdict(flags, "input"))
        reply = self.session.say(text, **options)
        if flags := self.guard.check(reply.text):
            self.session.undo()
            return GuardedReply(self.not_answered, reply, Verdict(flags, "output"))
        return GuardedReply(reply.text, reply, Verdict())
