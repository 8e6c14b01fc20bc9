"""`understudy demo`: the main job on the embedded model, streamed, with figures against this machine's limits."""

from __future__ import annotations

import argparse
import time

from understudy import core
from understudy.cli.options import add_loading, add_model, load_model
from understudy.cli.terminal import write
from understudy.measure.memory import peak_memory_bytes

PROMPT = (
    "You are the keeper of a lighthouse on a small island. A traveller knocks at the door in the storm. "
    "Greet the traveller and tell in a few sentences what the light is for."
)


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--max-tokens", type=int, default=160)
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    model = load_model(arguments)
    loaded = time.perf_counter() - started
    write(f"> {arguments.prompt}\n\n")
    last = None
    for output in model.stream_outputs([{"role": "user", "content": arguments.prompt}], max_tokens=arguments.max_tokens):
        write(output.text)
        last = output
    assert last is not None
    assert last.usage is not None
    usage, threads = last.usage, model.core_model.num_threads
    peak = peak_memory_bytes()
    bandwidth = core.measure_bandwidth(threads) / 1e9
    used = usage.decode_rate * model.core_model.weight_bytes_per_token / 1e9
    write("\n\n")
    write(f"model     {model.path.name}, loaded in {loaded:.2f} s; kernels {model.core_model.isa}, {threads} threads\n")
    write(f"prefill   {usage.prefill_rate:8.1f} tokens/s  ({usage.prompt_tokens} tokens, first token after "
          f"{usage.first_token_s * 1000:.0f} ms)\n")  # fmt: skip
    write(f"decode    {usage.decode_rate:8.1f} tokens/s  ({usage.completion_tokens} tokens)\n")
    write(f"memory    {peak / 1e6:8.1f} MB at the peak\n")
    write(f"bandwidth {used:8.1f} GB/s of weights read, {100 * used / bandwidth:.0f} % of the {bandwidth:.1f} GB/s "
          "that this machine reads now\n")  # fmt: skip
    return 0
