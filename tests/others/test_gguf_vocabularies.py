"""GGUF vocabularies with keys left out at random, read by llama-server and by us: the same ids and
names.

What differs on purpose is taken out of the comparison: a second beginning token, user-defined
tokens in data, and markers of a vocabulary without types. Combining marks are left out of the texts
of pre-tokenizers whose pattern llama.cpp writes without them.
"""

from __future__ import annotations

import json
import random
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, pre_tokenizers, trainers

from tests.others.support import LLAMA_CPP, python_of
from tests.unit.checkpoint.test_gguf_tokenizer import BPE, SCORES, SPM, SPM_TYPES
from understudy.checkpoint.tokenizer_source import gguf_tokenizer
from understudy.errors import CheckpointWarning
from understudy.formats.gguf import read_gguf
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.pre_tokenizers import PRE_ALIASES, PRE_TOKENIZERS, PRE_WITHOUT_BOS

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.others
KIND = gguf.GGUFValueType
MARKS = "e\u0301\u0301x क्षि"
TEXTS = [
    "hi",
    "hi a",
    " hi",
    "<s>hi",
    "<|im_end|>hi",
    "<sep>hi",
    "hi<sep> a",
    "a<s> hi",
    "\n\nhi",
    "é🙂",
    "<unk>hi",
    "hi  a ",
    "don't WON'T 1234 12345 foo_bar",
    "Hello WORLD it's IT'S we'LL x2y camelCase HTMLParser naïve 日本語 русский\r\n\r\n end  ",
    "  \n \n x",
    "/path/to//x! ...\n",
    "'sun's 'selde",
    "١٢٣ ½ ﬁ",
    "（。）、x",
    "a.b,c d…e",
    MARKS,
]


def write(path: Path, tokens: list[str], keys: dict[str, tuple[Any, ...]]) -> None:
    """A one-layer Llama of noise with this vocabulary; keys are (value, type, entries' type)."""
    width = 32
    writer = gguf.GGUFWriter(str(path), "llama")
    sizes = {"context_length": 256, "embedding_length": width, "block_count": 1}
    sizes |= {"feed_forward_length": 32, "attention.head_count": 2, "attention.head_count_kv": 2}
    for key, value in sizes.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_array("tokenizer.ggml.tokens", tokens)
    for key, (value, kind, *entries) in keys.items():
        sub = entries[0] if entries else None
        writer.add_key_value(f"tokenizer.ggml.{key}", value, kind, sub_type=sub)
    noise = np.random.default_rng(0)
    square = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes = {f"blk.0.{name}.weight": (32, width) for name in square}
    shapes |= dict.fromkeys(("token_embd.weight", "output.weight"), (len(tokens), width))
    for name, shape in shapes.items():
        writer.add_tensor(name, noise.normal(0, 0.05, shape).astype(np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def sentencepiece_files(folder: Path) -> list[Path]:
    source, paths = random.Random(1), []
    for number in range(24):
        keys: dict[str, tuple[Any, ...]] = {"model": ("llama", KIND.STRING)}
        if number % 6:
            keys["token_type"] = (SPM_TYPES, KIND.ARRAY, KIND.INT32)
        scores = source.choice([SCORES, [int(score) for score in SCORES], None])
        if scores is not None:
            kind = KIND.FLOAT32 if scores is SCORES else KIND.INT32
            keys["scores"] = (scores, KIND.ARRAY, kind)
        ids = {"bos": [1, 260, 100_000], "eos": [2, 260, 999_999], "unknown": [0], "eot": [260]}
        for name, values in ids.items():
            if source.random() < 0.5:
                keys[f"{name}_token_id"] = (source.choice(values), KIND.UINT32)
        for name in ("add_bos_token", "add_eos_token", "add_space_prefix"):
            if source.random() < 0.4:
                keys[name] = (source.random() < 0.5, KIND.BOOL)
        paths.append(folder / f"spm{number}.gguf")
        write(paths[-1], SPM, keys)
    return paths


def merges() -> list[str]:
    """Merges that reach over every word's end, so that a wrong cut shows."""
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    mixed = ["".join(random.Random(seed).sample(TEXTS, 4)) for seed in range(200)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, initial_alphabet=alphabet)
    fast.train_from_iterator(TEXTS * 3 + mixed, trainer)
    return [" ".join(pair) for pair in json.loads(fast.to_str())["model"]["merges"]]


def byte_level_files(folder: Path) -> list[Path]:
    pairs, paths = merges(), []
    tokens = list(dict.fromkeys([*BPE[:256], *(pair.replace(" ", "", 1) for pair in pairs)]))
    types = [1] * len(tokens) + [3, 3, 3, 4]
    tokens += ["<s>", "</s>", "<|im_end|>", "<sep>"]
    for number, pre in enumerate([None, *PRE_TOKENIZERS, *PRE_ALIASES]):
        keys: dict[str, tuple[Any, ...]] = {
            "model": ("gpt2", KIND.STRING),
            "merges": (pairs, KIND.ARRAY, KIND.STRING),
            "token_type": (types, KIND.ARRAY, KIND.INT32),
        }
        if pre is not None:
            keys["pre"] = (pre, KIND.STRING)
        if number % 3 == 1:
            keys["bos_token_id"] = (len(tokens) - 4, KIND.UINT32)
            keys["eos_token_id"] = (len(tokens) - 3, KIND.UINT32)
        if number % 5 == 2 and pre not in PRE_WITHOUT_BOS:  # llama.cpp ends itself there
            keys |= {f"add_{name}_token": (True, KIND.BOOL) for name in ("bos", "eos")}
        paths.append(folder / f"{pre}.gguf")
        write(paths[-1], tokens, keys)
    return paths


def test_ids_and_names_are_those_of_llama_server(tmp_path: Path) -> None:
    python = python_of("llama_cpp", LLAMA_CPP)
    paths = sentencepiece_files(tmp_path) + byte_level_files(tmp_path)
    done = subprocess.run(
        [str(python), Path(__file__).with_name("in_llama_vocabularies.py")],
        input=json.dumps({str(path): TEXTS for path in paths}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    differ = [(path.name, d) for path in paths if (d := differences(path, answers[str(path)]))]
    assert not differ, differ[:3]


def differences(path: Path, answer: dict[str, Any]) -> list[Any]:
    metadata = read_gguf(path).metadata
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        source = gguf_tokenizer(metadata)
    assert source is not None
    tokenizer = open_tokenizer(source)
    names = [tokenizer.special_tokens.get(f"{name}_token", "") for name in ("bos", "eos")]
    found: list[Any] = [] if names == answer["names"] else [(names, answer["names"])]
    has_types = "tokenizer.ggml.token_type" in metadata
    without_marks = PRE_ALIASES.get(source.pre, source.pre) in ("tekken", "gpt-4o")
    for text, whole, data in zip(TEXTS, answer["whole"], answer["data"], strict=True):
        if (text == MARKS and without_marks) or (not has_types and "<" in text):
            continue
        made = tokenizer.encode(text, markers=True, add_special=True)
        if made != whole and not _is_second_beginning(tokenizer, made, whole):
            found.append((text, made, whole))
        if "<sep>" not in text and tokenizer.encode(text) != data:
            found.append((text, tokenizer.encode(text), data))
    return found


def _is_second_beginning(tokenizer: Tokenizer, ours: list[int], theirs: list[int]) -> bool:
    return theirs[:2] == [tokenizer.bos_id] * 2 and theirs[1:] == ours
