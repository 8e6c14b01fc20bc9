"""`understudy pull`: fetches a model from the hub, resuming where an earlier attempt ended."""

from __future__ import annotations

import argparse

from understudy.hub import pull


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "repository",
        metavar="ORG/NAME",
        help="hub id, such as nvidia/Nemotron-Mini-4B-Instruct, or ORG/NAME/FILE.gguf",
    )


def run(arguments: argparse.Namespace) -> int:
    print(pull(arguments.repository))
    return 0
