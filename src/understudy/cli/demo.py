"""`understudy demo`: the three jobs on the embedded model, streamed, with figures against this
machine's limits.

A character speaks, a document answers with a quote that is checked against its file, a function is
called and its result used.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from understudy.cli.options import add_loading, add_model, load_model
from understudy.cli.terminal import write
from understudy.errors import UnderstudyError

if TYPE_CHECKING:
    from understudy.chat.session import Session
    from understudy.generation.reply import Reply
    from understudy.model import Model

KEEPER = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Ada Vane",
        "description": "{{char}} keeps the lighthouse on a small island. {{char}} is old and "
        "kind, and speaks of the sea.",
        "first_mes": "Come in out of the storm, {{user}}.",
    },
}
PAGE = (
    "# The lighthouse\n\nThe lighthouse on the island was built in 1812 from grey granite. Its "
    "lamp burns rape oil, and its light "
    "is seen for eleven miles.\n\n# The village\n\nHilde the miller grinds rye. The ferry to the "
    "mainland leaves from the pier.\n"
)


def price(item: Literal["apple", "bread", "rope"], count: int) -> str:
    """The price of an item in the village shop.

    Args:
        item: what to buy
        count: how many
    """
    return f"{count} {item} cost {count * {'apple': 2, 'bread': 3, 'rope': 7}[item]} silver coins."


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--max-tokens", type=int, default=96, help="most tokens of an answer (default 96)"
    )
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    model = load_model(arguments)
    loaded = time.perf_counter() - started
    replies = [
        _character(model, arguments.max_tokens),
        *_document(model, arguments.max_tokens),
        *_function(model, arguments.max_tokens),
    ]
    _figures(model, loaded, replies)
    return 0


def _character(model: Model, max_tokens: int) -> Reply:
    from understudy.chat.session import Session, SessionSettings
    from understudy.roleplay.card import Card

    keeper = Card(KEEPER)
    session = Session(
        model, character=keeper, settings=SessionSettings(user="traveller"), max_tokens=max_tokens
    )
    write(f"1  A character speaks\n\n{keeper.shown_name}: {session.turns[0].text}\n")
    reply = _say(session, "What is the light for?", keeper.shown_name)
    write(f"   {reply.ledger}\n")
    return reply


def _document(model: Model, max_tokens: int) -> list[Reply]:
    from understudy.chat.session import Session
    from understudy.rag.index import Index

    write("\n2  A document answers, with a quote\n\n")
    with tempfile.TemporaryDirectory() as folder, Index(Path(folder) / "demo.index") as index:
        page = Path(folder) / "island.md"
        page.write_text(PAGE, encoding="utf-8")
        index.add([page])
        session = Session(model, documents=index, max_tokens=max_tokens)
        reply = _say(session, "When was the lighthouse built?")
        for citation in reply.citations:
            if PAGE[citation.start : citation.end] != citation.quote:
                raise UnderstudyError(
                    "a quote does not stand in its document", where=page.name, found=citation.quote
                )
            write(
                f'   "{citation.quote}" stands in {page.name}, characters {citation.start} '
                f"to {citation.end}: checked\n"
            )
        return [reply, _say(session, "Who won the chess olympiad in Dresden?")]


def _function(model: Model, max_tokens: int) -> list[Reply]:
    from understudy.chat.session import Session

    write("\n3  A function is called where one is wanted, and its result used\n\n")
    session = Session(model, tools=[price], max_tokens=max_tokens)
    replies = []
    for question in (
        "What is the price of 4 apples?",
        "Get the price of 2 ropes, then get the price of 3 breads.",
        "Good night!",
    ):
        replies.append(_say(session, question))
        session.reset()
    return replies


def _say(session: Session, text: str, name: str = "model", **options: str) -> Reply:
    write(f"> {text}\n")
    reply = _shown(session, session.stream(text, **options), name)
    write("\n")
    for call, result in zip(reply.tool_calls, reply.results, strict=True):
        write(
            f"   called {call.name}({json.dumps(call.arguments)}), which said: {result.content}\n"
        )
    return reply


def _shown(session: Session, pieces: Iterable[str], name: str) -> Reply:
    write(f"{name}: ")
    for piece in pieces:
        write(piece)
    assert session.last is not None
    return session.last


def _figures(model: Model, loaded: float, replies: list[Reply]) -> None:
    from understudy import core
    from understudy.judge.benchmark.memory import peak_memory_bytes

    longest = max(
        (u for reply in replies for u in reply.usages),
        key=lambda usage: usage.prompt_tokens - usage.cached_tokens,
    )
    # The character spoke without a grammar, so every token was the model's. Words that were ended
    # early have no figures: then the longest answer has them.
    free = replies[0].usage
    if not free.completion_tokens:
        free = max((reply.usage for reply in replies), key=lambda usage: usage.completion_tokens)
    threads = model.core_model.num_threads
    memory = peak_memory_bytes()  # before the measurement below, which has buffers of its own
    bandwidth = core.measure_bandwidth(threads) / 1e9
    used = free.decode_rate * model.core_model.weight_bytes_per_token / 1e9
    write(
        f"\nmodel     {model.path.name}, loaded in {loaded:.2f} s; "
        f"kernels {model.core_model.isa}, {threads} threads\n"
    )
    write(
        f"prefill   {longest.prefill_rate:8.1f} tokens/s  ({longest.prompt_tokens} tokens, first "
        "token after "
        f"{longest.first_token_s * 1000:.0f} ms)\n"
    )
    write(f"decode    {free.decode_rate:8.1f} tokens/s  ({free.completion_tokens} tokens)\n")
    write(f"memory    {memory / 1e6:8.1f} MB at the peak\n")
    write(
        f"bandwidth {used:8.1f} GB/s of weights read, {100 * used / bandwidth:.0f} % of "
        f"the {bandwidth:.1f} GB/s "
        "that this machine reads now\n"
    )
