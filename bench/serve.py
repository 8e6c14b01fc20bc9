"""The server against llama-server, and what HTTP costs: one run, alternating, the same file and
requests.

    python bench/serve.py --llama-bin DIR [--model NAME] [--clients 8] [--tokens 96] [--rounds 5]
        [--json FILE]

Measured: tokens/s of all clients together on both servers (medians of paired ratios); one client
streaming against `Model.generate` in this process (the share that HTTP takes); first token of a
1,500-token persona cold and warm; private memory of the idle server (`RssAnon`: all but files that
are mapped, which the weights are).
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import processor_name
from peer_llama import LlamaCpp, complete_at, wait_until_healthy

import understudy
from understudy.hub import resolve

Complete = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def ours(
    model: str, threads: int, context: int, tokens: int, *more: str
) -> Iterator[tuple[int, int]]:
    """`understudy serve` in a process of its own; gives its port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "understudy",
        "serve",
        model,
        "--port",
        port,
        "--threads",
        threads,
        "--no-log",
        "--context",
        context,
        "--cache-tokens",
        tokens,
        *more,
    ]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_healthy(process, port)
            yield port, process.pid
        finally:
            process.terminate()


def private_memory(pid: int) -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def request_of(number: int, tokens: int) -> dict[str, Any]:
    topics = ["harbour", "forest", "clock", "winter", "market", "river", "engine", "garden"]
    prompt = f"Write about the {topics[number % len(topics)]} of town number {number}. It was"
    return {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }


def together(complete: Complete, clients: int, tokens: int, first: int) -> float:
    """Tokens per second of all clients together, each with two requests."""
    asked = [request_of(first + number, tokens) for number in range(2 * clients)]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(complete, asked))
    seconds = time.perf_counter() - started
    assert all(answer["tokens_predicted"] == tokens for answer in answers)
    return len(asked) * tokens / seconds


def streamed(port: int, tokens: int, number: int) -> float:
    """Seconds of one streamed answer to a client that only takes its bytes: another machine's work
    is not the server's.
    """
    body = {
        "prompt": request_of(number, tokens)["prompt"],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
    }
    data = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    started, found = time.perf_counter(), bytearray()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + data)
        while piece := connection.recv(1 << 16):
            found += piece
    seconds = time.perf_counter() - started
    assert found.count(b"data: {") >= tokens // 2, found[:500]
    return seconds


def persona(number: int, words: int = 1500) -> str:
    chance = random.Random(number)
    pool = [
        "the",
        "old",
        "keeper",
        "of",
        "harbour",
        "light",
        "knows",
        "every",
        "ship",
        "captain",
        "and",
        "storm",
        "by",
        "name",
        "but",
        "tells",
        "nobody",
        "why",
        "she",
        "left",
    ]
    return " ".join(chance.choice(pool) for _ in range(words))


def first_token(complete: Complete, text: str, question: str) -> float:
    started = time.perf_counter()
    complete({"prompt": f"{text}\n{question}\n", "n_predict": 1, "temperature": 0})
    return time.perf_counter() - started


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    path, context = resolve(options.model), 2048
    peer = LlamaCpp(options.llama_bin, num_threads=options.threads)
    rates: dict[str, list[float]] = {"ours": [], "llama": [], "ratio": []}
    http: dict[str, list[float]] = {"server_s": [], "in_process_s": [], "overhead": []}
    cold, warm = [], []
    with (
        peer.server(path, context * options.clients, slots=options.clients) as llama,
        ours(options.model, options.threads, context, context * options.clients) as (port, pid),
        understudy.load(options.model, num_threads=options.threads, context=context) as model,
    ):
        idle = private_memory(pid)
        mine: Complete = lambda body: complete_at(port, body)  # noqa: E731
        together(llama, 2, 8, 0), together(mine, 2, 8, 0)
        for number in range(options.rounds):
            rates["ours"].append(together(mine, options.clients, options.tokens, 100 * number))
            rates["llama"].append(together(llama, options.clients, options.tokens, 100 * number))
            rates["ratio"].append(rates["ours"][-1] / rates["llama"][-1])
            for repeat in range(3):
                topic = 1000 + 10 * number + repeat
                http["server_s"].append(streamed(port, options.tokens * 2, topic))
                started = time.perf_counter()
                model.generate(
                    request_of(topic, 0)["prompt"],
                    max_tokens=options.tokens * 2,
                    temperature=0,
                    ignore_eos=True,
                )
                http["in_process_s"].append(time.perf_counter() - started)
                http["overhead"].append(http["server_s"][-1] / http["in_process_s"][-1] - 1)
            text = persona(number)
            cold.append(first_token(mine, text, "Who are you?"))
            warm.append(first_token(mine, text, "Where do you live?"))
        prompt_tokens = len(model.tokenizer.encode(persona(0)))
        busy = private_memory(pid)
    found = {
        "command": " ".join(["python", *sys.argv]),
        "processor": processor_name(),
        "system": platform.platform(),
        "clients": options.clients,
        "tokens_per_s": {name: spread(values) for name, values in rates.items()},
        "http": {name: spread(values) for name, values in http.items()},
        "persona_tokens": prompt_tokens,
        "first_token_cold_s": spread(cold),
        "first_token_warm_s": spread(warm),
        "warm_share": statistics.median(warm) / statistics.median(cold),
        "idle_private_bytes": idle,
        "busy_private_bytes": busy,
        "peer": peer.version(),
    }
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
