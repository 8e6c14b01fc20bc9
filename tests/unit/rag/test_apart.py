"""Documents read in a process of their own: the same, and bounded."""

from __future__ import annotations

import time

import pytest

from understudy.errors import DocumentError
from understudy.rag.readers import apart, read_document
from understudy.rag.readers.apart import read_apart


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "# Light\n\nThe lighthouse of Vårn.\n\n- one\n- two\n"),
        ("a.html", "<h1>Light</h1><table><tr><td>1</td><td>2</td></tr></table>"),
        ("a.csv", "name,age\nAda,36\n"),
    ],
)
def test_a_document_is_the_same(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_apart(path) == read_document(path)


def test_a_refusal_is_the_same(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\0b")
    with pytest.raises(DocumentError) as here:
        read_document(path)
    with pytest.raises(DocumentError) as there:
        read_apart(path)
    assert str(there.value) == str(here.value)


def test_one_that_takes_too_long_is_left_and_the_next_is_read(tmp_path):
    slow, quick = tmp_path / "slow.txt", tmp_path / "quick.txt"
    slow.write_text("word " * 4_000_000)
    quick.write_text("quick")
    started = time.monotonic()
    with pytest.raises(DocumentError, match="takes too long"):
        read_apart(slow, seconds=0.0001)
    assert time.monotonic() - started < 20
    assert read_apart(quick).text == "quick"


def test_one_whose_reader_dies_is_refused_and_the_next_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    read_apart(path)
    process = apart._PROCESS._process
    assert process is not None
    process.kill()
    process.wait()
    assert read_apart(path).text == "text"
