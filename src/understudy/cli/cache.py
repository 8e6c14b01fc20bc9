"""`understudy cache list | clear | limit`: the packed models that make a second start immediate."""

from __future__ import annotations

import argparse
import datetime
import json
import re
from typing import TYPE_CHECKING

from understudy.errors import UnderstudyError, UsageError

if TYPE_CHECKING:
    from understudy.formats.cache_files import CachedModel

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def configure(parser: argparse.ArgumentParser) -> None:
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    listing = tasks.add_parser("list", help="what is kept, of which model, and when it was used")
    listing.add_argument("--json", action="store_true")
    clearing = tasks.add_parser(
        "clear", help="remove packed models; they are packed again when used"
    )
    clearing.add_argument(
        "names", nargs="*", metavar="NAME", help="those whose name begins so; default all"
    )
    limiting = tasks.add_parser(
        "limit", help="what packed models may take; the longest unused goes first"
    )
    limiting.add_argument(
        "size", help="such as 5GB or 800MB, or `none`; holds for later starts too"
    )


def run(arguments: argparse.Namespace) -> int:
    from understudy.formats.cache_files import apply_limit, cached_models, set_limit

    if arguments.task == "list":
        _list(cached_models(), arguments.json)
    elif arguments.task == "clear":
        _clear(arguments.names)
    else:
        most = None if arguments.size == "none" else parse_size(arguments.size)
        set_limit(most)
        _removed(apply_limit())
    return 0


def parse_size(text: str) -> int:
    """Bytes of `5GB`, `800 MB`, `1.5g`; UsageError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise UsageError(
            "not a size", where="SIZE", expected="such as 5GB, 800MB or none", found=text
        )
    return int(float(found[1]) * _UNITS[found[2]])


def _list(models: list[CachedModel], is_json: bool) -> None:
    from understudy.formats.cache_files import limit
    from understudy.formats.packed import cache_folder

    total = sum(model.num_bytes for model in models)
    if is_json:
        entries = [
            {
                "name": model.path.stem,
                "bytes": model.num_bytes,
                "last_used": model.last_used,
                "source": str(model.source) if model.source is not None else None,
                "source_exists": model.source is not None and model.source.exists(),
            }
            for model in models
        ]
        document = {
            "folder": str(cache_folder()),
            "bytes": total,
            "limit": limit(),
            "models": entries,
        }
        print(json.dumps(document, indent=1))
        return
    for model in models:
        used = datetime.datetime.fromtimestamp(model.last_used).strftime("%Y-%m-%d %H:%M")
        source = "damaged or of an older version" if model.source is None else str(model.source)
        gone = "" if model.source is None or model.source.exists() else " (no longer there)"
        print(f"{model.path.stem:60} {model.num_bytes / 1e6:9.1f} MB  {used}  {source}{gone}")
    most = limit()
    allowed = f" of {most / 1e6:.1f} MB" if most is not None else ", no limit"
    print(f"{cache_folder()}: {len(models)} packed models, {total / 1e6:.1f} MB{allowed}")


def _clear(names: list[str]) -> None:
    from understudy.formats.cache_files import cached_models, remove

    models = cached_models()
    chosen = [m for m in models if not names or any(m.path.stem.startswith(n) for n in names)]
    for name in names:
        if not any(model.path.stem.startswith(name) for model in chosen):
            do = "`understudy cache list` prints the names"
            raise UsageError("no such packed model", where="NAME", found=name, do=do)
    stuck = [model.path for model in chosen if not remove(model)]
    _removed([model for model in chosen if model.path not in stuck])
    if stuck:
        raise UnderstudyError("cannot remove", where=stuck[0], found=f"{len(stuck)} in all")


def _removed(models: list[CachedModel]) -> None:
    freed = sum(model.num_bytes for model in models)
    print(f"removed {len(models)} packed models, {freed / 1e6:.1f} MB")
