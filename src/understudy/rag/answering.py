"""From a question to an answer with quotes, or to "the documents do not say".

answer = ask(model, Index("notes.index"), "When was the light built?")
print(answer.text, answer.citations)

The passages stand in `<context>` in the system turn, as in NVIDIA's own sample. Documents are data:
a marker or an instruction in them stays text. Before the model is asked, the retrieval itself is:
below the threshold of `abstain.py` nothing is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from understudy.errors import UsageError
from understudy.rag.cite import Citation
from understudy.rag.ground import SYSTEM, PassageGrounding, ground
from understudy.rag.index import Index, as_utf8
from understudy.rag.operating_point import DEFAULT_POINT, OperatingPoint
from understudy.rag.settings import AnswerSettings
from understudy.rag.store import Passage
from understudy.text.grammar import Grammar

if TYPE_CHECKING:
    from understudy.engine import Usage
    from understudy.generation.reply import Reply
    from understudy.model import Model

RESERVE = 384  # tokens for the answer
MAX_QUESTION = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is None where the documents do not say, and `why` then tells whether retrieval or the
    model said so.
    """

    text: str | None
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    confidence: float
    point: OperatingPoint
    why: str = ""
    usage: Usage | None = None
    prompt_tokens: int = 0
    dropped: tuple[str, ...] = ()


def ask(
    model: Model,
    index: Index,
    question: str,
    *,
    k: int = 8,
    point: OperatingPoint = DEFAULT_POINT,
    max_tokens: int = RESERVE,
    settings: AnswerSettings | None = None,
    **sampling: Any,
) -> Answer:
    """Answers a question from an index.

    Args:
        k: most passages to give to the model; fewer where they would not fit.
        point: below its threshold the documents are taken not to say.
        max_tokens: of the answer.
        sampling: other options of `Model.generate`.
        settings: the form of the answer and how it is checked; default the index's, then the
            model's preset.

    Raises:
        UsageError: an empty or over-long question.
        DocumentError: there is no index.
    """
    question = as_utf8(question)
    num_tokens = len(model.tokenizer.encode(question))
    if not question.strip() or num_tokens > MAX_QUESTION:
        raise UsageError(
            "question cannot be used",
            expected=f"1 to {MAX_QUESTION} tokens",
            found=f"{num_tokens} tokens",
        )
    found = ground(index, question, k=k, point=point)
    if not found.is_enough:
        return Answer(
            None, (), found.passages, found.confidence, point, "nothing near enough was found"
        )
    found = found.for_model(model.spec, settings or index.answers)
    asked = {"max_tokens": max_tokens, "temperature": 0.0, **sampling}
    options = model.limits.with_job_adapter(asked)
    count, reply = _write(model, found, options)
    if (again := found.second_try(reply.raw_text, count)) is not None:
        second = _write(model, again, options)
        if not again.missing(second[1].raw_text, second[0]):
            found, (count, reply) = again, second
    text, citations = found.read(reply.raw_text, count)
    why = "the model found no answer in the passages" if text is None else ""
    return Answer(
        text,
        citations,
        found.passages[:count],
        found.confidence,
        point,
        why,
        reply.usage,
        reply.usage.prompt_tokens,
        tuple(f"passage {i + 1}: no room" for i in range(count, len(found.passages))),
    )


def _write(model: Model, found: PassageGrounding, options: dict[str, Any]) -> tuple[int, Reply]:
    count, prompt = _fit(model, found, options["max_tokens"])
    grammar = Grammar(model.tokenizer).lark(found.grammar(count, model.spec))
    return count, model.generate(prompt, make_mask=grammar, **options)


def _fit(model: Model, found: PassageGrounding, reserve: int) -> tuple[int, Any]:
    """How many of the best passages fit, and their prompt."""
    contexts = found.contexts
    for count in range(len(contexts), 0, -1):
        prompt = prompt_of(model, found.question, contexts[:count], found.instructions)
        if len(prompt.encode(model.tokenizer)) + reserve <= model.context:
            return count, prompt
    raise UsageError(
        "not one passage fits the context",
        expected=f"{model.context} tokens",
        do="give more context, or make the chunks smaller",
    )


def prompt_of(
    model: Model, question: str, contexts: Sequence[str], instructions: str = SYSTEM
) -> Any:
    """The rendered prompt: instructions and passages in the system turn, the question as the
    user's.
    """
    messages = [
        {"role": "system", "content": instructions},
        {"role": "user", "content": question},
    ]
    return model.chat_template.without_thoughts.render(messages, contexts=contexts)
