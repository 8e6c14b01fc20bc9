"""How fast an index is made and searched at size: pages indexed a second, and milliseconds a search
at 100,000 chunks.

    python bench/rag_speed.py [--chunks 100000] [--write bench/results/rag_speed.json]

The pages are made up: words drawn by Zipf's law from 30,000, about 400 a page, two chunks each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from understudy.rag.document import Builder
from understudy.rag.index import Index
from understudy.rag.words import STOPWORDS


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    chance = np.random.default_rng(0)
    syllables = [
        "ka",
        "lo",
        "mi",
        "ren",
        "tu",
        "sel",
        "vor",
        "dan",
        "pi",
        "gra",
        "eth",
        "om",
        "bu",
        "cha",
        "fin",
        "wol",
    ]
    words = [
        *sorted(STOPWORDS),
        *("".join(chance.choice(syllables, chance.integers(2, 5))) for _ in range(30_000)),
    ]
    weights = 1 / np.arange(10, 10 + len(words))
    weights /= weights.sum()
    with (
        tempfile.TemporaryDirectory() as folder,
        Index(Path(folder) / "x.index", embedder="wordllama") as index,
    ):
        started, pages = time.perf_counter(), 0
        while index._store is None or index.store.counts()[1] < arguments.chunks:
            builder = Builder(f"book {pages // 200}")
            for _ in range(200):
                text = chance.choice(words, (25, 16), p=weights)
                builder.page()
                builder.add(" ".join(" ".join(sentence).capitalize() + "." for sentence in text))
            index.add_document(f"book {pages // 200}", builder.build())
            pages += 200
        indexing = time.perf_counter() - started
        questions = [" ".join(chance.choice(words, 10, p=weights)) + "?" for _ in range(200)]
        index.search(questions[0])
        times = []
        for question in questions:
            started = time.perf_counter()
            index.search(question)
            times.append((time.perf_counter() - started) * 1000)
        result = {
            "pages": pages,
            "chunks": index.store.counts()[1],
            "indexing_s": round(indexing, 1),
            "pages_per_s": round(pages / indexing, 1),
            "search_ms": {
                name: round(float(np.percentile(times, p)), 2)
                for name, p in (("median", 50), ("p90", 90), ("p99", 99))
            },
            "file_mb": round(index.path.stat().st_size / 1e6, 1),
        }
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
