"""The architectures that can be opened: one line each."""

from __future__ import annotations

from understudy.checkpoint.architecture import Architecture
from understudy.checkpoint.dense import GRANITE, PHI3, QWEN3, SMOLLM3
from understudy.checkpoint.gemma3 import GEMMA3
from understudy.checkpoint.granite_hybrid import GRANITE_HYBRID
from understudy.checkpoint.granite_moe import GRANITE_MOE, GRANITE_MOE_SHARED
from understudy.checkpoint.lfm2 import LFM2
from understudy.checkpoint.lfm2_moe import LFM2_MOE
from understudy.checkpoint.llama import LLAMA, MISTRAL, QWEN2
from understudy.checkpoint.nemotron import NEMOTRON
from understudy.checkpoint.nemotron_h import NEMOTRON_H, NEMOTRON_H_MOE
from understudy.checkpoint.qwen3_5 import QWEN3_5
from understudy.checkpoint.qwen3_moe import QWEN3_MOE
from understudy.errors import UnsupportedError

_ALL = (
    *(NEMOTRON, LLAMA, MISTRAL, QWEN2, QWEN3, SMOLLM3, GRANITE, PHI3, GEMMA3, NEMOTRON_H, LFM2),
    *(GRANITE_HYBRID, GRANITE_MOE, GRANITE_MOE_SHARED, NEMOTRON_H_MOE),
    QWEN3_5,
    QWEN3_MOE,
    LFM2_MOE,
)
ARCHITECTURES: dict[str, Architecture] = {family.name: family for family in _ALL}
_BY_MODEL_TYPE = {family.model_type or family.name: family for family in reversed(_ALL)}
# Where two have one name there, the plainer one is taken: a Mistral's file says "llama".
_BY_GGUF_NAME = {family.gguf_architecture or family.name: family for family in reversed(_ALL)}


def architecture(name: object, where: object) -> Architecture:
    """By `model_type`; UnsupportedError when it is not in the table."""
    if not isinstance(name, str) or name not in _BY_MODEL_TYPE:
        raise UnsupportedError(
            "unknown architecture", where=where, expected=" ".join(_BY_MODEL_TYPE), found=name
        )
    return _BY_MODEL_TYPE[name]


def architecture_of_gguf(name: object, where: object) -> Architecture:
    """By `general.architecture`; UnsupportedError when it is not in the table."""
    if not isinstance(name, str) or name not in _BY_GGUF_NAME:
        raise UnsupportedError(
            "unknown architecture", where=where, expected=" ".join(_BY_GGUF_NAME), found=name
        )
    return _BY_GGUF_NAME[name]
