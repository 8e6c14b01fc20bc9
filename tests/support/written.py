"""What the grammar of a contract lets a model write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.byte_level_folder import write_byte_level_folder
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.generation.schemas.contract import Contract
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.grammar import Grammar


def byte_level_tokenizer(folder: Path) -> Tokenizer:
    """One whose tokens are bytes and a few pairs of them."""
    source = folder_tokenizer(
        folder, write_byte_level_folder(folder, {"tokenizer_class": "GPT2Tokenizer"})
    )
    assert source is not None
    return open_tokenizer(source)


def is_written(tokenizer: Tokenizer, contract: Contract, value: Any) -> bool:
    """Whether the grammar of a contract lets a value be written, with the usual blanks."""
    mask = Grammar(tokenizer).lark(f"start: {contract.rule}")()
    tokens = tokenizer.encode(json.dumps(value, ensure_ascii=False))
    for count, token in enumerate([*tokens, tokenizer.eos_ids[0]]):
        bits = mask.allowed(tokens[:count]).view(np.uint32)
        if not bits[token // 32] >> np.uint32(token % 32) & np.uint32(1):
            return False
    return True
