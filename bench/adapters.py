"""What adapters cost while serving: one for all, or eight different ones in a batch of eight,
against the base; and the same through llama.cpp's server.

    python bench/adapters.py [MODEL] [--rank 16] [--rounds 5] [--llama MODEL.gguf]

Rounds of the cases follow each other, so that what else the machine does touches all alike; ratios
are of medians. Adapters are random, of every linear map of the layers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import understudy
from understudy.adapters import Adapter, gguf
from understudy.adapters.adapter import matrix_shapes
from understudy.engine import Request, SamplingParams
from understudy.hub import resolve

BATCH, NEW_TOKENS, PROMPT = 8, 32, 64


def random_adapter(model: understudy.Model, seed: int, rank: int) -> Adapter:
    """An adapter of every linear map of the layers, too weak to change a text much."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for matrix, (out, into) in matrix_shapes(model.spec).items():
        if matrix.endswith("_proj"):
            a = rng.standard_normal((rank, into), dtype=np.float32) / np.float32(into**0.5)
            b = rng.standard_normal((out, rank), dtype=np.float32) * np.float32(1e-3)
            tensors[matrix] = (a, b)
    return Adapter(f"a{seed}", rank, float(rank), False, tensors)


def run_batch(model: understudy.Model, chosen: list[str], seed: int) -> tuple[float, float]:
    """Tokens per second of prompts and of answers, all requests at once."""
    engine, rng = model.engine, np.random.default_rng(seed)
    params = [SamplingParams(max_tokens=NEW_TOKENS, ignore_eos=True, adapter=a) for a in chosen]
    for one in params:
        engine.add(Request(rng.integers(5, 40_000, PROMPT).tolist(), one))
    started = time.perf_counter()
    engine.step()
    begun = time.perf_counter()
    count = 0
    while engine.has_work:
        count += sum(len(output.new_tokens) for output in engine.step())
    ended = time.perf_counter()
    return BATCH * PROMPT / (begun - started), count / (ended - begun)


CASES: dict[str, list[str]] = {
    "base": [""] * BATCH,
    "one adapter": ["a0"] * BATCH,
    "eight adapters": [f"a{i}" for i in range(BATCH)],
}


def measure(model: understudy.Model, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of prompt and answer speed by case, and their ratios to the base."""
    for chosen in CASES.values():
        run_batch(model, chosen, 0)
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for number in range(rounds):
        for name, chosen in CASES.items():
            speeds[name].append(run_batch(model, chosen, number + 1))
    rows: dict[str, dict[str, float]] = {}
    for name, pairs in speeds.items():
        prefill, decode = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratios = [b[1] / a[1] for a, b in zip(speeds["base"], pairs, strict=True)]
        starts = [b[0] / a[0] for a, b in zip(speeds["base"], pairs, strict=True)]
        rows[name] = {
            "prompt_tokens_s": round(prefill, 1),
            "tokens_s": round(decode, 1),
            "prompt_ratio": round(statistics.median(starts), 3),
            "ratio": round(statistics.median(ratios), 3),
        }
    return rows


# ---- llama.cpp's server ----


def llama_server(model: Path, files: list[Path], threads: int) -> Any:
    """llama.cpp's server, from the package `xllamacpp`, with adapters loaded and none acting."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel = BATCH * 256, BATCH
    params.warmup = params.fit_params = False
    params.cpuparams.n_threads = threads
    adapters = []
    for file in files:
        info = xllamacpp.CommonAdapterLoraInfo()
        info.path, info.scale = str(file), 0.0
        adapters.append(info)
    params.lora_adapters = adapters
    return xllamacpp.Server(params)


def ask_llama(server: Any, chosen: list[int | None], seed: int) -> float:
    """Tokens per second of all answers, prompts included."""
    rng = np.random.default_rng(seed)

    def ask(adapter: int | None) -> int:
        body: dict[str, Any] = {
            "prompt": rng.integers(5, 40_000, PROMPT).tolist(),
            "n_predict": NEW_TOKENS,
            "max_tokens": NEW_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
            "lora": [] if adapter is None else [{"id": adapter, "scale": 1.0}],
        }
        return int(server.handle_completions(body)["usage"]["completion_tokens"])

    started = time.perf_counter()
    with ThreadPoolExecutor(BATCH) as threads:
        count = sum(threads.map(ask, chosen))
    return count / (time.perf_counter() - started)


def measure_llama(model: Path, adapters: list[Path], rounds: int, threads: int) -> dict[str, float]:
    """Median tokens per second by case, prompts included."""
    server = llama_server(model, adapters, threads)
    cases: dict[str, list[int | None]] = {
        "base": [None] * BATCH,
        "one adapter": [0] * BATCH,
        "eight adapters": list(range(BATCH)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, chosen in cases.items():
            speed = ask_llama(server, chosen, number)
            if number:
                speeds[name].append(speed)
    return {name: round(statistics.median(values), 1) for name, values in speeds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--llama", action="store_true", help="measure llama.cpp's server too")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"rank": arguments.rank, "threads": arguments.threads}
    with TemporaryDirectory() as folder:
        with understudy.load(
            arguments.model, adapter=None, cache_tokens=4096, num_threads=arguments.threads
        ) as model:
            files = []
            for number in range(BATCH):
                adapter = random_adapter(model, number, arguments.rank)
                loaded = model.adapters.add(f"a{number}", adapter)
                files.append(Path(folder) / f"{number}.gguf")
                gguf.write(adapter, files[-1], model.spec)
            result["adapter_bytes"] = loaded.packed.num_bytes
            result["understudy"] = measure(model, arguments.rounds)
        if arguments.llama:
            path = resolve(arguments.model)
            llama = measure_llama(path, files, arguments.rounds, arguments.threads)
            result["llama.cpp, prompts included"] = llama
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
