"""Adapters (LoRA and its kin) given where a model is expected: recognised, and named with the model
they belong to."""

from __future__ import annotations

from pathlib import Path

from understudy.errors import UnsupportedError
from understudy.formats.gguf import GgufFile
from understudy.formats.safetensors_folder import read_json

_CONFIG, _WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")


def refuse_adapter(folder: Path) -> None:
    """UnsupportedError when a folder holds an adapter of PEFT and no model of its own."""
    if not (folder / _CONFIG).exists() and not any((folder / n).exists() for n in _WEIGHTS):
        return
    names = {path.name for path in folder.iterdir()}
    if "config.json" in names and any(
        name.startswith(("model", "pytorch_model")) and name.endswith((".safetensors", ".bin"))
        for name in names
    ):
        return
    settings = read_json(folder / _CONFIG) if _CONFIG in names else {}
    kind = settings.get("peft_type") or "LoRA"
    base = settings.get("base_model_name_or_path") or "a model that it does not name"
    rank = f" of rank {settings['r']}" if isinstance(settings.get("r"), int) else ""
    raise UnsupportedError(
        f"a {kind} adapter{rank} for {base}, not a model",
        where=folder,
        do=_on_its_model(settings.get("base_model_name_or_path"), folder),
    )


def refuse_gguf_adapter(file: GgufFile) -> None:
    """UnsupportedError when a GGUF is an adapter, as llama.cpp's `convert_lora_to_gguf.py` writes
    them.
    """
    if file.metadata.get("general.type") != "adapter" and "adapter.type" not in file.metadata:
        return
    kind = file.metadata.get("adapter.type", "LoRA")
    base = file.metadata.get("general.base_model.0.name") or "a model that it does not name"
    raise UnsupportedError(
        f"a {kind} adapter for {base}, not a model",
        where=file.path,
        do=_on_its_model(None, file.path),
    )


def _on_its_model(base: object, adapter: Path) -> str:
    """How to use it: beside its model, or merged into it."""
    model = base if isinstance(base, str) and base else "MODEL"
    return (
        f"open its model with it: `understudy chat {model} --adapter NAME={adapter}` (in Python "
        f"`load(model, adapters=…)`), or merge it: `understudy convert --adapter {adapter} "
        f"{model} OUT.gguf`"
    )
