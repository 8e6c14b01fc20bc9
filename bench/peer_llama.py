"""Stock llama.cpp as a peer: thin wrappers of its own programs, each run in a process of its own.

How to build them from the source that PyPI carries (about ten minutes on two cores):

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36
    tar xf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B llama-build -DCMAKE_BUILD_TYPE=Release \
          -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DBUILD_SHARED_LIBS=OFF
    cmake --build llama-build -j --target llama-bench llama-completion llama-batched-bench llama-server

Where the processor has AMX tiles, gcc 12 needs help: its `_tile_loadconfig` claims to read 8 of the 64 bytes of a configuration, the
optimizer drops the rest, and the first product ends in a segmentation fault. Put these lines into a file `tiles.h` and add
`-DCMAKE_CXX_FLAGS="-include $PWD/tiles.h"`:

    #include <immintrin.h>
    #undef _tile_loadconfig
    #define _tile_loadconfig(p) __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(p)))

The folder to give to `--llama-bin` is then `llama-build/bin`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Complete = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """A finished process: wall-clock seconds, peak resident memory in bytes, and what it wrote to
    stdout.
    """

    seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str | Path], timeout: float = 1800) -> Run:
    """Runs a program to its end and measures it alone (`wait4`), raising RuntimeError with its last
    words on failure.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        output, errors = _drain(process, timeout)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(
            f"{Path(command[0]).name} failed ({process.returncode}): {errors[-800:]}"
        )
    return Run(seconds, usage.ru_maxrss * 1024, output)


def _drain(process: subprocess.Popen[bytes], timeout: float) -> tuple[str, str]:
    """Both pipes to their end, without reaping the process (its usage is asked for by `wait4`)."""
    import selectors

    streams: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > end:
                process.kill()
                raise TimeoutError(f"longer than {timeout} s")
            for key, _ in selector.select(1.0):
                piece = os.read(key.fd, 1 << 16)
                streams[key.fileobj] += piece
                if not piece:
                    selector.unregister(key.fileobj)
    output, errors = (bytes(buffer).decode(errors="replace") for buffer in streams.values())
    return output, errors


@dataclass(frozen=True)
class LlamaCpp:
    """The programs in one folder, all run with the same number of threads."""

    folder: Path
    num_threads: int
    kv: str = "f16"  # format of the cache while it decodes: f16 or q8_0

    def version(self) -> str:
        result = subprocess.run(
            [self.folder / "llama-bench", "--version"], capture_output=True, text=True, check=False
        )
        return " ".join((result.stdout + result.stderr).split())[:200]

    def prefill(self, model: Path, num_tokens: int) -> float:
        """Tokens per second of one prompt (llama-bench; its own warm-up, a whole prompt, first
        where that is short).
        """
        return self._bench(
            model, "-p", num_tokens, "-n", 0, *(["--no-warmup"] if num_tokens >= 1024 else [])
        )

    def decode(
        self,
        model: Path,
        num_tokens: int,
        depth: int = 0,
        flash_attention: str = "auto",
        repeats: int = 1,
    ) -> float:
        """Tokens per second after `depth` positions, which are filled once; the median of the
        repeats.
        """
        return self._bench(
            model,
            "-p",
            0,
            "-n",
            num_tokens,
            "-d",
            depth,
            "-fa",
            flash_attention,
            *cache_of(self.kv),
            repeats=repeats,
        )

    def _bench(self, model: Path, *arguments: str | int, repeats: int = 1) -> float:
        command = [
            self.folder / "llama-bench",
            "-m",
            model,
            "-t",
            str(self.num_threads),
            "-r",
            str(repeats),
            "-o",
            "json",
        ]
        rows = json.loads(run([*command, *map(str, arguments)]).output)
        return float(statistics.median(rows[0]["samples_ts"]))

    def decode_batch(self, model: Path, num_tokens: int, batch: int, depth: int) -> float:
        """Tokens per second of `batch` sequences together (llama-batched-bench)."""
        context = 256 * (-(-batch * (depth + num_tokens) // 256) + 1)
        command = [
            self.folder / "llama-batched-bench",
            "-m",
            model,
            "-t",
            self.num_threads,
            "-c",
            context,
            "-npp",
            depth,
            "-ntg",
            num_tokens,
            "-npl",
            batch,
            *cache_of(self.kv),
            "--output-format",
            "jsonl",
        ]
        rows = [
            json.loads(line)
            for line in run(list(map(str, command))).output.splitlines()
            if line.startswith("{")
        ]
        return float(rows[-1]["speed_tg"])

    def first_token(self, model: Path, context: int, kv: str = "f16") -> Run:
        """From nothing to one token with a cache of `context` positions (kv: f16 or q8_0)."""
        command = [
            self.folder / "llama-completion",
            "-m",
            model,
            "-t",
            self.num_threads,
            "-c",
            context,
            "-n",
            1,
            "-p",
            "Hello",
            "-no-cnv",
            "--no-warmup",
            *cache_of(kv),
        ]
        return run(list(map(str, command)))

    def load(self, model: Path, context: int) -> float:
        """Seconds from nothing to a server that would take a request."""
        start = time.perf_counter()
        with self.server(model, context):
            return time.perf_counter() - start

    def greedy(self, model: Path, prompt: Sequence[int], num_tokens: int) -> list[int]:
        """Token ids that follow `prompt` (token ids too) at temperature 0."""
        with self.server(model, context=len(prompt) + num_tokens + 64) as complete:
            return [int(token) for token in complete(greedy_request(prompt, num_tokens))["tokens"]]

    @contextmanager
    def server(self, model: Path, context: int, slots: int = 1) -> Iterator[Complete]:
        """A llama-server for the time of the block; gives `complete(request) -> answer`, both JSON."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            self.folder / "llama-server",
            "-m",
            model,
            "-t",
            self.num_threads,
            "-c",
            context,
            "-np",
            slots,
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--no-warmup",
        ]
        with subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_until_healthy(process, port)
                yield lambda request: complete_at(port, request)
            finally:
                process.terminate()


def cache_of(kv: str) -> tuple[str, ...]:
    return "-ctk", kv, "-ctv", kv


def wait_until_healthy(process: subprocess.Popen[bytes], port: int, timeout: float = 120) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(
                f"llama-server ended with {process.returncode}: it does not open this model"
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError("llama-server did not get ready")


def greedy_request(prompt: Sequence[int], num_tokens: int) -> dict[str, Any]:
    """What llama.cpp's server must be asked to continue token ids greedily, with the
    log-probability of each choice.
    """
    return {
        "prompt": [int(token) for token in prompt],
        "n_predict": num_tokens,
        "temperature": 0,
        "top_k": 1,
        "return_tokens": True,
        "n_probs": 1,
        "cache_prompt": False,
        "ignore_eos": True,
        "repeat_penalty": 1.0,
    }


def complete_at(port: int, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
