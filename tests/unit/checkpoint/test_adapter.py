"""Adapters where a model is expected: named with their model, never opened as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import UnsupportedError
from understudy.formats.gguf import write_gguf

LORA = {"peft_type": "LORA", "r": 16, "base_model_name_or_path": "org/base", "lora_alpha": 32}


@pytest.mark.parametrize("has_config", [False, True])
def test_a_folder_of_an_adapter_is_named(has_config: bool, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(LORA))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    if has_config:
        (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnsupportedError, match="LORA adapter of rank 16 for org/base") as told:
        open_checkpoint(tmp_path)
    assert f"understudy chat org/base --adapter NAME={tmp_path}" in str(told.value)
    assert f"convert --adapter {tmp_path} org/base" in str(told.value)


def test_weights_of_an_adapter_alone_are_known(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.bin").write_bytes(b"x")
    with pytest.raises(UnsupportedError, match="LoRA adapter"):
        open_checkpoint(tmp_path)


def test_a_model_that_keeps_its_adapter_beside_it_opens(tmp_path: Path) -> None:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    (folder / "adapter_config.json").write_text(json.dumps(LORA))
    assert open_checkpoint(folder).spec == spec


def test_a_gguf_of_an_adapter_is_named(tmp_path: Path) -> None:
    keys = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "general.base_model.0.name": "Base 1B",
    }
    write_gguf(tmp_path / "a.gguf", keys, [], [])
    with pytest.raises(UnsupportedError, match="lora adapter for Base 1B"):
        open_checkpoint(tmp_path / "a.gguf")
