"""Prefill against transformers in bfloat16 (oneDNN; AMX or AVX512-BF16 where the CPU has it), some
layers of the 4B shape, turn about.

    python bench/peer_transformers.py [--layers 4] [--tokens 512] [--rounds 5] [--json F]

Both compute the same shape on random weights with the same threads: transformers in bfloat16, this
engine in q4 (head included). Only the time counts here, exactness is what `tests/torch` is for. A
few layers and the head stand for the whole, which would need 8 GB twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import transformers
from machine import processor_name

from understudy import core
from understudy.engine.loading import int12_matrices
from understudy.judge.benchmark.speed import SpeedTest
from understudy.judge.benchmark.synthetic import synthetic_packed
from understudy.spec import ModelSpec, QuantSpec


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="nemotron-mini-4b")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    packed = synthetic_packed(arguments.shape, QuantSpec(weights="q4"), arguments.layers)
    spec = packed.spec
    int12 = int12_matrices(spec.replace(num_layers=32))  # as the whole model would be run
    ours = SpeedTest(
        core.CoreModel(spec, packed.tensors, num_threads=arguments.threads, int12=int12),
        spec,
        max_positions=arguments.tokens,
    )
    torch.set_num_threads(arguments.threads)
    theirs = peer(spec)
    ids = torch.randint(0, spec.vocab_size, (1, arguments.tokens))
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    with torch.inference_mode():
        for _ in range(arguments.rounds + 1):  # the first warms up
            started = time.perf_counter()
            theirs(ids, logits_to_keep=1)
            rates["theirs"].append(arguments.tokens / (time.perf_counter() - started))
            rates["ours"].append(arguments.tokens / ours.prefill(arguments.tokens))
    ratios = [a / b for a, b in zip(rates["ours"][1:], rates["theirs"][1:], strict=True)]
    result = {
        "machine": processor_name(),
        "threads": arguments.threads,
        "layers": arguments.layers,
        "tokens": arguments.tokens,
        "isa": core.choose_isa(),
        "peer_has_amx": torch.cpu._is_amx_tile_supported(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "ours_tokens_s": round(statistics.median(rates["ours"][1:]), 1),
        "theirs_tokens_s": round(statistics.median(rates["theirs"][1:]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "most": round(max(ratios), 3),
    }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def peer(spec: ModelSpec) -> torch.nn.Module:
    config = transformers.NemotronConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.num_layers,
        num_attention_heads=spec.num_heads,
        num_key_value_heads=spec.num_kv_heads,
        head_dim=spec.head_dim,
        max_position_embeddings=spec.max_positions,
        partial_rotary_factor=spec.rotary_dim / spec.head_dim,
    )
    with torch.device("meta"):
        model = transformers.NemotronForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    for name, buffer in model.named_buffers():
        if "inv_freq" in name:
            exponents = torch.arange(0, spec.rotary_dim, 2).float() / spec.rotary_dim
            buffer.copy_(1.0 / spec.rope_theta**exponents)
    return model.eval()


if __name__ == "__main__":
    main()
