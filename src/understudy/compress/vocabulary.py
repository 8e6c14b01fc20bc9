"""A teacher and a student of one tokenizer whose embeddings are padded differently: the rows that
no token means are cut.

Qwen2.5 is an example: its sizes have one tokenizer of 151,665 tokens, and 151,936 or 152,064 rows.
"""

from __future__ import annotations

import dataclasses

from understudy.compress.folder import Source
from understudy.compress.network import network_on
from understudy.errors import UsageError
from understudy.text import open_tokenizer

_MATRICES = ("model.embed_tokens.weight", "lm_head.weight")


def share_vocabulary(teacher: Source, student: Source) -> tuple[Source, Source]:
    """Both with one row a token, where they have not the same number of rows.

    Raises:
        UsageError: their tokenizers differ, or one has a row less than there are tokens.
    """
    sizes = [one.network.spec.vocab_size for one in (teacher, student)]
    num_tokens = _num_tokens(teacher, student)
    if num_tokens is not None and num_tokens > min(sizes):
        raise _different(f"at least {num_tokens} rows, one for each token", f"{min(sizes)} rows")
    if sizes[0] == sizes[1]:
        return teacher, student
    if num_tokens is None:
        raise _different(f"{sizes[0]} pieces", f"{sizes[1]} pieces")
    return with_vocabulary(teacher, num_tokens), with_vocabulary(student, num_tokens)


def _num_tokens(teacher: Source, student: Source) -> int | None:
    """How many tokens both tokenizers have; None where the student's folder has no tokenizer.

    Raises:
        UsageError: a token is not the same in both.
    """
    sources = [one.checkpoint.tokenizer_source for one in (teacher, student)]
    if sources[0] is None or sources[1] is None:
        return None
    first, second = (open_tokenizer(source) for source in sources if source is not None)
    for token in range(min(first.vocab_size, second.vocab_size)):
        ours, theirs = first.id_to_piece(token), second.id_to_piece(token)
        if ours != theirs:
            raise _different(f"token {token} {ours!r}", repr(theirs))
    return max(first.vocab_size, second.vocab_size)


def _different(expected: str, found: str) -> UsageError:
    return UsageError(
        "teacher and student have different vocabularies",
        expected=expected,
        found=found,
        do="distil between models that share a tokenizer",
    )


def with_vocabulary(source: Source, size: int) -> Source:
    """The same model with the first `size` rows of its embedding and head; nothing is copied."""
    if source.network.spec.vocab_size == size:
        return source
    spec = source.network.spec.replace(vocab_size=size)
    weights = {
        name: value[:size] if name in _MATRICES else value
        for name, value in source.network.state_dict().items()
    }
    checkpoint = dataclasses.replace(source.checkpoint, spec=spec)
    return dataclasses.replace(source, network=network_on(spec, weights), checkpoint=checkpoint)
