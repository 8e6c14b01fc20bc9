"""One start of this engine, to be measured from outside: loads MODEL, fills its whole cache and
makes one token.

    python bench/first_token.py MODEL [--context 4096] [--threads 2] [--kv f16]

Prints JSON: seconds to a ready model, to the first token and in all, and the peak memory of the
process in bytes.
"""

from __future__ import annotations

import argparse
import json
import time

START = time.perf_counter()

import numpy as np  # noqa: E402

import understudy  # noqa: E402
from understudy.judge.benchmark.memory import peak_memory_bytes  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--kv", default="f16")
    arguments = parser.parse_args()
    model = understudy.load(
        arguments.model, context=arguments.context, num_threads=arguments.threads, kv=arguments.kv
    )
    ready = time.perf_counter() - START
    tokens = model.generate("Hello", max_tokens=1, temperature=0).tokens
    first = time.perf_counter() - START
    cache = model.runner.cache
    cache.copy_pages(
        np.zeros(cache.num_pages - 1, np.int32), np.arange(1, cache.num_pages, dtype=np.int32)
    )
    found = {
        "ready_s": ready,
        "first_token_s": first,
        "tokens": tokens,
        "peak_bytes": peak_memory_bytes(),
    }
    print(json.dumps(found | {"total_s": time.perf_counter() - START}))


if __name__ == "__main__":
    main()
