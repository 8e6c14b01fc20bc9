"""The tokenizer of a checkpoint whose weights are not there, or not yet."""

from __future__ import annotations

from pathlib import Path

from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.tokenizer_source import folder_tokenizer, gguf_tokenizer
from understudy.formats.gguf import read_gguf
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tokenizer_source import TokenizerSource


def read_tokenizer(path: Path) -> tuple[TokenizerSource | None, str]:
    """(tokenizer, family) of a folder or file whose weights need not be there, nor be readable.

    Raises:
        CheckpointError: a file that is not what its name says.
    """
    if path.is_dir() and not (path / "model_config.yaml").exists():
        config = read_json(path / "config.json") if (path / "config.json").exists() else {}
        return folder_tokenizer(path, config), str(config.get("model_type") or "")
    if path.is_file() and path.suffix != ".nemo":
        metadata = read_gguf(path).metadata
        return gguf_tokenizer(metadata), str(metadata.get("general.architecture") or "")
    checkpoint = open_checkpoint(path)
    return checkpoint.tokenizer_source, checkpoint.spec.architecture
