"""Settings of a checkpoint, of a config and of a call, in transformers' order; the tokenizer of a
folder without weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.spm_folder import write_spm_folder
from understudy import AutoTokenizer, hub
from understudy.compat.generation import read_generation_config, sampling_params, settled
from understudy.errors import CheckpointWarning, UsageError


def read(folder: Path, **settings: object) -> SimpleNamespace:
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return read_generation_config(folder)


def test_a_checkpoint_without_settings_has_the_defaults(tmp_path: Path) -> None:
    config = read_generation_config(tmp_path)
    params = sampling_params(settled(config, None, {})[0], 5, None)
    assert (params.max_tokens, params.temperature, params.n) == (20, 0.0, 1)


def test_settings_of_the_file_are_used(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        do_sample=True,
        temperature=0.6,
        top_k=20,
        top_p=0.95,
        max_new_tokens=12,
        repetition_penalty=1.1,
        suppress_tokens=[7],
        eos_token_id=[3, 4],
        transformers_version="5.24.0",
        num_beams=1,
        typical_p=None,
    )
    params = sampling_params(settled(config, None, {})[0], 5, seed=1)
    assert (params.max_tokens, params.temperature, params.top_k) == (12, 0.6, 20)
    assert (params.top_p, params.repetition_penalty, params.stop_token_ids) == (0.95, 1.1, (3, 4))
    assert params.logit_bias[7] < -1e8
    greedy = sampling_params(settled(config, None, {"do_sample": False})[0], 5, None)
    assert (greedy.temperature, greedy.top_k) == (0.0, 0)


def test_what_the_file_asks_for_and_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.warns(CheckpointWarning, match="no_repeat_ngram_size, num_beams"):
        read(tmp_path, num_beams=4, no_repeat_ngram_size=3, top_k=5, length_penalty=1.0)
    (tmp_path / "generation_config.json").write_text("[")
    with pytest.warns(CheckpointWarning, match="not read"):
        read_generation_config(tmp_path)


def test_arguments_come_before_a_config_before_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, max_new_tokens=12, top_k=9)
    between = SimpleNamespace(max_new_tokens=5, top_p=0.5, temperature=None)
    chosen, left = settled(config, between, {"max_new_tokens": 3, "num_beams": 1, "mystery": 2})
    assert (chosen["max_new_tokens"], chosen["top_k"], chosen["top_p"]) == (3, 9, 0.5)
    assert chosen["temperature"] == 1.0
    assert left == {"mystery": 2}


def test_a_length_of_all_is_less_the_prompt(tmp_path: Path) -> None:
    config = read(tmp_path, max_new_tokens=12)
    chosen, _ = settled(config, None, {"max_length": 8})
    assert sampling_params(chosen, 5, None).max_tokens == 3
    with pytest.raises(UsageError, match="leaves no room"):
        sampling_params(chosen, 8, None)


def test_lengths_and_sides_of_the_folder(tmp_path: Path) -> None:
    write_spm_folder(
        tmp_path, {"model_max_length": 2, "padding_side": "right", "pad_token": "</s>"}
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("hi hi hi", truncation=True)["input_ids"] == [265, 265]
    assert tokenizer(["hi", "hi hi"], padding=True)["attention_mask"] == [[1, 0], [1, 1]]
    ours = AutoTokenizer.from_pretrained(tmp_path, model_max_length=1, padding_side="left")
    assert ours("hi hi", truncation=True)["input_ids"] == [265]
    assert ours.padding_side == "left"


def test_a_tokenizer_needs_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"add_bos_token": True, "pad_token": "</s>"}
    settings["chat_template"] = "{{ bos_token }}{{ messages[0].content }}"
    write_spm_folder(tmp_path / "a", settings)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a", padding_side="right")
    assert tokenizer("hi")["input_ids"] == [1, 265]
    assert tokenizer(["hi", "hi a"], padding=True)["attention_mask"] == [[1, 1, 0], [1, 1, 1]]
    assert tokenizer.apply_chat_template([{"role": "ipython", "content": "x"}], tokenize=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--org--name"
    write_spm_folder(folder / "snapshots" / "abc", settings)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    assert AutoTokenizer.from_pretrained("org/name").bos_token == "<s>"
    monkeypatch.setattr(hub, "pull", lambda name, options: tmp_path / "a")
    with pytest.raises(UsageError, match="subfolder"):
        AutoTokenizer.from_pretrained("org/name", subfolder="x")
