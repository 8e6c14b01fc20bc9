"""Tokens and their log-probabilities as the OpenAI protocol writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.engine import Output, TokenLogprob
from understudy.text import Tokenizer

LOWEST = -9999.0  # of a token that a mask or bias excluded: JSON has no infinity


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """The text of one token; a part of a character is written as `bytes:\\xe2`, so that tokens stay
    apart.
    """
    data = bytes_of(tokenizer, token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def bytes_of(tokenizer: Tokenizer, token: int) -> bytes:
    return (
        tokenizer.token_bytes(token) if token < tokenizer.vocab_size else b""
    )  # else a row that pads the matrix


def finite(logprob: float) -> float:
    return max(LOWEST, float(logprob)) if logprob == logprob else LOWEST


def shown_logprobs(output: Output) -> tuple[TokenLogprob, ...]:
    """Of the tokens that are part of the answer: the one that ended it is not."""
    return output.logprobs[:-1] if isinstance(output.stop, int) else output.logprobs


def chat_logprobs(
    tokenizer: Tokenizer, entries: Sequence[TokenLogprob], num_top: int
) -> list[dict[str, Any]]:
    """As `choices[].logprobs.content` of a chat completion."""

    def one(token: int, logprob: float) -> dict[str, Any]:
        return {
            "token": token_text(tokenizer, token),
            "logprob": finite(logprob),
            "bytes": list(bytes_of(tokenizer, token)),
        }

    return [
        {**one(e.token, e.logprob), "top_logprobs": [one(*top) for top in e.top[:num_top]]}
        for e in entries
    ]


class CompletionLogprobs:
    """As `choices[].logprobs` of a completion, in which offsets go on from piece to piece."""

    def __init__(self, tokenizer: Tokenizer, num_top: int) -> None:
        self._tokenizer, self._num_top, self._offset = tokenizer, num_top, 0

    def write(
        self, entries: Sequence[TokenLogprob | None], tokens: Sequence[int]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {
            "tokens": [],
            "token_logprobs": [],
            "top_logprobs": [],
            "text_offset": [],
        }
        for token, entry in zip(tokens, entries, strict=True):
            text = token_text(self._tokenizer, token)
            result["tokens"].append(text)
            result["text_offset"].append(self._offset)
            self._offset += len(text)
            result["token_logprobs"].append(None if entry is None else finite(entry.logprob))
            result["top_logprobs"].append(None if entry is None else self._top(entry))
        return result

    def _top(self, entry: TokenLogprob) -> dict[str, float]:
        top = {
            token_text(self._tokenizer, token): finite(logprob)
            for token, logprob in reversed(entry.top[: self._num_top])
        }
        return top or {token_text(self._tokenizer, entry.token): finite(entry.logprob)}
