"""`understudy generate`: one prompt, one answer (or several)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.cli.options import add_loading, add_model, add_sampling, load_model, sampling_of
from understudy.cli.terminal import note_if_cut, write
from understudy.errors import MissingError, UsageError

if TYPE_CHECKING:
    from understudy.generation.reply import Reply
    from understudy.generation.text_interface import PromptLike
    from understudy.model import Model


def configure(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("-p", "--prompt", help="the prompt; - or nothing reads standard input")
    parser.add_argument("-f", "--file", type=Path, help="read the prompt from a file")
    parser.add_argument("--system", help="system message (chat only)")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="continue the text as it is instead of answering it as a chat message",
    )
    parser.add_argument("-n", type=int, default=1, help="number of answers")
    parser.add_argument(
        "--logprobs",
        type=int,
        metavar="K",
        help="with --json: the K likeliest tokens at each place",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_sampling(parser, max_tokens=256)
    add_loading(parser)


def run(arguments: argparse.Namespace) -> int:
    text = _prompt(arguments)
    prompt: PromptLike = text
    if not arguments.raw:
        system = [{"role": "system", "content": arguments.system}] if arguments.system else []
        prompt = [*system, {"role": "user", "content": text}]
    elif arguments.system:
        raise UsageError("--system needs a chat prompt", do="leave out --raw")
    model = load_model(arguments)
    options = sampling_of(arguments) | {"n": arguments.n, "logprobs": arguments.logprobs}
    if arguments.json:
        print(
            json.dumps(
                [_as_json(reply, model) for reply in model.generate_all(prompt, **options)],
                ensure_ascii=False,
                indent=1,
            )
        )
    elif arguments.n > 1:
        for i, reply in enumerate(model.generate_all(prompt, **options)):
            write(f"--- {i + 1} ---\n{reply.text}\n")
    else:
        finish_reason = ""
        for output in model.stream_outputs(prompt, **options):
            write(output.text)
            finish_reason = output.finish_reason or finish_reason
        write("\n")
        note_if_cut(finish_reason, arguments.max_tokens)
    return 0


def _prompt(arguments: argparse.Namespace) -> str:
    if arguments.file is not None and arguments.prompt is not None:
        raise UsageError("give either --prompt or --file")
    try:
        if arguments.file is not None:
            return str(arguments.file.read_text(encoding="utf-8"))
        text = sys.stdin.read() if arguments.prompt in (None, "-") else str(arguments.prompt)
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror}", where=arguments.file) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "the prompt is not UTF-8 text", where=arguments.file or "standard input"
        ) from error
    if not text:
        raise UsageError(
            "the prompt is empty", do="give one with --prompt, --file or standard input"
        )
    return text


def _as_json(reply: Reply, model: Model) -> dict[str, object]:
    usage = reply.usage
    return {
        "text": reply.text,
        "tokens": list(reply.tokens),
        "finish_reason": reply.finish_reason,
        "tool_calls": [
            {"name": call.name, "arguments": call.arguments} for call in reply.tool_calls
        ],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            "first_token_s": round(usage.first_token_s, 6),
            "decode_tokens_per_s": round(usage.decode_rate, 2),
        },
        "logprobs": [
            {
                "token": model.tokenizer.id_to_piece(entry.token),
                "id": entry.token,
                "logprob": entry.logprob,
                "top": [{"id": token, "logprob": logprob} for token, logprob in entry.top],
            }
            for entry in reply.logprobs
        ],
    }
