"""A teacher and a student of one tokenizer whose embeddings are padded differently: the rows that
no token means are cut.

Qwen2.5 is an example: its sizes have one tokenizer of 151,665 tokens, and 151,936 or 152,064 rows.
"""

from __future__ import annotations

import dataclasses

from understudy.compress.folder import Source
from understudy.compress.network import network_on
from understudy.errors import UsageError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import open_tokenizer
from understudy.text.spm import UNUSED

_MATRICES = ("model.embed_tokens.weight", "lm_head.weight")


def share_vocabulary(teacher: Source, student: Source) -> tuple[Source, Source]:
    """Both with one row a token, where they have not the same number of rows.

    Raises:
        UsageError: their tokenizers differ, or one has a row less than there are tokens.
    """
    sizes = [one.network.spec.vocab_size for one in (teacher, student)]
    sources = (one.checkpoint.tokenizer_source for one in (teacher, student))
    num_tokens = num_shared_tokens(*sources)
    if num_tokens is not None and num_tokens > min(sizes):
        raise _different(f"at least {num_tokens} rows, one for each token", f"{min(sizes)} rows")
    if sizes[0] == sizes[1]:
        return teacher, student
    if num_tokens is None:
        raise _different(f"{sizes[0]} pieces", f"{sizes[1]} pieces")
    return with_vocabulary(teacher, num_tokens), with_vocabulary(student, num_tokens)


def num_shared_tokens(one: TokenizerSource | None, other: TokenizerSource | None) -> int | None:
    """How many tokens both tokenizers have, a teacher's and a student's; None where one is absent.

    Raises:
        UsageError: a token is not the same in both.
    """
    if one is None or other is None:
        return None
    first, second = open_tokenizer(one), open_tokenizer(other)
    counts = [_without_padding(one, first.vocab_size), _without_padding(other, second.vocab_size)]
    for token in range(min(counts)):
        ours, theirs = first.id_to_piece(token), second.id_to_piece(token)
        if ours != theirs:
            raise _different(f"token {token} {ours!r}", repr(theirs))
    return max(counts)


def _without_padding(source: TokenizerSource, size: int) -> int:
    """How many tokens a vocabulary has before those that only fill the rows of a GGUF."""
    if source.kind != "gguf" or len(source.types) != size:
        return size
    return max((id + 1 for id, kind in enumerate(source.types) if kind != UNUSED), default=size)


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
