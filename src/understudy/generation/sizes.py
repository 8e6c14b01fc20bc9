"""Prompts that cannot fit, and schemas beyond all measure, refused before any work.

No token is longer than the vocabulary's longest, and a message takes a token at least: so a text of
more than `context` times so many bytes is too long, whatever stands in it, and so are more messages
than the context has tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import ContextError, SchemaError
from understudy.text import Tokenizer

MAX_SUBSCHEMAS = 5_000  # in a schema; OpenAI takes as many properties
MAX_TOOLS = 128  # of a request; OpenAI's limit
MAX_TOOL_SCHEMAS = 10_000  # in the schemas of all tools of a request
SHORT = 16  # characters a token below which nobody need ask for the longest token


def check_size(given: Any, tokenizer: Tokenizer, context: int) -> None:
    """Refuses what cannot fit the context under any policy of overflow.

    Args:
        given: texts, messages, tools, in any nesting of lists and mappings.

    Raises:
        ContextError: there is more text than any `context` tokens stand for.
    """
    length = num_characters(given)
    if length <= context * SHORT or length <= context * tokenizer.longest_token:
        return
    raise ContextError(
        f"prompt is too long: at least {length // tokenizer.longest_token} tokens > {context} "
        f"maximum ({length} characters)",
        do="shorten the prompt, or start the server with a larger --context",
    )


def check_num_messages(num_messages: int, context: int) -> None:
    """Raises ContextError where there are more messages than the context has tokens."""
    if num_messages > context:
        raise ContextError(
            f"prompt is too long: at least {num_messages} tokens > {context} maximum "
            f"({num_messages} messages)",
            do="send the newest messages alone",
        )


def num_characters(given: Any) -> int:
    """The characters of all texts in lists and mappings, keys included."""
    if isinstance(given, str):
        return len(given)
    if isinstance(given, Mapping):
        return sum(num_characters(key) + num_characters(value) for key, value in given.items())
    if isinstance(given, (list, tuple)):
        return sum(map(num_characters, given))
    return 0


def check_schema(schema: Any) -> None:
    """Raises SchemaError where a schema has more parts than are read in a bearable time."""
    if (found := num_subschemas(schema)) > MAX_SUBSCHEMAS:
        expected = f"at most {MAX_SUBSCHEMAS:,} objects in it"
        raise SchemaError("the schema is too large", expected=expected, found=f"{found:,}")


def num_subschemas(given: Any) -> int:
    """The mappings in a schema, at any depth: schemas, and lists of them by name."""
    number, waiting = 0, [given]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            number += 1
            waiting += value.values()
        elif isinstance(value, (list, tuple)):
            waiting += [one for one in value if isinstance(one, (Mapping, list, tuple))]
    return number
