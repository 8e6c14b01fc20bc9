"""Folders with a tokenizer.json and everything that may stand beside it at random, read by
transformers 5.24 and by us: the same ids, texts, names and chat templates."""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders

from tests.others.support import python_of
from tests.others.test_tokenizer_folders import PACKAGES
from tests.support.byte_level_folder import END, write_byte_level_folder
from tests.support.spm_folder import added_token
from understudy.checkpoint.tokenizer_source import folder_tokenizer
from understudy.errors import CheckpointWarning
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import open_tokenizer

pytestmark = pytest.mark.others
NUM_FOLDERS = 120
TOKENS = ["<s>", "</s>", "<pad>", "<|im_end|>", "<|im_start|>", "<tool>", "<unk>", END, "two words"]
# Classes that keep the file as it is; the others build their own vocabulary there.
CLASSES = ["PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer", "NoSuchTokenizer"]
KINDS = ["llama", "mistral", "nemotron", "phi3", "granite", "olmo2", "smollm3", "lfm2"]
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")
TEXTS = [
    "hello world",
    "he<|im_start|>he <|im_end|> <tool>x",
    "a<pad> a <s>b</s>",
    "",
    " x ",
    "two words two  words",
    "  <unk>  <|endoftext|>\n he",
    "x²<pad>\u0301 <tool>\u200d",
]
SCRIPT = """
import json, sys, warnings
warnings.filterwarnings("ignore")
from transformers import AutoTokenizer
folders, texts = json.load(sys.stdin)
answers = []
for folder in folders:
    t = AutoTokenizer.from_pretrained(folder)
    template = t.chat_template or {}
    ids = [t.encode(text) for text in texts]
    answers.append({
        "ids": ids,
        "texts": [t.decode(row) for row in ids],
        "names": {k: v for k, v in t.special_tokens_map.items() if isinstance(v, str)},
        "templates": {"default": template} if isinstance(template, str) else template,
    })
print(json.dumps(answers))
"""


def entry(source: random.Random, text: str) -> dict[str, Any]:
    return added_token(text, **{flag: source.random() < 0.3 for flag in FLAGS})


def beside_a_name(source: random.Random, text: str) -> Any:
    return source.choice([text, {"__type": "AddedToken", **entry(source, text)}])


def numbered(source: random.Random, file: Tokenizer, first: int) -> dict[str, int]:
    """Texts with their ids: those of the file, or the next free ones in order, since transformers
    numbers new tokens on whatever their files say."""
    found: dict[str, int] = {}
    for text in source.sample(TOKENS, source.randint(1, 4)):
        own = file.token_to_id(text)
        found[text] = first + sum(id >= first for id in found.values()) if own is None else own
    return found


def settings_at_random(source: random.Random) -> dict[str, Any]:
    chosen: dict[str, Any] = {"tokenizer_class": source.choice(CLASSES)}
    for name in ("bos", "eos", "unk", "pad", "sep", "mask", "image"):
        if source.random() < 0.3:
            text = source.choice(TOKENS)
            chosen[f"{name}_token"] = source.choice([None, beside_a_name(source, text)])
    if source.random() < 0.4:
        texts = source.sample(TOKENS, 2)
        listed = [beside_a_name(source, text) for text in texts]
        named = {"video_token": texts[0]}
        chosen |= source.choice(
            [
                {"additional_special_tokens": listed},
                {"extra_special_tokens": listed},
                {"extra_special_tokens": named},
            ]
        )
    if source.random() < 0.4:
        one, two = "one {{ messages[0].content }}", "two {{ messages[0].content }}"
        named_templates = [{"name": "tool_use", "template": one}, {"name": "rag", "template": two}]
        chosen["chat_template"] = source.choice([one, named_templates])
    return chosen


def map_at_random(source: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("bos", "eos", "pad", "image"):
        if source.random() < 0.4:
            text = source.choice(TOKENS)
            found[f"{name}_token"] = source.choice([text, entry(source, text)])
    if source.random() < 0.4:
        kind = source.choice(["additional_special_tokens", "extra_special_tokens"])
        found[kind] = source.sample(TOKENS, 2)
    return found


def write_random(source: random.Random, folder: Path) -> dict[str, Any]:
    chosen = settings_at_random(source)
    kind = source.choice(KINDS)
    config = write_byte_level_folder(folder, chosen, kind, is_json=True)
    file = Tokenizer.from_file(str(folder / "tokenizer.json"))
    file.decoder = decoders.ByteLevel()
    for text in source.sample(TOKENS, source.randint(0, 4)):
        file.add_tokens([AddedToken(**entry(source, text))])
    file.save(str(folder / "tokenizer.json"))
    first = file.get_vocab_size()
    files: dict[str, Any] = {}
    has_typed = "AddedToken" in json.dumps(chosen)
    if source.random() < 0.3:
        ids = numbered(source, file, first)
        chosen["added_tokens_decoder"] = {str(id): entry(source, text) for text, id in ids.items()}
    elif source.random() < 0.3 and not has_typed:  # it does not know the texts of objects there
        files["added_tokens.json"] = numbered(source, file, first)
    if source.random() < 0.3:
        files["special_tokens_map.json"] = map_at_random(source)
    for name, content in {**files, "tokenizer_config.json": chosen}.items():
        (folder / name).write_text(json.dumps(content))
    for name in source.sample(["chat_template.jinja", "chat_template.json"], 1):
        if source.random() < 0.5:
            (folder / name).write_text('{"chat_template": "json"}')
    for name in ("additional_chat_templates", "chat_templates"):  # only the first is one
        if source.random() < 0.3:
            (folder / name).mkdir()
            (folder / name / "rag.jinja").write_text(name)
    return config


def templates_of(source: TokenizerSource) -> dict[str, str]:
    default = {} if source.chat_template is None else {"default": source.chat_template}
    return {**default, **source.named_templates}


def differences(folder: Path, config: dict[str, Any], answer: dict[str, Any]) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        source = folder_tokenizer(folder, config)
        assert source is not None
        tokenizer = open_tokenizer(source)
    found: list[Any] = []
    if tokenizer.special_tokens != answer["names"]:
        found.append((tokenizer.special_tokens, answer["names"]))
    if templates_of(source) != answer["templates"]:
        found.append((templates_of(source), answer["templates"]))
    for text, ids, whole in zip(TEXTS, answer["ids"], answer["texts"], strict=True):
        made = tokenizer.encode(text, markers=True, add_special=True)
        if made != ids or tokenizer.decode(ids) != whole:
            found.append((text, made, ids, tokenizer.decode(ids), whole))
    return found


def test_ids_texts_names_and_templates(tmp_path: Path) -> None:
    source = random.Random(19)
    folders = [tmp_path / str(number) for number in range(NUM_FOLDERS)]
    configs = [write_random(source, folder) for folder in folders]
    answers = json.loads(
        subprocess.run(
            [str(python_of("transformers-5.24", PACKAGES)), "-c", SCRIPT],
            input=json.dumps([[str(folder) for folder in folders], TEXTS]),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
    )
    differ = [
        (folder.name, found)
        for folder, config, answer in zip(folders, configs, answers, strict=True)
        if (found := differences(folder, config, answer))
    ]
    assert not differ, differ[:5]
