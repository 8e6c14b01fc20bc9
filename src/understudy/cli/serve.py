"""`understudy serve [MODEL ...]`: models over HTTP, for the clients that people have."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.cli.moderation import add_guard, guard_of
from understudy.cli.options import adapters_of, add_calls, add_loading
from understudy.errors import MissingError, UsageError
from understudy.hub import DEFAULT_MODEL, resolve

if TYPE_CHECKING:
    from understudy.model import Model
    from understudy.serve.settings import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="*",
        default=[DEFAULT_MODEL],
        metavar="MODEL",
        help=f"[NAME=]MODEL, the first is the default (default {DEFAULT_MODEL})",
    )
    _add_address(parser)
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="keep slots and collections here; characters and sessions live as long as the server",
    )
    _add_limits(parser)
    _add_times(parser)
    add_guard(parser)
    parser.add_argument("--no-log", action="store_true", help="no JSON line per request on stderr")
    add_loading(parser)


def _add_address(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("address and access")
    group.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default this machine only)"
    )
    group.add_argument("--port", type=int, default=8080)
    group.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="hashed keys; needed for other addresses than this machine's own",
    )
    group.add_argument(
        "--new-key",
        type=Path,
        metavar="FILE",
        help="make a key, add its hash to FILE, print it once, and end",
    )
    group.add_argument(
        "--key-name", default="default", help="name of the new key, which stands in the log"
    )
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further Host name (repeatable)",
    )
    group.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="web page that may ask (repeatable)",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-running",
        type=int,
        default=32,
        metavar="N",
        help="requests computed together (default 32)",
    )
    group.add_argument(
        "--max-waiting",
        type=int,
        default=256,
        metavar="N",
        help="requests that may wait before 429 (default 256)",
    )
    group.add_argument(
        "--max-loaded",
        type=int,
        default=2,
        metavar="N",
        help="models in memory together (default 2)",
    )
    group.add_argument(
        "--max-tokens", type=int, metavar="N", help="most tokens of one answer, whatever is asked"
    )
    group.add_argument(
        "--check-results",
        choices=("off", "numbers", "complete"),
        default="numbers",
        help="answers to results of tools: numbers of no result are written once more (default); "
        "complete: what is left out is added, too",
    )
    add_calls(group)


def _add_times(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("times and memory")
    group.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="longest request (default 600)",
    )
    group.add_argument(
        "--grace",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="for answers under way when stopping (default 20)",
    )
    group.add_argument(
        "--cache-tokens",
        type=int,
        metavar="N",
        help="tokens that the cache holds for all requests (default 4 contexts)",
    )


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    if arguments.new_key is not None:
        from understudy.serve.keys import new_key

        print(new_key(arguments.new_key, arguments.key_name))
        return 0
    from understudy.serve.app import create_app
    from understudy.serve.run import listen, serve

    settings, guard = _settings(arguments), guard_of(arguments)
    _check_files(settings)
    models = dict(_named(word, arguments) for word in arguments.models)
    if len(models) < len(arguments.models):
        raise UsageError("two models have the same name", where="MODEL", do="name them: NAME=MODEL")
    with listen(settings) as listener:
        default = next(iter(models))
        model = _loaded_now(models[default], guard)
        models[default] = _first_given(model, models[default])
        _say_address(models, listener.getsockname()[1], settings.host)
        _say_context(model)
        print(
            f"understudy: guard {'off' if guard is None else 'on: ' + ', '.join(arguments.guard)}",
            file=sys.stderr,
        )
        return serve(create_app(models, settings, guard=guard), settings, listener)


def _check_files(settings: Settings) -> None:
    """Raises UsageError for keys that cannot be read and a state folder that cannot be written."""
    from understudy.serve.keys import Keys

    if settings.key_file is not None:
        Keys(settings.key_file)
    folder = settings.state_folder
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            what = f"the state folder cannot be written ({error.strerror})"
            raise UsageError(what, where=folder) from error


def _loaded_now(load_it: Callable[[], Model], guard: Callable[[Model], Any] | None) -> Model:
    """Loads at once: a model that is refused, or that can have no guard, ends the program."""
    model = load_it()
    if guard is not None:
        guard(model)
    return model


def _first_given(model: Model, load_it: Callable[[], Model]) -> Callable[[], Model]:
    """A loader that gives the model that is there, and loads when it is asked again."""
    first = [model]
    return lambda: first.pop() if first else load_it()


def _say_context(model: Model) -> None:
    most = model.spec.max_positions
    limit = "all that the model knows" if model.context == most else f"of {most:,} that it knows"
    print(f"understudy: context {model.context:,} tokens, {limit} (--context)", file=sys.stderr)


def _say_address(models: Iterable[str], port: int, host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(
        f"understudy: {', '.join(models)} at http://{shown}:{port}/v1 (Ctrl+C stops)",
        file=sys.stderr,
    )


def check_packages() -> None:
    """Raises MissingError where the extra `serve` is not installed."""
    for package in ("starlette", "uvicorn", "pydantic"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(
                "the server's packages are not installed",
                where=package,
                do="pip install 'understudy[serve]'",
            )


def _settings(arguments: argparse.Namespace) -> Settings:
    from understudy.generation.call_switches import call_switches
    from understudy.serve.settings import Settings

    return Settings(
        host=arguments.host,
        port=arguments.port,
        key_file=arguments.keys,
        allowed_hosts=tuple(arguments.allow_host),
        allowed_origins=tuple(arguments.allow_origin),
        max_running=arguments.max_running,
        max_waiting=arguments.max_waiting,
        max_tokens=arguments.max_tokens,
        request_timeout_s=arguments.timeout,
        grace_s=arguments.grace,
        state_folder=arguments.state,
        max_loaded=arguments.max_loaded,
        check_results=arguments.check_results,
        calls=call_switches(arguments.calls),
        log=not arguments.no_log,
    )


def _named(word: str, arguments: argparse.Namespace) -> tuple[str, Callable[[], Model]]:
    """The name that requests use, and what loads it; a path that does not exist is said before the
    server starts.
    """
    from understudy.model import load

    name, mark, source = word.partition("=")
    source = source if mark else word
    path = resolve(source)
    name = name if mark else source if not Path(source).exists() else Path(source).stem
    options: dict[str, Any] = {
        "weights": arguments.weights,
        "kv": arguments.kv,
        "context": arguments.context,
        "num_threads": arguments.threads,
        "isa": arguments.isa,
        "speculate": arguments.speculate,
        **adapters_of(arguments, scale=0.0),
    }

    def load_it() -> Model:
        return load(path, cache_tokens=arguments.cache_tokens, cache_contexts=4, **options)

    return name, load_it
