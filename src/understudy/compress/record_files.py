"""Files of training data: what format they are of, and the JSON values of those that hold records.

A file of records is JSON Lines, one JSON array, or one JSON object that holds the array; it may be
`.gz` and begin with a byte order mark. Other formats are refused by name.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from understudy.errors import DocumentError

RECORDS = (".jsonl", ".ndjson", ".json")
HOLDERS = ("data", "train", "rows", "records", "examples", "instances")  # of an array of records
# What other formats are called, by ending and by their first bytes.
_ENDINGS = {
    ".parquet": "Parquet",
    ".arrow": "Arrow",
    ".feather": "Feather",
    ".orc": "ORC",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".xlsx": "an Excel workbook",
    ".pkl": "a pickle",
    ".npy": "a NumPy array",
    ".npz": "NumPy arrays",
    ".db": "a database",
    ".sqlite": "a database",
    ".zip": "a zip archive",
    ".tar": "a tar archive",
    ".tgz": "a tar archive",
    ".zst": "zstd",
    ".bz2": "bzip2",
    ".xz": "xz",
    ".7z": "a 7z archive",
}
_MAGIC = {
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"SQLite format 3": "a database",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_SEEN = 1024  # bytes that are looked at to know the format


@contextmanager
def opened_lines(path: Path) -> Iterator[IO[str]]:
    """The lines of a data file.

    Raises:
        DocumentError: it is not there, a folder, of another format, or not UTF-8.
    """
    if not path.is_file():
        if path.is_dir():
            raise DocumentError("a folder, not a data file", where=path)
        do = "name texts of your own: [data] train of the recipe, or --data"
        raise DocumentError("data file is not there", where=path, do=do)
    with path.open("rb") as file:
        start = file.read(_SEEN)
    is_packed = start.startswith(b"\x1f\x8b")
    if is_packed or path.suffix == ".gz":
        with _readable(path), gzip.open(path) as unpacked:
            start = unpacked.read(_SEEN)
    if format := _other_format(path, start):
        raise DocumentError(
            "data of another format",
            where=path,
            expected="text, or records in .jsonl or .json, also as .gz, in UTF-8",
            found=format,
            do='write it as JSON Lines: `datasets.load_dataset(…)["train"].to_json("x.jsonl")`',
        )
    with _readable(path), (gzip.open if is_packed else open)(path, "rt", encoding="utf-8-sig") as f:
        yield f


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DocumentError(
            "data file cannot be read", where=path, found=str(error), expected="UTF-8 text"
        ) from error


def _other_format(path: Path, start: bytes) -> str | None:
    for magic, format in _MAGIC.items():
        if start.startswith(magic):
            return format
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    return _ENDINGS.get(ending, "binary data" if b"\0" in start else None)


def is_records(path: Path) -> bool:
    """Whether a file's name says that it holds records."""
    return path.name.lower().removesuffix(".gz").endswith(RECORDS)


def read_values(lines: Iterable[str], name: str) -> Iterator[tuple[str, Any]]:
    """Every record of a file with its place: `name:LINE`, or `name[INDEX]` of an array.

    A list of messages, in a line or in the whole file, is one record.

    Raises:
        DocumentError: a line is not JSON; the place is named.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for count, (number, line) in enumerate(numbered):
        if count == 0 and _goes_on(line):
            whole = line + "".join(rest for _, rest in numbered)
            yield from _records(parse_json(whole, name), name)
            return
        value = parse_json(line, f"{name}:{number}")
        is_array = count == 0 and isinstance(value, list)
        yield from _records(value, name if is_array else f"{name}:{number}")


def _goes_on(line: str) -> bool:
    """Whether an array or object begins here and ends in a later line."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return line.lstrip().startswith(("[", "{")) and error.pos >= len(line.rstrip())
    except (ValueError, RecursionError):
        pass  # said by whoever parses it
    return False


def _records(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The records in one JSON value: itself, or those of an array that it is or holds."""
    if isinstance(value, dict):
        held = [value[name] for name in HOLDERS if is_messages(value.get(name), ())]
        value = held[0] if held else value
    if isinstance(value, list) and not is_messages(value):
        yield from ((f"{where}[{index}]", record) for index, record in enumerate(value))
    else:
        yield where, value


def is_messages(value: Any, keys: Iterable[str] = ("role", "from")) -> bool:
    """Whether this is a list of objects that have one of these keys, or of any objects."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, dict) for entry in value)
        and (not keys or all(any(key in entry for key in keys) for entry in value))
    )


def parse_json(text: str, where: str) -> Any:
    """Raises:
    DocumentError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        found = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise DocumentError("record is not JSON", where=where, found=found) from error
