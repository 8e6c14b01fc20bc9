"""Small made-up networks of families whose blocks have options, and whole checkpoints of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.checkpoints import SPECS, random_weights
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.weights import Weights
from understudy.formats.tensor import StoredTensor
from understudy.rotary import LinearScaling, LongRopeScaling
from understudy.spec import BlockSpec, ModelSpec

_BASE = SPECS["llama"].replace(num_layers=4, max_positions=512)
_FULL, _LOCAL = BlockSpec(), BlockSpec(window=9, rotation="local")
_GEMMA = _BASE.replace(
    architecture="gemma3_text",
    norm="rms_norm_1p",
    activation="gelu_tanh",
    qk_norm=True,
    post_norms=True,
    embedding_scale=96**0.5,
    tied_embeddings=True,
    num_layers=7,
    blocks=(*(_LOCAL,) * 5, _FULL, _LOCAL),
    rope_theta=1e6,
    norm_eps=1e-6,
)

# One entry for each option of a block that a family brings.
FAMILIES: dict[str, ModelSpec] = {
    "qwen3": _BASE.replace(
        architecture="qwen3", qk_norm=True, rope_theta=1e6, head_dim=24, rotary_dim=24
    ),
    "qwen3_windows": _BASE.replace(
        architecture="qwen3",
        qk_norm=True,
        qkv_bias=True,
        output_bias=True,
        tied_embeddings=True,
        blocks=(_FULL, _FULL, BlockSpec(window=40), BlockSpec(window=40)),
    ),
    "smollm3": _BASE.replace(
        architecture="smollm3",
        tied_embeddings=True,
        blocks=(_FULL, _FULL, _FULL, BlockSpec(rotation="none")),
    ),
    "granite": _BASE.replace(
        architecture="granite",
        embedding_scale=3.0,
        residual_scale=0.4,
        attention_scale=0.2,
        logit_scale=0.5,
    ),
    "phi3": _BASE.replace(architecture="phi3", head_dim=12, rotary_dim=6, rope_theta=1e4),
    "phi3_longrope": _BASE.replace(
        architecture="phi3",
        head_dim=12,
        rotary_dim=8,
        rope_scaling=LongRopeScaling((1.0, 1.1, 1.2, 1.5), (1.5, 2.0, 3.0, 6.0), 64, 1.19),
    ),
    "phi3_window": _BASE.replace(
        architecture="phi3",
        head_dim=12,
        rotary_dim=12,
        blocks=(BlockSpec(window=33),) * 4,
    ),
    "gemma3": _GEMMA,
    "gemma3_scaled": _GEMMA.replace(
        num_heads=4,
        num_kv_heads=1,
        head_dim=24,
        rotary_dim=24,
        attention_scale=20**-0.5,
        rope_scaling=LinearScaling(8.0),
        tied_embeddings=False,
    ),
}


def made_checkpoint(spec: ModelSpec, seed: int = 0) -> Checkpoint:
    """A checkpoint without a tokenizer, its float32 weights at random."""
    weights = random_weights(spec, seed)
    stored = {name: StoredTensor.of(name, np.asarray(w)) for name, w in weights.items()}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return Checkpoint(spec, Weights(stored), None, Path("made-up"), ids)
