"""Mutated documents, cards and saved states: each ends in an `UnderstudyError` or a result, within
bounds of memory and time, in a process that may be lost.

UNDERSTUDY_FIRE_FILES says how many in all (default 600; `make test-fire` takes 100,000).
"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.test_files import mutate
from understudy.errors import UnderstudyError
from understudy.rag.readers import read_document
from understudy.roleplay.card_files import read_card

FILES = int(os.environ.get("UNDERSTUDY_FIRE_FILES", "600"))
SECONDS = 20  # for one file, of processor and of wall
MEMORY = 1 << 30

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of a process")


def _zip(**members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return out.getvalue()


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DOCX = _zip(
    word__document_dot_xml=f'<w:document xmlns:w="{WORD}"><w:body>'
    "<w:p><w:r><w:t>The lighthouse of Varn.</w:t></w:r></w:p>"
    "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    "</w:body></w:document>",
)
CARD = (
    '{"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Ada", "description": "x",'
    ' "first_mes": "{{char}} waves. {{random::a::b}}", "character_book": {"entries": [{"keys":'
    ' ["/fog/i"], "content": "Fog.", "extensions": {}, "enabled": true, "insertion_order": 1}]}}}'
)
HTML = (
    "<html><head><title>T</title><meta charset=utf-8></head><body><h1>Light</h1><p>one <b>two</b>"
    "<table><tr><th>a<td colspan=2>b</table><ul><li>x<li>y</ul><pre>\n z</pre></body></html>"
)
SAMPLES: dict[str, bytes] = {
    "a.html": HTML.encode(),
    "a.md": b"# Light\n\n* one\n  * two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n",
    "a.csv": b'name,age\n"Ada ""A"" Vane",36\n',
    "a.json": b'{"a": [1, {"b": "text of a light"}], "c": null}',
    "a.jsonl": b'{"text": "one"}\n{"text": "two"}\n',
    "a.txt": "Länge läuft.\n\nzwei\n".encode(),
    "a.docx": DOCX,
    "card.json": CARD.encode(),
    "card.charx": _zip(card_dot_json=CARD),
}


def _read(path: Path) -> None:
    read_card(path) if path.name.startswith("card") else read_document(path)


def _volley(
    name: str, first: int, number: int, folder: str, results: Callable[[str], None]
) -> None:
    """So many mutations in this process; the seed of the one under way is in the file `seed`."""
    import resource

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    path = Path(folder) / name
    for seed in range(first, first + number):
        (Path(folder) / "seed").write_text(str(seed))
        data = SAMPLES[name]
        path.write_bytes(mutate(data, random.Random(f"{name} {seed}"), head=min(len(data), 4096)))
        signal.alarm(SECONDS)  # what hangs is ended by the signal
        try:
            _read(path)
            results("read")
        except UnderstudyError as error:
            line = str(error)
            results("refused" if "\n" not in line and len(line) < 1500 else f"badly: {line!r:.200}")
        except BaseException as error:
            results(f"seed {seed}: {type(error).__name__}: {error}"[:300])
        signal.alarm(0)


@pytest.mark.parametrize("name", SAMPLES)
def test_mutated_files_end_in_an_error_or_a_result(name, tmp_path):
    (tmp_path / name).write_bytes(SAMPLES[name])
    _read(tmp_path / name)  # unmutated, it is read
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    number = max(1, FILES // len(SAMPLES))
    process = context.Process(target=_volley, args=(name, 0, number, str(tmp_path), queue.put))
    process.start()
    counts: dict[str, int] = {}
    for _ in range(number):
        while queue.empty() and process.is_alive():
            process.join(0.002)
        if queue.empty():
            break
        result = queue.get()
        counts[result] = counts.get(result, 0) + 1
    process.join(SECONDS)
    seed = (tmp_path / "seed").read_text()
    assert process.exitcode == 0, f"{name}, seed {seed}: ended with {process.exitcode}"
    assert set(counts) <= {"read", "refused"}, counts
    assert sum(counts.values()) == number
