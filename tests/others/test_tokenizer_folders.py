"""Tokenizer folders at random, read by transformers 5.24 and by us: the same ids, texts and names."""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.others.support import python_of
from tests.support.spm_folder import SIZE, added_token, write_spm_folder
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.errors import CheckpointWarning
from understudy.text import Tokenizer, open_tokenizer

pytestmark = pytest.mark.others
PACKAGES = ["transformers==5.24.0", "sentencepiece==0.2.3", "protobuf==7.36.2"]
NUM_FOLDERS = 150
END = {"__type": "AddedToken", **added_token("</s>")}
TEXTS = [
    "hi",
    " hi",
    "hi a",
    "<sep>hi",
    "hi<sep>hi",
    "</s>hi",
    "</s> hi",
    "hi</s>hi",
    "<|x|>hi",
    "<|x|> hi",
    "hi <|x|>hi",
    "<|x|><sep>hi",
    "\nhi",
    "hi<|y|> a",
    "<|y|>\n hi",
    "<unk>",
    "[PAD]hi",
    "hi  a ",
]
SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
from transformers import AutoTokenizer
folders, texts = json.load(sys.stdin)
answers = []
for folder in folders:
    t = AutoTokenizer.from_pretrained(folder)
    ids = [t.encode(text) for text in texts]
    names = {k: v for k, v in t.special_tokens_map.items() if isinstance(v, str)}
    skipped = [t.decode(row, skip_special_tokens=True) for row in ids]
    answers.append({"ids": ids, "texts": [t.decode(row) for row in ids], "skipped": skipped, "names": names})
print(json.dumps(answers))
"""


def settings(source: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer_config.json and the files beside it, at random."""
    chosen: dict[str, Any] = {}
    for name, values in {
        "tokenizer_class": ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast"],
        "legacy": [True, False],
        "add_bos_token": [True, False],
        "add_eos_token": [True, False],
    }.items():
        if source.random() < 0.6:
            chosen[name] = source.choice(values)
    files: dict[str, Any] = {}
    where = source.choice(["none", "file", "decoder", "both"])
    if where in ("decoder", "both"):
        flags = {name: source.random() < 0.4 for name in ("special", "lstrip", "rstrip")}
        last = added_token("<|y|>", special=True, rstrip=source.random() < 0.5)
        chosen["added_tokens_decoder"] = {
            str(SIZE): added_token("<|x|>", **flags),
            str(SIZE + 1): last,
        }
    if where in ("file", "both"):
        files["added_tokens.json"] = {"<|x|>": SIZE, "<|y|>": SIZE + 1, "[PAD]": SIZE + 2}
    if where != "none":
        if source.random() < 0.4:
            chosen["eos_token"] = source.choice(["<|y|>", "</s>", END])
        if source.random() < 0.3:
            chosen["pad_token"] = "<|x|>"
    if source.random() < 0.3:
        files["special_tokens_map.json"] = {"eos_token": "</s>", "bos_token": added_token("<s>")}
    if source.random() < 0.2:
        chosen["bos_token"] = None
    return chosen, files


def test_folders_with_a_sentencepiece_file(tmp_path: Path) -> None:
    python = python_of("transformers-5.24", PACKAGES)
    source = random.Random(11)
    folders, ours = [], []
    for number in range(NUM_FOLDERS):
        folder = tmp_path / str(number)
        chosen, files = settings(source)
        kind = source.choice(["llama", "llama", "mistral", "nemotron"])
        config = write_spm_folder(folder, chosen, files=files, model_type=kind)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)
            found = folder_tokenizer(folder, config)
        assert found is not None
        folders.append(str(folder))
        ours.append(open_tokenizer(found))
    done = subprocess.run(
        [str(python), "-c", SCRIPT],
        input=json.dumps([folders, TEXTS]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    differ = [
        (folder, found)
        for folder, tokenizer, answer in zip(folders, ours, answers, strict=True)
        if (found := differences(tokenizer, answer))
    ]
    assert not differ, differ[:3]


def differences(tokenizer: Tokenizer, answer: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    if tokenizer.special_tokens != answer["names"]:
        found.append((tokenizer.special_tokens, answer["names"]))
    rows = zip(TEXTS, answer["ids"], answer["texts"], answer["skipped"], strict=True)
    for text, ids, whole, skipped in rows:
        made = tokenizer.encode(text, markers=True, add_special=True)
        if made != ids:
            found.append((text, made, ids))
        elif tokenizer.decode(ids) != whole or tokenizer.decode(ids, skip_special=True) != skipped:
            found.append((ids, tokenizer.decode(ids), whole))
    return found
