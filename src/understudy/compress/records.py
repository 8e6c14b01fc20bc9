"""Records of training data, whoever wrote them: text, or chats in the forms that data sets have.

    {"text": …}                                                   text, all of it learnt
    {"messages": [{"role", "content", "tool_calls"}], "tools": …} OpenAI; a list of messages alone
    {"conversations": [{"from": "human", "value": …}], "system"}  ShareGPT
    {"instruction": …, "input": …, "output": …, "history": …}     Alpaca
    {"prompt": …, "completion": …}                                texts or lists of messages
    {"question": …, "answer": …}                                  and other names of such a pair

Messages are read by `compress.messages`, files by `compress.record_files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.compress.messages import Message, read_message, read_tools, text_of
from understudy.compress.record_files import is_messages, parse_json, read_values
from understudy.errors import DocumentError

FORMS = "text, messages, conversations, instruction and output, or prompt and completion"
_LISTS = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
_SYSTEMS = ("system", "system_prompt", "system_message")
# What data sets call the two sides of one exchange, and what stands beside the question.
_QUESTIONS = ("instruction", "prompt", "question", "query", "input", "inputs")
_CONTEXTS = ("input", "context")
_ANSWERS = ("output", "completion", "response", "answer", "target", "targets")


@dataclass(frozen=True)
class Chat:
    """Messages as a chat template takes them, and the tools that they were written with."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None


def read_records(lines: Iterable[str], name: str) -> Iterator[tuple[str, str | Chat]]:
    """Every record with its place.

    Raises:
        DocumentError: a line is not JSON, or a record is of no known form; the place is named.
    """
    for where, record in read_values(lines, name):
        yield where, to_record(record, where)


def to_record(record: Any, where: str) -> str | Chat:
    """One record as text or chat. Raises DocumentError with `where` if it is neither."""
    if isinstance(record, str) and record:
        return record
    if is_messages(record):
        return _chat(record, {}, where)
    if isinstance(record, dict):
        _refuse_preference(record, where)
        for name in _LISTS:
            if messages := _messages(record.get(name), where):
                return _chat(messages, record, where)
        if (found := _exchange(record, where)) is not None:
            return found
    keys = sorted(map(str, record)) if isinstance(record, dict) else type(record).__name__
    raise DocumentError(
        "record has neither text nor messages", where=where, expected=FORMS, found=keys
    )


def _refuse_preference(record: Mapping[str, Any], where: str) -> None:
    if record.get("chosen") is not None and record.get("rejected") is not None:
        raise DocumentError(
            "a record of preferences has two answers",
            where=where,
            expected=FORMS,
            found="chosen, rejected",
            do="make messages of the prompt and what was chosen",
        )


def _messages(given: Any, where: str) -> list[Any]:
    """A list of messages, which may be JSON text; of pairs {"input", "output"} their messages."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = parse_json(given, where)
    if not isinstance(given, list):
        return []
    if is_messages(given, ("input",)) and is_messages(given, ("output",)):
        return [message for pair in given for message in _pair(pair["input"], pair["output"])]
    return given


def _exchange(record: Mapping[str, Any], where: str) -> str | Chat | None:
    """One question and its answer, or a text; of several the form that says more."""
    question = next((name for name in _QUESTIONS if name in record), None)
    answer = next((name for name in _ANSWERS if name in record), None)
    is_known = (question, answer) in (("instruction", "output"), ("prompt", "completion"))
    text = record.get("text")
    if isinstance(text, str) and text and not is_known:
        return text
    if question is not None and answer is not None:
        return _asked_and_answered(record, question, answer, where)
    content = record.get("content")
    return content if isinstance(content, str) and content and "role" not in record else None


def _asked_and_answered(record: Mapping[str, Any], question: str, answer: str, where: str) -> Chat:
    asked, answered = record[question], record[answer]
    for name, value in ((question, asked), (answer, answered)):
        if not isinstance(value, str) and not is_messages(value):
            kind = type(value).__name__
            raise DocumentError(
                "a question or answer is no text", where=f"{where}: {name}", found=kind
            )
    context = next((record[name] for name in _CONTEXTS if name != question and name in record), "")
    if isinstance(asked, str) and isinstance(context, str) and context:
        asked = f"{asked}\n{context}"
    before = [message for turn in record.get("history") or () for message in _turn(turn, where)]
    first = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    last = answered if isinstance(answered, list) else [{"role": "assistant", "content": answered}]
    return _chat([*before, *first, *last], record, where)


def _turn(turn: Any, where: str) -> list[Message]:
    """A turn of a history: a question and its answer, or one message."""
    if isinstance(turn, dict):
        return [turn]
    if isinstance(turn, list) and len(turn) == 2:
        return _pair(text_of(turn[0], where), text_of(turn[1], where))
    raise DocumentError(
        "a turn of a history is a question and an answer", where=where, found=str(turn)[:80]
    )


def _pair(asked: Any, answered: Any) -> list[Message]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def _chat(messages: Sequence[Any], record: Mapping[str, Any], where: str) -> Chat:
    found = [read_message(message, where) for message in messages]
    systems = [record[name] for name in _SYSTEMS if isinstance(record.get(name), str)]
    system = next(filter(None, systems), None)
    if system is not None and found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": system})
    elif system is not None and found[0]["content"] != system:
        raise DocumentError("a record with two system messages", where=where, found=system[:80])
    return Chat(found, read_tools(record.get("tools"), where))
