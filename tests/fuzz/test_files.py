"""Thousands of seeded mutations of small model files: each ends in an `UnderstudyError` or a valid
load, in bounded time and memory. UNDERSTUDY_FUZZ_ROUNDS sets how many for each kind of file
(default 200; `make test-slow` takes thousands).

    UNDERSTUDY_FUZZ_ROUNDS=5000 pytest tests/fuzz
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.support.checkpoints import SPECS, random_weights, write_folder
from tests.support.nemo_files import nemo_members, nemo_tar
from tests.support.torch_files import state_dict_bytes
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.finite import check_finite
from understudy.errors import UnderstudyError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.spec import QuantSpec
from understudy.text import open_tokenizer

ROUNDS = int(os.environ.get("UNDERSTUDY_FUZZ_ROUNDS", "200"))
SECONDS = 5  # for one file
EXTRA_BYTES = 1 << 30  # of address space beyond what the process has at the start
SPEC = SPECS["nemotron"].replace(
    num_layers=1,
    hidden_size=32,
    intermediate_size=32,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    rotary_dim=8,
    vocab_size=320,
)
TEXT = ["the quick brown fox jumps over the lazy dog, naïve 日本 123 the dog the fox"] * 4


@pytest.fixture(autouse=True)
def _bounds() -> Iterator[None]:
    """A hang becomes an error; a flood of memory becomes a MemoryError."""
    resource = pytest.importorskip("resource")

    def hang(*_: Any) -> None:
        raise TimeoutError(f"more than {SECONDS} seconds for one file")

    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    previous = signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_AS, (size + EXTRA_BYTES, before[1]))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    resource.setrlimit(resource.RLIMIT_AS, before)


def _tokenizer_json() -> bytes:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return str(tokenizer.to_str()).encode()


def _spm() -> bytes:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=out,
        model_type="bpe",
        vocab_size=300,
        byte_fallback=True,
        minloglevel=2,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
    )
    return out.getvalue()


# ---- what is mutated: kind of file -> (bytes, a function that loads a mutated copy) ----


def _load(path: Path) -> None:
    """Opens a checkpoint and touches all of it: values, finiteness, tokenizer."""
    checkpoint = open_checkpoint(path)
    _touch(checkpoint)
    if checkpoint.tokenizer_source is not None:
        _use(checkpoint.tokenizer_source)


def _touch(checkpoint: Checkpoint) -> None:
    for name in checkpoint.weights:
        tensor = checkpoint.weights[name]
        check_finite(tensor, name)
        assert tensor.to_float32().shape == tensor.shape


def _use(source: TokenizerSource) -> None:
    tokenizer = open_tokenizer(source)
    ids = tokenizer.encode("the fox 123 日本 <s>", markers=True)
    tokenizer.decode(ids)


def _in_folder(name: str) -> Callable[[Path, bytes], None]:
    def load(path: Path, data: bytes) -> None:
        (path / name).write_bytes(data)
        _load(path)

    return load


def _single(path: Path, data: bytes, suffix: str) -> None:
    file = path / f"mutated{suffix}"
    file.write_bytes(data)
    _load(file)


def _samples(folder: Path) -> dict[str, tuple[bytes, Callable[[Path, bytes], None]]]:
    weights = random_weights(SPEC)
    write_folder(SPEC, weights, folder)
    (folder / "tokenizer.json").write_bytes(_tokenizer_json())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{{ x }}", "add_bos_token": True})
    )
    save_checkpoint(open_checkpoint(folder), folder.parent / "m.gguf", QuantSpec("q4"))
    records = {
        n: (w, "FloatStorage", w.shape, tuple(s // 4 for s in w.strides), 0)
        for n, w in weights.items()
    }
    return {
        "gguf": ((folder.parent / "m.gguf").read_bytes(), lambda p, d: _single(p, d, ".gguf")),
        "nemo": (
            nemo_tar(nemo_members(SPEC, weights) | {"abc_vocab.model": _spm()}),
            lambda p, d: _single(p, d, ".nemo"),
        ),
        "safetensors": (
            (folder / "model.safetensors").read_bytes(),
            _in_folder("model.safetensors"),
        ),
        "pickle": (state_dict_bytes(records), _pickle),
        "config.json": ((folder / "config.json").read_bytes(), _in_folder("config.json")),
        "tokenizer_config.json": (
            (folder / "tokenizer_config.json").read_bytes(),
            _in_folder("tokenizer_config.json"),
        ),
        "tokenizer.json": (
            _tokenizer_json(),
            lambda _, d: _use(TokenizerSource("tokenizer.json", d)),
        ),
        "tokenizer.model": (_spm(), lambda _, d: _use(TokenizerSource("sentencepiece", d))),
    }


def _pickle(path: Path, data: bytes) -> None:
    from understudy.formats.torch_pickle import read_torch_file

    (path / "m.bin").write_bytes(data)
    for tensor in read_torch_file(path / "m.bin").values():
        tensor.to_float32()


# ---- mutation ----

_EXTREMES = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    (1 << 40).to_bytes(8, "little"),
    b"99999999999",
    b"-1",
    b"[[[[",
    b'"',
)


def mutate(data: bytes, chance: random.Random, head: int) -> bytes:
    """One to four changes, most of them in the first `head` bytes, where the structure is."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        limit = len(out) if chance.random() < 0.3 else min(head, len(out))
        at = chance.randrange(max(1, limit))
        match chance.randrange(6):
            case 0:
                del out[at:]
            case 1:
                out[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                out[at : at + 1] = (
                    bytes([out[at] ^ 1 << chance.randrange(8)]) if at < len(out) else b""
                )
            case 3:
                extreme = chance.choice(_EXTREMES)
                out[at : at + len(extreme)] = extreme
            case 4:
                size, source = chance.randint(1, 64), chance.randrange(max(1, len(out)))
                out[at:at] = out[source : source + size]
            case _:
                del out[at : at + chance.randint(1, 64)]
    return bytes(out)


@pytest.mark.parametrize(
    "kind",
    [
        "gguf",
        "nemo",
        "safetensors",
        "pickle",
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "tokenizer.model",
    ],
)
def test_mutations_end_in_an_error_or_a_valid_load(kind: str, tmp_path: Path) -> None:
    data, load = _samples(tmp_path / "m")[kind]
    load(tmp_path / "m", data)  # unmutated, it loads
    outcomes = {"loaded": 0, "refused": 0, "refused badly": 0}
    for seed in range(ROUNDS):
        mutated = mutate(
            data, random.Random(f"{kind} {seed}"), head=4096 if len(data) > 20000 else len(data)
        )
        signal.alarm(SECONDS)
        try:
            load(tmp_path / "m", mutated)
            outcomes["loaded"] += 1
        except UnderstudyError as error:
            outcomes[
                "refused" if "\n" not in str(error) and len(str(error)) < 1500 else "refused badly"
            ] += 1
        except Exception as error:
            (tmp_path / "culprit").write_bytes(mutated)
            raise AssertionError(f"{kind} seed {seed}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
    assert outcomes["refused"] > ROUNDS // 20, outcomes
    assert not outcomes["refused badly"], "a message is one line of readable length"
