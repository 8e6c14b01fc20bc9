"""Does training text hold evaluation text? Runs of 13 words in a row that both have.

    sets = EvaluationSets.read({"bfcl": [Path("data/")]})
    sets.overlap("…") -> "bfcl", or "" where there is none

Words are compared in lower case without punctuation, as in the reports of GPT-3 and Llama. Texts
shorter than the run are compared whole where they have at least `MIN_WORDS` words.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError

RUN = 13
MIN_WORDS = 6
_WORD = re.compile(r"\w+")
_SUFFIXES = (".json", ".jsonl", ".csv", ".txt", ".gz", ".tsv")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def runs(text: str, length: int = RUN) -> Iterator[int]:
    """Hashes of the runs of `length` words; of a shorter text the hash of the whole."""
    found = words(text)
    if len(found) < length:
        if len(found) >= MIN_WORDS:
            yield hash(("whole", *found))
        return
    for start in range(len(found) - length + 1):
        yield hash(tuple(found[start : start + length]))


@dataclass(frozen=True)
class EvaluationSets:
    """The runs of named sets."""

    runs: Mapping[str, frozenset[int]]
    length: int = RUN

    @classmethod
    def read(cls, paths: Mapping[str, Sequence[Path]], length: int = RUN) -> EvaluationSets:
        """The texts of files: lines of text, and every string in lines of JSON.

        Raises:
            DocumentError: a path is not there.
        """
        found = {
            name: frozenset(
                run
                for path in given
                for file in _files(path)
                for text in _texts(file)
                for run in runs(text, length)
            )
            for name, given in paths.items()
        }
        return cls(found, length)

    def overlap(self, text: str) -> str:
        """The first set with which a text shares a run; empty: none."""
        own = set(runs(text, self.length))
        return next((name for name, known in self.runs.items() if own & known), "")

    def overlaps(self, texts: Iterable[str]) -> str:
        return next((name for text in texts if (name := self.overlap(text))), "")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DocumentError("evaluation set is not there", where=path)
    return sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())


def _texts(file: Path) -> Iterator[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            stripped = line.strip()
            if stripped[:1] in ("{", "["):
                try:
                    yield from _strings(json.loads(stripped))
                    continue
                except ValueError:
                    pass
            if stripped:
                yield stripped


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
