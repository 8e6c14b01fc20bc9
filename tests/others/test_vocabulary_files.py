"""vocab.json and merges.txt with settings at random, read by transformers 5.24 and by us: the same
ids and names."""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.others.support import python_of
from tests.others.test_tokenizer_folders import PACKAGES, SCRIPT
from tests.support.byte_level_folder import END, SIZE, write_byte_level_folder
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.errors import CheckpointWarning
from understudy.text import open_tokenizer

pytestmark = pytest.mark.others
NUM_FOLDERS = 150
TOKENS = ["<s>", "</s>", "<pad>", "<|im_end|>", "<|im_start|>", "<tool>", "he", "<unk>", END]
TEXTS = [
    "hello world",
    "  Don't WE'LL 123\n\n x",
    "日本語 é e\u0301",
    "<|im_start|>hi<|im_end|> <tool>x",
    "a<pad> a <s>b</s>",
    "",
    " x ",
    "## line\r\n  tab\tq",
]


def write_random(source: random.Random, folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("bos", "eos", "pad", "unk", "cls", "mask"):
        if source.random() < 0.3:
            settings[f"{name}_token"] = source.choice([*TOKENS, None])
    if source.random() < 0.4:
        kind = source.choice(["additional_special_tokens", "extra_special_tokens"])
        settings[kind] = source.sample(TOKENS, source.randint(1, 3))
    files: dict[str, Any] = {}
    if source.random() < 0.4:
        texts = source.sample(TOKENS[:6], source.randint(1, 3))
        files["added_tokens.json"] = {text: SIZE + place for place, text in enumerate(texts)}
    if source.random() < 0.3:
        files["special_tokens_map.json"] = {
            "pad_token": "<pad>",
            "additional_special_tokens": ["<tool>"],
        }
    # A tokenizer.json is followed as it stands here, whatever the class (docs/compatibility).
    is_json = source.random() < 0.3
    settings["tokenizer_class"] = "GPT2Tokenizer" if is_json else source.choice(CLASSES)
    for name in () if is_json else ("add_bos_token", "add_eos_token", "add_prefix_space"):
        if source.random() < 0.25:
            settings[name] = source.choice([True, False])
    model_type = "llama" if is_json else source.choice(["llama", "qwen2"])
    return write_byte_level_folder(folder, settings, model_type, files=files, is_json=is_json)


CLASSES = ["GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast"]


def without_second_opening(ids: list[int], opening: tuple[int, ...]) -> list[int]:
    """transformers puts the beginning token in front of a text that begins with it; we do not."""
    first = opening[0] if opening else None
    return ids[1:] if len(ids) > 1 and ids[0] == ids[1] == first else ids


def test_ids_and_names(tmp_path: Path) -> None:
    source = random.Random(11)
    folders = [tmp_path / str(number) for number in range(NUM_FOLDERS)]
    configs = [write_random(source, folder) for folder in folders]
    python = python_of("transformers-5.24", PACKAGES)
    answers = json.loads(
        subprocess.run(
            [str(python), "-c", SCRIPT],
            input=json.dumps([[str(folder) for folder in folders], TEXTS]),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    differ = []
    for folder, config, answer in zip(folders, configs, answers, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)
            found = folder_tokenizer(folder, config)
        assert found is not None
        ours = open_tokenizer(found)
        ids = [ours.encode(text, markers=True, add_special=True) for text in TEXTS]
        right = [without_second_opening(row, ours.opening_ids) for row in answer["ids"]]
        if ids != right or ours.special_tokens != answer["names"]:
            written = (folder / "tokenizer_config.json").read_text()
            differ.append((config["model_type"], written, ids, right))
    assert not differ, differ[:3]
