"""What a checkpoint holds, in words for people."""

from __future__ import annotations

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.text import open_tokenizer
from understudy.text.templates import chat_template_for


def tokenizer_summary(checkpoint: Checkpoint) -> str:
    """One line: how many tokens, from what, in which chat template."""
    source = checkpoint.tokenizer_source
    if source is None:
        return "none in the checkpoint"
    tokenizer = open_tokenizer(source)
    chat_template = chat_template_for(checkpoint.spec.architecture, tokenizer)
    return f"{tokenizer.vocab_size:,} tokens from {source.kind}, {chat_template.name} chat template"
