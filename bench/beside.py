"""Decoding beside other programs: tokens a second with busy processes on the same cores.

    python bench/beside.py smollm2-135m-instruct --peer VENV/bin/python --peer-model FILE.gguf

Each round measures ours with one and with two threads and the peer (`xllamacpp`, llama.cpp's
server in a package) with two, one after the other, so that all meet the same minutes. A run decodes
`--tokens` tokens in a process of its own; what is told are medians of rounds. `--busy 0` is the
quiet machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OURS = """
import sys, time, understudy
model = understudy.load(sys.argv[1], num_threads=int(sys.argv[2]), context=512)
started, deadline = time.perf_counter(), time.perf_counter() + 20
for number, _ in enumerate(model.stream_outputs(
    "Once upon a time", max_tokens=int(sys.argv[3]), temperature=0.0, ignore_eos=True)):
    if number == 0:
        started = time.perf_counter()
    elif time.perf_counter() > deadline:
        break
print(number / (time.perf_counter() - started))
"""
PEER = """
import os, sys, time
answer = os.dup(1)
os.dup2(2, 1)
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel = 512, 1
params.warmup = params.fit_params = False
params.cpuparams.n_threads = int(sys.argv[2])
server = xllamacpp.Server(params)

def decode(tokens):
    started = time.perf_counter()
    asked = {"n_predict": tokens, "temperature": 0, "ignore_eos": True}
    server.handle_completions(asked | {"prompt": "Once upon a time"})
    return time.perf_counter() - started

decode(1)
one = decode(1)
few = decode(9) - one
tokens = max(8, min(int(sys.argv[3]), int(20 * 8 / max(few, 1e-3))))
os.write(answer, str(tokens / max(decode(tokens + 1) - one, 1e-6)).encode())
os._exit(0)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--peer", help="a Python that has xllamacpp")
    parser.add_argument("--peer-model", help="the GGUF file that the peer opens")
    parser.add_argument("--busy", type=int, default=2, help="processes that only compute")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    runs = {
        "one thread": (sys.executable, OURS, options.model, "1"),
        "two threads": (sys.executable, OURS, options.model, "2"),
    }
    if options.peer:
        for name, count in (("llama.cpp, one thread", "1"), ("llama.cpp, two threads", "2")):
            runs[name] = (options.peer, PEER, options.peer_model, count)
    found: dict[str, list[float]] = {name: [] for name in runs}
    with busy(options.busy):
        for _ in range(options.rounds):
            for name, (python, program, *words) in runs.items():
                words += [str(options.tokens)]
                told = subprocess.run(
                    [python, "-c", program, *words], capture_output=True, text=True, check=True
                )
                found[name].append(float(told.stdout.split()[-1]))
    medians = {name: round(statistics.median(values), 1) for name, values in found.items()}
    best = max(medians["one thread"], medians["two threads"])
    shares = {"two threads of the best of both": round(medians["two threads"] / best, 3)}
    if options.peer:
        shares["two threads to llama.cpp's two"] = round(
            medians["two threads"] / medians["llama.cpp, two threads"], 2
        )
    print(json.dumps({"busy": options.busy, "tokens_per_second": medians} | shares, indent=1))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute all the time."""
    processes = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _compute() -> None:
    value = 1
    while True:
        value = value * 1103515245 % 2147483647


if __name__ == "__main__":
    main()
