"""Folders that stock transformers writes of whole networks that see: their text network is opened,
and answers as the whole does to a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.torch.stock import stock_logits
from understudy.checkpoint import reference
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import CheckpointWarning

_TEXT = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
_VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}


def _qwen3_5(is_tied: bool) -> torch.nn.Module:
    delta = {"linear_num_value_heads": 4, "linear_num_key_heads": 2}
    dims = {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
    text = {**_TEXT, **delta, **dims, "tie_word_embeddings": is_tied}
    vision = {**_VISION, "out_hidden_size": 48, "num_position_embeddings": 16}
    config = transformers.Qwen3_5Config(
        text_config=text, vision_config=vision, tie_word_embeddings=is_tied
    )
    return transformers.Qwen3_5ForConditionalGeneration(config)


def _gemma3(is_tied: bool) -> torch.nn.Module:
    text = {**_TEXT, "sliding_window": 40, "query_pre_attn_scalar": 16}
    vision = {"num_hidden_layers": 1, "image_size": 28, "patch_size": 14, "num_attention_heads": 2}
    vision |= {"hidden_size": 32, "intermediate_size": 48}
    config = transformers.Gemma3Config(
        text_config={**text, "tie_word_embeddings": is_tied},
        vision_config=vision,
        mm_tokens_per_image=4,
        tie_word_embeddings=is_tied,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("make", [_qwen3_5, _gemma3])
def test_a_text_is_answered_as_by_the_whole(make, is_tied: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make(is_tied).eval()
    with torch.no_grad():
        for values in model.parameters():
            values += 0.15 * torch.randn_like(values)
    model.config._attn_implementation = "eager"
    model.save_pretrained(tmp_path / "whole")
    with pytest.warns(CheckpointWarning, match="the text network alone is opened"):
        opened = open_checkpoint(tmp_path / "whole")
    assert opened.spec.tied_embeddings == is_tied
    tokens = np.random.default_rng(0).integers(0, 90, 70)
    theirs = stock_logits(model, tokens)
    weights = {name: opened.weights[name].to_float32() for name in opened.weights}
    ours = reference.forward(opened.spec, weights, tokens)
    assert np.abs(ours - theirs).max() < 1e-4 * max(1, theirs.std())
