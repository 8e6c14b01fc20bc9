"""The teacher's stories, written by this repository's own engine: twice as fast on a CPU as torch,
64 at once.

    python experiments/compression/stories_write.py FOLDER stories.st [--tokens 750000] [--first 0]
        [--threads 1]

FOLDER is what `experiments/compression/stories_teacher.py` wrote. Every second story is drawn at
temperature 1, the others at 0.7; story i has the seed i, counted from --first, so that several
processes write different ones. The file (`stories`: int16, rows of 257 student ids, closed and
filled with </s>) goes to `experiments/compression/stories.py --stories`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import understudy
from understudy.engine import Request, SamplingParams

TOGETHER = 64
BEGIN, END = 1, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", type=int, default=750_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_teacher(arguments.folder, Path(folder))
        model = understudy.load(
            folder,
            weights="bf16",
            use_cache=False,
            context=256,
            cache_tokens=256 * (TOGETHER + 2),
            num_threads=arguments.threads,
        )
        stories = write(model, arguments.tokens, arguments.first)
    save_file({"stories": torch.tensor(stories, dtype=torch.int16)}, arguments.out)


def write_teacher(source: Path, folder: Path) -> None:
    """The teacher as a Hugging Face folder with the student's vocabulary."""
    spec = json.loads((source / "teacher.json").read_text())
    kept = torch.tensor(json.loads((source / "kept.json").read_text()))
    weights = {
        name: value.float()
        for name, value in load_file(source / "teacher.safetensors").items()
        if name != "lm_head.weight"
    }
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][kept]
    save_file(
        {name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors"
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(kept),
        "hidden_size": spec["hidden_size"],
        "intermediate_size": spec["intermediate_size"],
        "num_hidden_layers": spec["num_layers"],
        "num_attention_heads": spec["num_heads"],
        "num_key_value_heads": spec["num_kv_heads"],
        "head_dim": spec["head_dim"],
        "hidden_act": "silu",
        "max_position_embeddings": spec["max_positions"],
        "rms_norm_eps": spec["norm_eps"],
        "rope_theta": spec["rope_theta"],
        "tie_word_embeddings": True,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
    }
    (folder / "config.json").write_text(json.dumps(config))


def write(model: understudy.Model, num_tokens: int, first: int) -> list[list[int]]:
    engine, index, count, started = model.engine, first, 0, time.monotonic()
    rows: dict[int, list[int]] = {}
    stories: list[list[int]] = []
    while count < num_tokens:
        while len(rows) < TOGETHER:
            params = SamplingParams(
                max_tokens=255,
                temperature=0.7 if index % 2 else 1.0,
                seed=index,
                stop_token_ids=(END,),
                logit_bias={0: -100.0, BEGIN: -100.0},
            )
            rows[engine.add(Request([BEGIN], params))] = [BEGIN]
            index += 1
        for output in engine.step():
            rows[output.id] += output.new_tokens
            if output.finish_reason is not None:
                row = rows.pop(output.id)
                count += len(row)
                stories.append((row + [END] * 257)[:257])
                if len(stories) % 500 == 0:
                    print(
                        f"{len(stories)} stories, {count / (time.monotonic() - started):.0f} tokens/s",
                        flush=True,
                    )
    return stories


if __name__ == "__main__":
    main()
