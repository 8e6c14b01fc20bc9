"""Tokens that a checkpoint's files hold back: obeyed in every API, kept by copies."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import understudy
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.token_bias import HELD_BACK, TokenBias
from understudy.errors import CheckpointWarning
from understudy.spec import QuantSpec

PROMPT = [40, 50, 60]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m", config={"eos_token_id": 2})
    write_tokenizer(folder, spec.vocab_size)
    return folder


def _says(folder: Path, **settings: Any) -> None:
    (folder / "generation_config.json").write_text(json.dumps(settings))


def _answer(path: Path, **options: Any) -> list[int]:
    with understudy.load(path, use_cache=False, kv="f32") as model:
        options = {"max_tokens": 6, "ignore_eos": True} | options
        return list(model.generate(PROMPT, **options).tokens)


def _greedy(path: Path, bias: TokenBias) -> list[int]:
    """The same by hand: the logits of the whole text, and what is added to the last row."""
    tokens = list(PROMPT)
    with understudy.load(path, use_cache=False, kv="f32") as model:
        for _ in range(6):
            row = model.logits(tokens)[-1].astype(np.float64)
            for token, added in {**bias.steady}.items():
                row[token] += added
            for token, added in bias.passing(tokens, len(PROMPT)).items():
                row[token] += added
            tokens.append(int(row.argmax()))
    return tokens[len(PROMPT) :]


def test_tokens_are_held_back_as_transformers_does(folder: Path) -> None:
    plain = _answer(folder)
    cases: list[dict[str, Any]] = [
        {"suppress_tokens": [plain[0], plain[3]]},
        {"begin_suppress_tokens": [plain[0]]},
        {"bad_words_ids": [[plain[1]], [plain[0], plain[2]]]},
        {"bad_words_ids": [plain[:2], plain[2:5]]},
        {"bad_words_ids": [[PROMPT[-1], plain[0]]]},  # a prompt's tokens count as what comes before
        {"sequence_bias": [[[plain[0]], -50.0], [[plain[1], plain[2]], 4.0]]},
    ]
    for settings in cases:
        _says(folder, **settings)
        found = _answer(folder)
        assert found == _greedy(folder, open_checkpoint(folder).token_bias)
        assert found != plain, settings


def test_what_a_request_names_is_its_own(folder: Path) -> None:
    first = _answer(folder)[0]
    _says(folder, suppress_tokens=[first], begin_suppress_tokens=[first])
    assert _answer(folder)[0] != first
    assert _answer(folder, logit_bias={first: 0.0})[0] == first


def test_an_end_is_no_bad_word(folder: Path) -> None:
    _says(folder, bad_words_ids=[[2], [5]], eos_token_id=2)
    assert open_checkpoint(folder).token_bias.steady == {5: HELD_BACK}


def test_older_files_say_it_in_config_json(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"suppress_tokens": [7]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").unlink(missing_ok=True)
    assert open_checkpoint(folder).token_bias.held_back() == [7]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"forced_eos_token_id": 2, "forced_bos_token_id": 1}, "forced_bos_token_id, forced_eos"),
        ({"suppress_tokens": [100000]}, "suppress_tokens"),
        ({"suppress_tokens": ["a"]}, "suppress_tokens"),
        ({"begin_suppress_tokens": [-1]}, "begin_suppress_tokens"),
        ({"sequence_bias": [[[3], "x"]]}, "sequence_bias"),
    ],
)
def test_what_cannot_be_obeyed_is_named(folder: Path, settings: Any, words: str) -> None:
    _says(folder, **settings)
    with pytest.warns(CheckpointWarning, match=words):
        assert open_checkpoint(folder).token_bias == TokenBias()


def test_nothing_is_said_of_none(folder: Path) -> None:
    _says(folder, suppress_tokens=None, forced_bos_token_id=None, bad_words_ids=[])
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        assert open_checkpoint(folder).token_bias == TokenBias()


def test_copies_keep_it(folder: Path, tmp_path: Path) -> None:
    _says(folder, suppress_tokens=[9, 4], begin_suppress_tokens=[5])
    opened = open_checkpoint(folder)
    notes = save_checkpoint(opened, tmp_path / "m.gguf", QuantSpec("f32"))
    assert any("free in a GGUF" in note for note in notes)
    again = open_checkpoint(tmp_path / "m.gguf")
    assert again.token_bias == TokenBias({4: HELD_BACK, 9: HELD_BACK})
    save_checkpoint(again, tmp_path / "back")
    assert open_checkpoint(tmp_path / "back").token_bias == again.token_bias
    save_checkpoint(opened, tmp_path / "copy")
    assert open_checkpoint(tmp_path / "copy").token_bias == opened.token_bias


def test_new_ids_of_a_smaller_vocabulary() -> None:
    bias = TokenBias({3: 1.0, 4: 2.0}, {3: HELD_BACK}, (((3, 5), 4, 1.0), ((6,), 3, 1.0)))
    small = TokenBias({0: 1.0, 1: 2.0}, {0: HELD_BACK}, (((0, 2), 1, 1.0),))
    assert bias.renumbered({3: 0, 4: 1, 5: 2}) == small
