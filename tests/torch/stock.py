"""Stock transformers models of our specs, for comparison. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tests.support.checkpoints import config_of
from understudy.spec import ModelSpec


def stock_model(
    spec: ModelSpec, weights: Mapping[str, NDArray[np.float32]], attention: str = "eager"
) -> Any:
    """The class that transformers has for this architecture, holding these weights, in float32."""
    config = transformers.AutoConfig.for_model(**config_of(spec))
    config._attn_implementation = attention
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    state = {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}
    if spec.tied_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing, missing
    assert not unexpected, unexpected
    return model


def stock_logits(model: Any, token_ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """(tokens,) -> (tokens, vocab), one prefill."""
    with torch.inference_mode():
        logits: NDArray[np.float32] = (
            model(torch.from_numpy(token_ids.astype(np.int64))[None]).logits[0].numpy()
        )
    return logits


def stock_decode_logits(
    model: Any, token_ids: NDArray[np.int32], num_prefill: int
) -> NDArray[np.float32]:
    """The same, but the tokens from `num_prefill` on go in one by one over transformers' cache."""
    ids = torch.from_numpy(token_ids.astype(np.int64))[None]
    with torch.inference_mode():
        out = model(ids[:, :num_prefill], use_cache=True)
        rows = [out.logits[0]]
        for position in range(num_prefill, ids.shape[1]):
            out = model(
                ids[:, position : position + 1], past_key_values=out.past_key_values, use_cache=True
            )
            rows.append(out.logits[0])
    return torch.cat(rows).numpy()


def stock_greedy(model: Any, prompt: NDArray[np.int32], num_tokens: int) -> list[int]:
    """`generate` without sampling and without a stop: exactly `num_tokens` new ids."""
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    with torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            eos_token_id=None,
            pad_token_id=0,
        )
    return [int(token) for token in out[0, len(prompt) :]]
