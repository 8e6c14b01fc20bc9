"""Where a checkpoint's tokenizer comes from, as plain data: `text.open_tokenizer` makes a tokenizer of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """One of three kinds.

    kind "tokenizer.json": `payload` is the file (UTF-8 JSON of the tokenizers library).
    kind "sentencepiece": `payload` is the serialised model.
    kind "gguf": `model` is "gpt2" (byte-level BPE, with `merges` and the pre-tokenizer's name `pre`) or "llama" (SentencePiece
    BPE, with `scores`); `tokens` and `types` run by id, types as in GGUF: 1 normal, 2 unknown, 3 control, 4 user defined,
    5 unused, 6 byte.
    """

    kind: Literal["tokenizer.json", "sentencepiece", "gguf"]
    payload: bytes | None = None
    model: str = ""
    pre: str = ""
    tokens: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    types: tuple[int, ...] = ()
    merges: tuple[str, ...] = ()
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    unk_id: int | None = None
    pad_id: int | None = None
    opening_ids: tuple[int, ...] = ()  # what stands in front of every prompt
    closing_ids: tuple[int, ...] = ()  # what stands behind every text that is no chat
    add_space_prefix: bool = True
    chat_template: str | None = None

    @property
    def add_bos(self) -> bool:
        """Whether every prompt begins with the beginning token, as GGUF has it."""
        return bool(self.opening_ids) and self.opening_ids[-1] == self.bos_id
