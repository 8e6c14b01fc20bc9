"""Documents of strangers, read in a process of their own: bounded in memory and time.

read_apart(path, 20.0)        # for servers; whoever reads their own files calls `read_document`

Readers rest on parsers that take time or memory out of proportion for some files, and a thread
cannot be ended. One process serves all calls, one after the other; where it runs out of time or
memory it is ended, and the next call begins another. What it sends back is JSON.

    python -m understudy.rag.readers.apart     # the process: paths in, documents out, line by line
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError, MissingError
from understudy.rag.document import Document, DocumentBlock
from understudy.rag.readers import read_document, reader_of

__all__ = ["read_apart", "reader_of"]
SECONDS = 30.0
MEMORY = 1 << 30  # bytes beyond what the process has when it begins


class _Process:
    """The reading process, begun when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def read(self, path: Path, seconds: float) -> dict[str, Any]:
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(os.fspath(path)) + "\n")
                process.stdin.flush()
                line = self._lines.get(timeout=seconds)
            except queue.Empty:
                self._end()
                raise DocumentError(
                    "reading the document takes too long",
                    where=path,
                    expected=f"at most {seconds:g} s",
                ) from None
            except OSError:
                line = ""
            if not line:
                self._end()
                raise DocumentError("the document takes too much memory to read", where=path)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
            self._lines = queue.Queue()
            threading.Thread(
                target=_pass_on, args=(self._process, self._lines), daemon=True
            ).start()
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _pass_on(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """The lines of a process; an empty one when it has ended."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


_PROCESS = _Process()


def read_apart(path: Path, seconds: float = SECONDS) -> Document:
    """`read_document` in another process.

    Raises:
        DocumentError: as there; or it takes too long, or too much memory.
        MissingError: as there.
    """
    answer = _PROCESS.read(path, seconds)
    if "error" in answer:
        kind = MissingError if answer["kind"] == "MissingError" else DocumentError
        raise kind(**answer["error"])
    blocks = tuple(DocumentBlock(*block) for block in answer["blocks"])
    pages, warnings = tuple(answer["page_starts"]), tuple(answer["warnings"])
    return Document(answer["text"], blocks, answer["title"], pages, warnings)


def _answer(path: Path) -> dict[str, Any]:
    try:
        document = read_document(path)
    except (DocumentError, MissingError) as error:
        parts = ("what", "where", "expected", "found", "do")
        given = {name: getattr(error, name) for name in parts}
        said = {name: str(value) for name, value in given.items() if value is not None}
        return {"kind": type(error).__name__, "error": said}
    blocks = [dataclasses.astuple(block) for block in document.blocks]
    return {
        "text": document.text,
        "blocks": blocks,
        "title": document.title,
        "page_starts": list(document.page_starts),
        "warnings": list(document.warnings),
    }


def _bound() -> None:
    """Memory beyond today's becomes a MemoryError, where the system can do that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))


def main() -> None:
    if sys.platform.startswith("linux"):
        _bound()
    for line in sys.stdin:
        print(json.dumps(_answer(Path(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
