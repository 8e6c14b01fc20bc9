"""A byte-level vocabulary in vocab.json and merges.txt, as GPT-2 and Qwen have it.

The two files do not say how a text is cut into words: the tokenizer class does, as in transformers
5.24.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from understudy.checkpoint.tokenizer_class import (
    BACKEND,
    GPT2,
    QWEN2,
    named_class,
    tokenizer_class,
)
from understudy.errors import CheckpointWarning, FormatError
from understudy.text.pre_tokenizers import PRE_TOKENIZERS

VOCABULARY, MERGES = "vocab.json", "merges.txt"


def has_vocabulary_files(folder: Path) -> bool:
    return (folder / VOCABULARY).is_file() and (folder / MERGES).is_file()


def tokenizer_json_of_files(
    folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> bytes | None:
    """A tokenizer.json of the two files; None, with a warning, where no class says how.

    Raises:
        FormatError: files that are not a vocabulary and its merges.
    """
    name = tokenizer_class(folder, settings, config)
    if name == BACKEND:  # which reads the files without any rule for words
        name = named_class(settings, config)
    if name not in (GPT2, QWEN2):
        warnings.warn(
            f"{folder}: {VOCABULARY} and {MERGES} alone do not say how a text is cut into words, "
            f"so there is no tokenizer; expected tokenizer_class {GPT2} or {QWEN2}; "
            f"found {name or None}; save tokenizer.json with transformers",
            CheckpointWarning,
            stacklevel=2,
        )
        return None
    fast = Tokenizer(_model(folder))
    prefix = bool(settings.get("add_prefix_space"))
    if name == QWEN2:
        fast.normalizer = normalizers.NFC()
        steps = list(PRE_TOKENIZERS["qwen2"][0]())[:-1]
        behind = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)
        fast.pre_tokenizer = pre_tokenizers.Sequence([*steps, behind])
    else:
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    fast.decoder = decoders.ByteLevel()
    return str(fast.to_str()).encode()


def _model(folder: Path) -> Any:
    try:
        vocabulary, merges = models.BPE.read_file(str(folder / VOCABULARY), str(folder / MERGES))
        return models.BPE(vocabulary, merges)
    except Exception as error:  # the library raises bare Exceptions
        raise FormatError(
            f"{VOCABULARY} and {MERGES} do not make a vocabulary ({error})",
            where=folder,
            do="fetch both files again",
        ) from error


def size_of_vocabulary(folder: Path) -> int:
    """The highest id of vocab.json and one."""
    ids = json.loads((folder / VOCABULARY).read_bytes())
    return max((int(token) for token in ids.values()), default=-1) + 1
