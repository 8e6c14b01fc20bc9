"""Tokenizers of bytes and markers, and one with ChatML's template: for what is rendered."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates import CHAT_TEMPLATES, ChatTemplate


def byte_level(markers: Sequence[str | AddedToken]) -> FastTokenizer:
    """256 bytes, and behind them special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = FastTokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(list(markers))
    return fast


@functools.cache
def byte_chat() -> tuple[Tokenizer, ChatTemplate]:
    """258 tokens: 256 bytes, `<|im_start|>` and `<|im_end|>`."""
    fast = byte_level(["<|im_start|>", "<|im_end|>"])
    end = fast.token_to_id("<|im_end|>")
    source = TokenizerSource("tokenizer.json", fast.to_str().encode(), eos_ids=(end,))
    tokenizer = open_tokenizer(source)
    return tokenizer, CHAT_TEMPLATES["chatml"](tokenizer)
