"""`understudy ps`: what a running server has loaded and is doing."""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from typing import Any

from understudy.errors import UnderstudyError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8080",
        help="where the server is (default http://127.0.0.1:8080)",
    )
    parser.add_argument(
        "--key", default=os.environ.get("UNDERSTUDY_API_KEY"), help="default: $UNDERSTUDY_API_KEY"
    )
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    document = _ask(arguments.url.rstrip("/") + "/ps", arguments.key)
    if arguments.json:
        print(json.dumps(document, indent=1))
        return 0
    print(
        f"{'NAME':32} {'WEIGHTS':>10} {'CONTEXT':>8} {'RUNNING':>8} {'WAITING':>8} {'CACHE':>12}"
        f" {'IDLE':>8}"
    )
    for model in document["models"]:
        cache = f"{model['cache_pages_held']}/{model['cache_pages']}"
        print(
            f"{model['name'][:32]:32} {model['weight_bytes'] / 1e6:7.0f} "
            f"MB {model['context']:8} {model['running']:8} "
            f"{model['waiting']:8} {cache:>12} {model['idle_s']:6.0f} s"
        )
    for name in document["not_loaded"]:
        print(f"{name[:32]:32} not loaded")
    return 0


def _ask(url: str, key: str | None) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            "not the address of a server", where="--url", expected="http://HOST:PORT", found=url
        )
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        do = "give --key or set UNDERSTUDY_API_KEY" if error.code == 401 else None
        raise UnderstudyError(f"the server refused ({error.code})", where=url, do=do) from error
    except (ValueError, TypeError) as error:  # JSON, or its shape
        raise UnderstudyError("what answers there is no server of ours", where=url) from error
    except OSError as error:
        reason = getattr(error, "reason", error)  # what urllib wraps
        why = getattr(reason, "strerror", None) or str(reason)
        raise UnderstudyError(
            f"no server answers ({why})", where=url, do="start one with `understudy serve`"
        ) from error
