"""Folders with a small byte-level vocabulary: vocab.json and merges.txt, or a tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

END = "<|endoftext|>"
MERGES = ["h e", "l l", "o Ġ", "he ll", "Ġ w", "1 2", "# #", "Ġ Ġ"]
ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = {
    piece: token
    for token, piece in enumerate(
        dict.fromkeys([END, *ALPHABET, *(merge.replace(" ", "") for merge in MERGES)])
    )
}
SIZE = len(VOCABULARY)


def write_byte_level_folder(
    folder: Path,
    settings: Mapping[str, Any],
    model_type: str = "llama",
    *,
    files: Mapping[str, Any] | None = None,
    is_json: bool = False,
    vocab_size: int = 1000,
) -> dict[str, Any]:
    """Writes it and gives its config.json. `files` are further JSON files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": model_type, "vocab_size": vocab_size}
    wanted = {"config.json": config, "tokenizer_config.json": dict(settings), **(files or {})}
    for name, content in wanted.items():
        (folder / name).write_text(json.dumps(content))
    if is_json:
        merges = [(left, right) for left, right in map(str.split, MERGES)]
        fast = Tokenizer(models.BPE(VOCABULARY, merges))
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.add_special_tokens([AddedToken(END, special=True)])
        fast.save(str(folder / "tokenizer.json"))
    else:
        (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    return config
