"""Which tokenizer class transformers 5.24 opens a folder with (`AutoTokenizer.from_pretrained`).

The class decides what stands in no file: names of special tokens, how a vocabulary without a
tokenizer.json cuts a text, on which side a batch is padded. `BACKEND` has no defaults of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BACKEND = "TokenizersBackend"
GPT2, QWEN2, LLAMA, GEMMA = "GPT2Tokenizer", "Qwen2Tokenizer", "LlamaTokenizer", "GemmaTokenizer"
CLASS_NAMES = {
    LLAMA: {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    QWEN2: dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>"),
    GPT2: dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>"),
    GEMMA: {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "unk", "pad", "mask")},
}
# The class registered for a model type; a type that is not here has none.
_REGISTERED = {
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"), QWEN2),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), GEMMA),
    **dict.fromkeys(
        ("mistral", "mixtral", "nemotron", "olmo2", "olmo3", "phi3", "phimoe"), BACKEND
    ),
    **dict.fromkeys(("granite", "granitemoe", "granitemoehybrid", "granitemoeshared"), BACKEND),
}
_ALWAYS = frozenset({"qwen2"})  # whatever the folder names


def tokenizer_class(folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Its name without "Fast".

    Args:
        folder: whose tokenizer.json, if it has one, may forbid LlamaTokenizer.
        settings: of tokenizer_config.json.
        config: of config.json.
    """
    model_type = str(config.get("model_type"))
    named, registered = named_class(settings, config), _REGISTERED.get(model_type)
    if registered is not None and (not named or registered == BACKEND or model_type in _ALWAYS):
        return registered
    if named == LLAMA and _is_byte_level(folder):
        return BACKEND
    if not named:
        return GPT2 if model_type == "gpt2" else BACKEND
    return BACKEND if named in ("PreTrainedTokenizer", "PythonBackend") else named


def named_class(settings: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The class that the files name, without "Fast"; "" where they name none."""
    named = settings.get("tokenizer_class") or config.get("tokenizer_class") or ""
    return str(named).removesuffix("Fast")


def _is_byte_level(folder: Path) -> bool:
    path = folder / "tokenizer.json"
    return path.exists() and b'"ByteLevel"' in path.read_bytes()
