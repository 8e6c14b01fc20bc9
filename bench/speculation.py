"""What guessing from the text is worth: a copy-heavy greedy answer with and without it, and what
checking guesses costs.

    python bench/speculation.py [MODEL] [--only copy|check] [--guesses 4 8] [--rounds 5]
        [--speculate 8] [--json F]

`copy`: the prompt holds a passage and asks for it again; both runs must give the same tokens. Needs
a model that can copy: random weights in the shape of one (`bench/synthetic.py`) do not, so ask for
`check` alone there. `check`: one step over 1 + n tokens at depth 512 against a step over one,
alternating. Medians of ratios over the rounds, with their spread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import processor_name

import understudy
from understudy import core
from understudy.engine.scoring import Piece

PASSAGE = (
    "The lighthouse on the island was built in 1812 from grey granite. Its lamp burns rape oil, and its light is seen for eleven miles. "
    "Ada Vane keeps it, as her father did. Hilde the miller grinds rye for the village. The ferry to the mainland leaves from the pier "
    "at a quarter past six, on Sundays at twenty to eight. In winter the pier is often under ice, and then nobody leaves the island."
)
MESSAGES = [{"role": "user", "content": f"{PASSAGE}\n\nRepeat the text above word for word."}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--speculate", type=int, default=8)
    parser.add_argument("--only", choices=("copy", "check"), help="one of the two (default both)")
    parser.add_argument(
        "--guesses", type=int, nargs="*", default=[4, 8], help="guesses that a step checks"
    )
    parser.add_argument("--weights")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = understudy.load(arguments.model, weights=arguments.weights, context=1024)
    result: dict[str, object] = {
        "model": model.path.name,
        "processor": processor_name(),
        "threads": model.core_model.num_threads,
        "isa": model.core_model.isa,
        "speculate": arguments.speculate,
    }
    if arguments.only != "check":
        result["copy"] = copy(model, arguments.rounds, arguments.speculate)
    if arguments.only != "copy":
        result["check"] = {n: check(model, n, 6 * arguments.rounds) for n in arguments.guesses}
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def copy(model: understudy.Model, rounds: int, speculate: int) -> dict[str, object]:
    rates: dict[int, list[float]] = {0: [], speculate: []}
    texts, accepted = set(), 0
    for _ in range(rounds):
        for guesses, found in rates.items():
            model.engine.speculate = guesses
            reply = model.generate(MESSAGES, max_tokens=160)
            found.append(reply.usage.decode_rate)
            texts.add(reply.tokens)
            accepted = max(accepted, reply.usage.accepted_tokens)
    assert len(texts) == 1, "guessing changed the text"
    return {
        "tokens": len(texts.pop()),
        "accepted": accepted,
        "plain_tokens_s": round(statistics.median(rates[0]), 1),
        **spread([b / a for a, b in zip(rates[0], rates[speculate], strict=True)]),
    }


def check(model: understudy.Model, guesses: int, rounds: int, depth: int = 512) -> dict[str, float]:
    """Time of a step over 1 + guesses tokens against one over a single token."""
    runner = model.runner
    pages = np.arange((depth + 64) // core.PAGE_SIZE, dtype=np.int32)[None]
    runner.rows([Piece([5] * depth, 0, list(pages[0]), range(depth))])

    def step(count: int) -> float:
        tokens, positions = (
            np.full(count, 5, np.int32),
            np.arange(depth, depth + count, dtype=np.int32),
        )
        started = time.perf_counter()
        core.step(
            runner.model,
            runner.cache,
            tokens,
            positions,
            np.zeros(count, np.int32),
            pages,
            np.arange(count, dtype=np.int32),
        )
        return time.perf_counter() - started

    step(1), step(1 + guesses)
    return spread([step(1 + guesses) / step(1) for _ in range(rounds)])


def spread(values: list[float]) -> dict[str, float]:
    return {
        "ratio": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


if __name__ == "__main__":
    main()
