"""Where a checkpoint's tokenizer comes from, as plain data: `text.open_tokenizer` makes a tokenizer
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that stands beside a vocabulary; the flags are those of the tokenizers library.

    Tokens that are normalized are looked for in what the others leave of a text.
    """

    id: int
    text: str
    is_special: bool
    strips_left: bool = False
    strips_right: bool = False
    is_whole_word: bool = False
    is_normalized: bool = False


@dataclass(frozen=True, slots=True)
class TokenizerSource:
    """One of three kinds.

    kind "tokenizer.json": `payload` is the file (UTF-8 JSON of the tokenizers library). kind
    "sentencepiece": `payload` is the serialised model. kind "gguf": `model` is "gpt2" (byte-level
    BPE, with `merges` and the pre-tokenizer's name `pre`) or "llama" (SentencePiece BPE, with
    `scores`); `tokens` and `types` run by id, types as in GGUF: 1 normal, 2 unknown, 3 control, 4
    user defined, 5 unused, 6 byte.

    `added` tokens come on top and win over what payload or tokens say of their ids. `prefix` says
    which text of a SentencePiece vocabulary gets the dummy blank: the start of the whole, or what
    follows any marker too; without `doubles_blank` only where it does not begin with one.
    `cuts_at_user_defined` says whether user-defined pieces are such markers. `special_tokens` are
    the names that a template sees (`bos_token` → `<s>`); None derives them from the ids.
    """

    kind: Literal["tokenizer.json", "sentencepiece", "gguf"]
    payload: bytes | None = None
    model: str = ""
    pre: str = ""
    tokens: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    types: tuple[int, ...] = ()
    merges: tuple[str, ...] = ()
    added: tuple[AddedToken, ...] = ()
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    unk_id: int | None = None
    pad_id: int | None = None
    opening_ids: tuple[int, ...] = ()  # what stands in front of every prompt
    closing_ids: tuple[int, ...] = ()  # what stands behind every text that is no chat
    add_space_prefix: bool = True
    prefix: Literal["first", "always"] = "first"
    doubles_blank: bool = True
    cuts_at_user_defined: bool = True
    special_tokens: Mapping[str, str] | None = None
    extra_special: tuple[str, ...] = ()  # special tokens without a name
    chat_template: str | None = None
    named_templates: Mapping[str, str] = field(default_factory=dict)

    @property
    def add_bos(self) -> bool:
        """Whether every prompt begins with the beginning token, as GGUF has it."""
        return bool(self.opening_ids) and self.opening_ids[-1] == self.bos_id
