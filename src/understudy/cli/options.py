"""Options that several commands share, and the loading of a model with progress."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from understudy.cli.environment import ISA_TARGETS
from understudy.errors import UsageError
from understudy.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from understudy.model import Model

KV_BUDGET = 1 << 29  # bytes of keys and values for answers under way at once, beyond one context


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="GGUF file, Hugging Face folder, .nemo file, hub id or listed name "
        f"(default {DEFAULT_MODEL})",
    )


def add_calls(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--calls",
        default="",
        metavar="SWITCH=on|off,…",
        help="what is decided before the model about calls of tools, other than its preset has it: "
        "gate, split, only_supported, copy_values, hide_tools, chain, check_results",
    )


def add_loading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loading")
    group.add_argument(
        "--weights",
        choices=["f32", "bf16", "q8", "q4", "q3"],
        help="format to compute in (default: the file's own)",
    )
    group.add_argument(
        "--kv",
        choices=["f16", "int8", "f32"],
        default="f16",
        help="format of the cache (default f16)",
    )
    group.add_argument(
        "--activations",
        choices=["int8", "int12"],
        help="inputs of products (default int12 below 10^9 parameters)",
    )
    group.add_argument(
        "--context",
        type=int,
        metavar="TOKENS",
        help="longest prompt plus answer (default the model's, within memory)",
    )
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads (default one per physical core)"
    )
    group.add_argument(
        "--isa",
        help=f"kernel target: {', '.join(ISA_TARGETS)} (default the best that this processor runs)",
    )
    group.add_argument(
        "--speculate",
        type=int,
        default=0,
        metavar="N",
        help="tokens to guess from the text and check (default 0)",
    )
    _add_adapters(group)


def _add_adapters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--adapter",
        action="append",
        default=[],
        metavar="NAME=PATH[:SCALE]",
        help="a LoRA adapter: a folder of PEFT or a GGUF (repeatable)",
    )
    group.add_argument(
        "--no-adapter",
        action="store_true",
        help="without the adapter that ships with the default model",
    )


def add_sampling(
    parser: argparse.ArgumentParser,
    *,
    max_tokens: int | None,
    temperature: float | None = 0.0,
    temperature_help: str = "0 is greedy (default)",
) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--max-tokens",
        type=int,
        default=max_tokens,
        metavar="N",
        help=f"most tokens of an answer (default {max_tokens})",
    )
    group.add_argument("--temperature", type=float, default=temperature, help=temperature_help)
    group.add_argument("--top-k", type=int, default=0)
    group.add_argument("--top-p", type=float, default=1.0)
    group.add_argument("--min-p", type=float, default=0.0)
    group.add_argument("--repetition-penalty", type=float, default=1.0)
    group.add_argument("--frequency-penalty", type=float, default=0.0)
    group.add_argument("--presence-penalty", type=float, default=0.0)
    _add_repetition(group)
    group.add_argument("--seed", type=int)
    group.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="text that ends the answer (repeatable)",
    )


def _add_repetition(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--penalty-last-n",
        type=int,
        default=64,
        metavar="N",
        help="tokens that the penalties look back at (default 64; -1: all)",
    )
    group.add_argument("--dry-multiplier", type=float, default=0.0, help="DRY (default 0: off)")
    group.add_argument("--dry-base", type=float, default=1.75)
    group.add_argument("--dry-allowed-length", type=int, default=2)
    group.add_argument("--dry-penalty-last-n", type=int, default=-1)
    group.add_argument("--xtc-probability", type=float, default=0.0, help="XTC (default 0: off)")
    group.add_argument("--xtc-threshold", type=float, default=0.1)


def sampling_of(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "seed", "stop")
    penalties = ("repetition_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n")
    dry = ("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n")
    xtc = ("xtc_probability", "xtc_threshold")
    return {name: getattr(arguments, name) for name in names + penalties + dry + xtc}


def adapters_of(arguments: argparse.Namespace, scale: float = 1.0) -> dict[str, Any]:
    """What `load` takes of the adapters that the arguments name.

    Args:
        scale: of those without one.
    """
    from understudy.model import RESIDENT

    paths: dict[str, str] = {}
    scales: dict[str, float] = {}
    for word in arguments.adapter:
        name, mark, rest = word.partition("=")
        if not mark or not name or not rest:
            raise UsageError(
                "name the adapter", where="--adapter", expected="NAME=PATH", found=word
            )
        if name in paths:
            raise UsageError("two adapters have the same name", where="--adapter", found=name)
        paths[name], own = split_scale(rest)
        scales[name] = scale if own is None else own
    if any(scales.values()):
        return {"adapters": paths, "adapter": scales}
    return {"adapters": paths, "adapter": None if arguments.no_adapter else RESIDENT}


def split_scale(text: str) -> tuple[str, float | None]:
    """A path and the scale behind its last colon, if there is one."""
    path, mark, scale = text.rpartition(":")
    try:
        return (path, float(scale)) if mark and path else (text, None)
    except ValueError:
        return text, None


def load_model(arguments: argparse.Namespace, **more: Any) -> Model:
    """The model that the arguments ask for; packing shows a bar on a terminal, since it can take a
    minute.
    """
    from understudy.model import load

    with Progress("packing weights") as progress:
        return load(
            arguments.model,
            weights=arguments.weights,
            kv=arguments.kv,
            activations=arguments.activations,
            context=arguments.context,
            num_threads=arguments.threads,
            isa=arguments.isa,
            speculate=arguments.speculate,
            progress=progress,
            **adapters_of(arguments),
            **more,
        )


class Progress:
    """A bar with an estimate of what is left; appears with the first call, on a terminal only.

    with Progress("packing weights") as report: report(done, total)
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        return self._show

    def _show(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn(self._what),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class ItemLine:
    """Tasks, items and the time left: on one line of a terminal, or a line every half minute
    elsewhere.
    """

    def __init__(self) -> None:
        self._begin, self._first, self._said = time.monotonic(), -1, 0.0

    def __call__(self, task: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first < 0:
            self._begin, self._first = now, done
        rate = (done - self._first) / max(1e-9, now - self._begin)
        left = f", {(total - done) / rate:.0f} s left" if rate else ""
        text = f"{task}: {done} of {total} items{left}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif now - self._said > 30 or done == total:
            self._said = now
            print(text, file=sys.stderr, flush=True)


def cache_tokens(arguments: argparse.Namespace) -> int:
    """Room for the answers under way at once: some 1,024 tokens each, as far as the budget goes."""
    from understudy import hub
    from understudy.checkpoint.checkpoint import open_checkpoint
    from understudy.engine.loading import kv_bytes_per_token

    per_token = kv_bytes_per_token(open_checkpoint(hub.resolve(arguments.model)).spec, arguments.kv)
    return max(1, min(1024 * int(arguments.parallel), KV_BUDGET // per_token))


def traffic_table(formats: Mapping[str, Mapping[str, int]]) -> str:
    """Lines of text: megabytes that a token reads, by part, in each format."""
    heads = "".join(f"{name:>12}" for name in formats)
    lines = [f"{'MB read a token':20}{heads}"]
    for part in next(iter(formats.values())):
        sizes = "".join(f"{found[part] / 1e6:>12,.2f}" for found in formats.values())
        lines.append(f"  {part:18}{sizes}")
    return "\n".join(lines)
