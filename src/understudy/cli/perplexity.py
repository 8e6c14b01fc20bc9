"""`understudy perplexity`: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from understudy.cli.options import add_loading, add_model, load_model
from understudy.errors import MissingError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("-f", "--file", type=Path, required=True, help="text in UTF-8")
    parser.add_argument("--window", type=int, help="tokens of a window (default 512)")
    parser.add_argument(
        "--stride", type=int, help="scored tokens of each further window (default the window)"
    )
    parser.add_argument(
        "--definition",
        choices=["window", "llama.cpp"],
        default="window",
        help="what is scored: all of each window, or its second half as llama-perplexity does",
    )
    parser.add_argument("--max-tokens", type=int, help="score only the beginning of the text")
    parser.add_argument("--json", action="store_true")
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    from understudy.judge.benchmark.perplexity import perplexity

    try:
        text = arguments.file.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror}", where=arguments.file) from error
    except UnicodeDecodeError as error:
        raise UsageError("the text is not UTF-8", where=arguments.file) from error
    model = load_model(arguments)
    tokens = model.tokenizer.encode(text, add_special=True)[: arguments.max_tokens]

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} tokens", end="", file=sys.stderr, flush=True)

    result = perplexity(
        model,
        tokens,
        context=arguments.window,
        stride=arguments.stride,
        definition=arguments.definition,
        progress=show,
    )
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if arguments.json:
        print(json.dumps(result.as_dict()))
    else:
        print(
            f"perplexity {result.perplexity:.4f} ± {result.standard_error:.4f}\n"
            f"{result.num_scored} tokens scored, windows of {result.context}"
        )
    return 0
