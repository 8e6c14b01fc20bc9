"""Tokens that a checkpoint wants held back or forced: obeyed nowhere in silence."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.gguf_tokenizer import gguf_tokenizer
from understudy.errors import CheckpointWarning


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(SPECS["llama"], random_weights(SPECS["llama"]), tmp_path / "m")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"suppress_tokens": [3], "do_sample": True}, "suppress_tokens: tokens"),
        (
            {"begin_suppress_tokens": [3], "forced_eos_token_id": 2, "bad_words_ids": [[4]]},
            "begin_suppress_tokens, bad_words_ids, forced_eos_token_id: tokens",
        ),
    ],
)
def test_settings_of_a_folder_are_named(folder: Path, settings: Any, names: str) -> None:
    (folder / "generation_config.json").write_text(json.dumps(settings))
    with pytest.warns(CheckpointWarning, match=names):
        open_checkpoint(folder)


def test_nothing_is_said_of_none(folder: Path) -> None:
    idle = {"suppress_tokens": None, "forced_bos_token_id": None, "bad_words_ids": []}
    (folder / "generation_config.json").write_text(json.dumps(idle))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        open_checkpoint(folder)
    assert not [w for w in seen if "held back" in str(w.message)]


def test_a_gguf_has_its_own_key() -> None:
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a"],
        "tokenizer.ggml.suppress_tokens": [1, 2],
    }
    with pytest.warns(CheckpointWarning, match=r"tokenizer\.ggml\.suppress_tokens: tokens"):
        gguf_tokenizer(metadata)
