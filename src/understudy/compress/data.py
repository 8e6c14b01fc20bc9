"""Training and calibration data: text and JSONL become sequences of tokens of one length, with a
mask of what is learnt.

    sequences = read_sequences([Path("books.txt"), Path("chats.jsonl")], encoder, length=512)
    sequences.tokens  (sequences, length + 1) int32     sequences.mask  (sequences, length) uint8:
    mask[r, t] = 1 if predicting t + 1 counts

A record is a text (all of it counts) or a chat (only what the assistant says counts, as the chat
template renders it); `compress.records` has the forms. Documents are packed
end to end, an end-of-text token between them. The order of batches is a function of seed and step
alone, so a run resumes without any state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from understudy.compress.record_files import is_records, opened_lines
from understudy.compress.records import Chat, read_records
from understudy.errors import DocumentError, TemplateError, UsageError

IntArray = NDArray[np.int32]


class Encoder(Protocol):
    """How words become ids. `TextEncoder` adapts a tokenizer and a chat template of the text
    room."""

    @property
    def end_id(self) -> int | None: ...

    def text(self, text: str) -> list[int]: ...

    def chat(self, chat: Chat, count: int, is_open: bool) -> list[int]:
        """The first `count` messages; open: with what asks for the next."""
        ...


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer with a chat template: markers only from the chat template's own markup."""

    tokenizer: Any
    chat_template: Any = None

    @property
    def end_id(self) -> int | None:
        ids = tuple(self.tokenizer.eos_ids)
        return int(ids[0]) if ids else None

    def text(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text))

    def chat(self, chat: Chat, count: int, is_open: bool) -> list[int]:
        if self.chat_template is None:
            raise UsageError(
                "the data holds chats, but the model has no chat template",
                do="use plain text records",
            )
        messages = chat.messages[:count]
        prompt = self.chat_template.render(
            messages, tools=chat.tools, add_generation_prompt=is_open
        )
        return list(prompt.encode(self.tokenizer))


@dataclass(frozen=True)
class TokenizedDocument:
    """Token ids with, for each, whether predicting it counts."""

    ids: list[int]
    is_learnt: list[bool]


@dataclass(frozen=True)
class Sequences:
    tokens: IntArray
    mask: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def num_tokens(self) -> int:
        return int(self.mask.size)

    def take(self, count: int, start: int = 0) -> Sequences:
        return Sequences(self.tokens[start : start + count], self.mask[start : start + count])

    def learnt(self) -> Sequences:
        """Those in which at least one token is learnt."""
        kept = self.mask.any(axis=1)
        return self if kept.all() else Sequences(self.tokens[kept], self.mask[kept])

    def spread(self, count: int) -> Sequences:
        """At most `count` of them, evenly from first to last."""
        picked = np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)
        return Sequences(self.tokens[picked], self.mask[picked])


def mixed(own: Sequences, others: Sequences, count: int) -> Sequences:
    """`count` sequences spread over both, half of them `others` as far as there are so many,
    shuffled in a fixed order."""
    theirs = others.spread(count // 2)
    ours = own.spread(count - len(theirs))
    order = np.random.default_rng(1).permutation(len(ours) + len(theirs))
    return Sequences(
        np.concatenate([ours.tokens, theirs.tokens])[order],
        np.concatenate([ours.mask, theirs.mask])[order],
    )


def read_sequences(
    paths: Iterable[Path], encoder: Encoder, length: int, max_sequences: int | None = None
) -> Sequences:
    """All documents of these files, packed into sequences of `length` predicted tokens; a rest that
    fills no row is dropped.

    Raises:
        DocumentError: a file or record cannot be read (file and line are named), or all of it is
        shorter than one row.
    """
    if length < 2:
        raise UsageError("sequences are too short", expected="a length of at least 2", found=length)
    paths = [Path(path) for path in paths]
    for path in paths:
        with opened_lines(path):
            pass  # all that cannot be read are named before the first is
    documents = (document for path in paths for document in read_documents(path, encoder))
    sequences = pack(documents, length, encoder.end_id, max_sequences)
    if not len(sequences):
        raise DocumentError(
            "data is shorter than one row", where=paths[0], expected=f"at least {length + 1} tokens"
        )
    if not sequences.mask.any():
        raise DocumentError(
            "no token of the data would be learnt", where=paths[0], do="add assistant turns"
        )
    return sequences


def read_documents(path: Path, encoder: Encoder) -> Iterator[TokenizedDocument]:
    """The records of a `.jsonl` or `.json` file, or a text file in pieces of over a thousand
    characters; either may be `.gz`."""
    with opened_lines(path) as lines:
        if is_records(path):
            yield from _documents(read_records(lines, str(path)), encoder)
        else:
            yield from _text(lines, encoder)


def _documents(
    records: Iterable[tuple[str, str | Chat]], encoder: Encoder
) -> Iterator[TokenizedDocument]:
    for where, record in records:
        if isinstance(record, str):
            yield _plain(encoder.text(record))
        else:
            yield chat_document(record, encoder, where)


def _text(lines: Iterable[str], encoder: Encoder) -> Iterator[TokenizedDocument]:
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= 1000 and not line.strip():
            yield _plain(encoder.text("".join(held)))
            held, size = [], 0
    if held:
        yield _plain(encoder.text("".join(held)))


def _plain(ids: list[int]) -> TokenizedDocument:
    return TokenizedDocument(ids, [True] * len(ids))


def chat_document(chat: Chat, encoder: Encoder, where: str = "chat") -> TokenizedDocument:
    """A chat as the template renders it; learnt is what an assistant turn adds to the prompt that
    asks for it.

    The template must be append-only: the rendering up to a turn is a prefix of the longer one, else
    the turn is refused.

    Raises:
        DocumentError: it is not, or the template refuses the messages.
    """
    messages = chat.messages
    try:
        ids = encoder.chat(chat, len(messages), False)
        is_learnt = [False] * len(ids)
        for index, message in enumerate(messages):
            if message["role"] == "assistant" and message.get("weight") != 0:
                before = encoder.chat(chat, index, True) if index else []
                after = encoder.chat(chat, index + 1, False)
                if ids[: len(after)] != after or after[: len(before)] != before:
                    raise DocumentError(
                        "the chat template rewrites earlier turns: loss masks would be wrong",
                        where=where,
                    )
                is_learnt[len(before) : len(after)] = [True] * (len(after) - len(before))
    except TemplateError as error:
        raise DocumentError(
            "the chat template refuses the messages", where=where, found=error.what
        ) from error
    return TokenizedDocument(ids, is_learnt)


def pack(
    documents: Iterable[TokenizedDocument],
    length: int,
    end_id: int | None,
    max_sequences: int | None = None,
) -> Sequences:
    """Documents end to end, cut into sequences of length + 1 tokens that overlap by one, so that no
    prediction is lost."""
    tokens: list[IntArray] = []
    masks: list[NDArray[np.uint8]] = []
    ids: list[int] = []
    learnt: list[bool] = []
    for document in documents:
        ids += document.ids
        learnt += document.is_learnt
        if end_id is not None:
            ids.append(end_id)
            learnt.append(True)
        while len(ids) > length and (max_sequences is None or len(tokens) < max_sequences):
            tokens.append(np.array(ids[: length + 1], np.int32))
            masks.append(np.array(learnt[1 : length + 1], np.uint8))
            ids, learnt = ids[length:], learnt[length:]
        if max_sequences is not None and len(tokens) >= max_sequences:
            break
    if not tokens:
        return Sequences(np.zeros((0, length + 1), np.int32), np.zeros((0, length), np.uint8))
    return Sequences(np.stack(tokens), np.stack(masks))


def sequences_of_step(
    num_sequences: int, batch_size: int, step: int, seed: int
) -> NDArray[np.int64]:
    """(batch_size,) which sequences a step learns from: each epoch is one permutation, drawn from
    seed and epoch alone."""
    if batch_size > num_sequences:
        raise UsageError(
            "the data has fewer sequences than one batch",
            expected=f"at least {batch_size}",
            found=num_sequences,
        )
    per_epoch = num_sequences // batch_size
    epoch, within = divmod(step, per_epoch)
    order = np.random.default_rng((seed, epoch)).permutation(num_sequences)
    return order[within * batch_size : (within + 1) * batch_size]


def check_vocabulary(sequences: Sequences, vocab_size: int, where: str) -> None:
    """Raises UsageError if a token id lies outside the model's vocabulary: another tokenizer made
    these sequences."""
    largest = int(sequences.tokens.max())
    if largest >= vocab_size:
        raise UsageError(
            "token id outside the vocabulary",
            where=where,
            expected=f"below {vocab_size}",
            found=largest,
        )


Progress = Callable[[int, int, str], None]  # done, total, what


def quiet(done: int, total: int, what: str) -> None:
    """A progress line that nobody reads."""
