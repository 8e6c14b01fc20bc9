"""Memory of a long text on random weights of a published shape: what keys and values take, where
layers with a window give back what lies behind it.

    python bench/window_memory.py gemma-3-270m [--context 32768] [--kv f16]

Prints JSON: resident bytes before and behind a prompt that fills the context, the difference, and
what keys and values of so many tokens take over all layers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

import understudy
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.engine.loading import kv_bytes_per_token
from understudy.engine.params import SamplingParams
from understudy.engine.request import Request
from understudy.judge.benchmark.shapes import SHAPES
from understudy.judge.benchmark.synthetic import SyntheticWeights
from understudy.model import Model
from understudy.spec import QuantSpec

WARM_UP, ANSWER = 512, 16  # tokens


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--context", type=int, default=32768)
    parser.add_argument("--kv", default="f16")
    arguments = parser.parse_args()
    spec = SHAPES[arguments.shape].replace(vocab_size=2048)  # its head is no matter here
    quant = QuantSpec("q4")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        save_checkpoint(Checkpoint(spec, SyntheticWeights(spec, quant), None, path), path, quant)
        model = understudy.load(
            path, context=arguments.context, kv=arguments.kv, num_threads=1, use_cache=False
        )
        before = (answer(model, WARM_UP), resident_bytes())[1]
        begin = time.perf_counter()
        answer(model, arguments.context - ANSWER)
        found = {
            "seconds": round(time.perf_counter() - begin, 1),
            "before_bytes": before,
            "behind_bytes": resident_bytes(),
            "grown_bytes": resident_bytes() - before,
            "all_layers_bytes": kv_bytes_per_token(spec, arguments.kv)
            * (arguments.context - WARM_UP),
        }
    print(json.dumps(found))


def answer(model: Model, num_tokens: int) -> None:
    prompt = np.random.default_rng(num_tokens).integers(0, 2048, num_tokens).tolist()
    params = SamplingParams(max_tokens=ANSWER, temperature=0.0, ignore_eos=True)
    list(model.driver.outputs(Request(prompt, params)))


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
