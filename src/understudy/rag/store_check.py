"""Whether an index file is whole, and what is in it whatever the order in which it came."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.schema import StoreError, words_fault
from understudy.rag.store import Store


def check_store(store: Store) -> None:
    """DocumentError if the file is damaged, its words are not those of its chunks, or a chunk
    does not stand in its document.
    """
    try:
        fault = words_fault(store.connection) or _span_fault(store)
    except (StoreError, zlib.error, UnicodeDecodeError) as error:
        fault = str(error.__cause__ or error)
    if fault:
        raise DocumentError(f"index is damaged ({fault})", where=store.path, do="make it anew")


def _span_fault(store: Store) -> str:
    for path in store.hashes():
        text = store.text_of(path)
        rows = store.connection.execute(
            'SELECT start, "end", c.text FROM chunks c JOIN documents d ON d.id = document '
            "WHERE path = ?",
            (path,),
        )
        if any(text[start:end] != span for start, end, span in rows):
            return f"a chunk does not stand in {path}"
    return ""


def store_digest(store: Store) -> str:
    """Hex digest of what is in the index, whatever the order in which it came."""
    whole = hashlib.sha256()
    for (path,) in store.connection.execute("SELECT path FROM documents ORDER BY path").fetchall():
        rows: list[Any] = store.connection.execute(
            'SELECT d.sha256, d.title, c.start, c."end", c.heading, c.parent_start, c.parent_end, '
            "c.num_tokens, c.page, c.text, "
            "hex(v.vector) FROM documents d LEFT JOIN chunks c ON c.document = d.id LEFT JOIN "
            "vectors v ON v.chunk = c.id "
            "WHERE d.path = ? ORDER BY c.start",
            (path,),
        ).fetchall()
        whole.update(json.dumps([path, rows]).encode())
    num_words = store.connection.execute("SELECT count(*) FROM words_docsize").fetchone()[0]
    whole.update(str(num_words).encode())
    return whole.hexdigest()
