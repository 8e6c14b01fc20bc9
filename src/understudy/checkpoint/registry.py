"""The architectures that can be opened: one line each."""

from __future__ import annotations

from understudy.checkpoint.architecture import Architecture
from understudy.checkpoint.llama import LLAMA, MISTRAL, QWEN2
from understudy.checkpoint.nemotron import NEMOTRON
from understudy.errors import UnsupportedError

ARCHITECTURES: dict[str, Architecture] = {a.name: a for a in (NEMOTRON, LLAMA, MISTRAL, QWEN2)}
_BY_GGUF_NAME = {a.gguf_architecture or a.name: a for a in (NEMOTRON, MISTRAL, LLAMA, QWEN2)}


def architecture(name: object, where: object) -> Architecture:
    """By `model_type`; UnsupportedError when it is not in the table."""
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedError(
            "unknown architecture", where=where, expected=" ".join(ARCHITECTURES), found=name
        )
    return ARCHITECTURES[name]


def architecture_of_gguf(name: object, where: object) -> Architecture:
    """By `general.architecture`; UnsupportedError when it is not in the table."""
    if not isinstance(name, str) or name not in _BY_GGUF_NAME:
        raise UnsupportedError(
            "unknown architecture", where=where, expected=" ".join(_BY_GGUF_NAME), found=name
        )
    return _BY_GGUF_NAME[name]
