"""The index: incremental, atomic, the same after any number of runs, and searches that find what is
there.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from understudy.errors import DocumentError, UsageError
from understudy.rag.index import Index, from_int8, to_int8
from understudy.rag.store_check import check_store, store_digest
from understudy.rag.words import query_words

TEXTS = {
    "light.md": "# The lighthouse\n\nAda Vane keeps the light. It was built in 1812 from grey granite.\n\n## The lamp\n\nThe lamp burns whale oil.",
    "mill.txt": "The mill stands by the river Ouse.\n\nHilde the miller grinds rye for the village.",
    "deep/tower.txt": "The tower is locked. Its key lies under the third stone of the bridge.",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXTS.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "docs"


def opened(tmp_path, **more):
    return Index(tmp_path / "x.index", embedder="hashing", **more)


def test_adds_skips_changes_and_removes(folder, tmp_path):
    with opened(tmp_path) as index:
        assert len(index.add([folder]).new) == 3
        before = store_digest(index.store)
        again = index.add([folder])
        assert (len(again.unchanged), again.new) == (3, [])
        (folder / "mill.txt").write_text("The mill burnt down.")
        (folder / "deep" / "tower.txt").unlink()
        third = index.add([folder])
        assert ([p.rsplit("/", 1)[1] for p in third.changed], len(third.removed)) == (
            ["mill.txt"],
            1,
        )
        assert index.search("miller rye") == [] or "rye" not in index.search("miller rye")[0].text
        (folder / "mill.txt").write_text(TEXTS["mill.txt"])
        (folder / "deep" / "tower.txt").write_text(TEXTS["deep/tower.txt"])
        index.add([folder])
        assert store_digest(index.store) == before
        check_store(index.store)


def test_order_of_adding_does_not_matter(folder, tmp_path):
    with opened(tmp_path) as index, Index(tmp_path / "y.index", embedder="hashing") as other:
        index.add([folder])
        for name in reversed(list(TEXTS)):
            other.add([folder / name])
        assert store_digest(index.store) == store_digest(other.store)


def test_search_finds_and_says_where(folder, tmp_path):
    with opened(tmp_path) as index:
        index.add([folder])
        best = index.search("Where is the key of the tower?")[0]
        assert best.text == TEXTS["deep/tower.txt"]
        assert best.chunk.path.endswith("tower.txt")
        lamp = index.search("what does the lamp burn")[0]
        assert lamp.chunk.heading == "The lighthouse > The lamp"
        text = index.store.text_of(lamp.chunk.path)
        assert text[lamp.chunk.start : lamp.chunk.end] == lamp.text == "The lamp burns whale oil."
        assert index.search("???") == []
        for mode in ("words", "vectors", "fused"):
            assert index.search("miller grinds rye", 1, mode=mode)[0].chunk.path.endswith(
                "mill.txt"
            )
        with pytest.raises(UsageError):
            index.search("x", 0)


@pytest.mark.parametrize(
    "question",
    ['"', "a OR b", "NEAR(x y)", "col:x", "*", "x\0y", "'; DROP TABLE chunks; --", "-", "\ud800"],
)
def test_no_question_breaks_the_word_search(folder, tmp_path, question):
    with opened(tmp_path) as index:
        index.add([folder])
        index.search(question)


def test_a_changed_index_is_seen_by_another_reader(folder, tmp_path):
    with opened(tmp_path) as index, opened(tmp_path) as reader:
        index.add([folder])
        assert len(reader.search("lamp", 9, mode="vectors")) == 4
        (folder / "new.txt").write_text("A new lamp.")
        index.add([folder])
        assert len(reader.search("lamp", 9, mode="vectors")) == 5


def test_bad_files_are_reported_and_the_rest_goes_in(folder, tmp_path):
    (folder / "binary.txt").write_bytes(b"\0\1\2")
    (folder / "empty.md").write_text("")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nonsense")
    with opened(tmp_path) as index:
        added = index.add([folder])
        assert len(added.new) == 3
        assert {p.rsplit("/", 1)[1] for p in added.failed} == {
            "binary.txt",
            "empty.md",
            "broken.pdf",
        }
        (folder / "mill.txt").write_bytes(b"\0")
        assert len(index.add([folder]).failed) == 4
        assert index.store.counts()[0] == 2


def test_errors_of_the_file_itself(tmp_path, folder):
    with pytest.raises(DocumentError, match="there is no index"):
        opened(tmp_path).search("x")
    (tmp_path / "x.index").write_bytes(b"not a database at all, but long enough to be one" * 50)
    with pytest.raises(DocumentError, match="cannot be opened"):
        opened(tmp_path).search("x")
    (tmp_path / "x.index").unlink()
    sqlite3.connect(tmp_path / "x.index").execute("CREATE TABLE other (a)").connection.close()
    with pytest.raises(DocumentError, match="not an index of this program"):
        opened(tmp_path).add([folder])
    with pytest.raises(DocumentError, match="no such file"):
        Index(tmp_path / "y.index").add([tmp_path / "nowhere"])


def test_other_settings_are_refused(tmp_path, folder):
    with opened(tmp_path) as index:
        index.add([folder])
    for more, word in (({"size": 100}, "size"), ({"counter": "other"}, "counter")):
        with opened(tmp_path, **more) as index, pytest.raises(DocumentError, match=word):
            index.add([folder])


def test_empty_index_searches(tmp_path):
    (tmp_path / "none").mkdir()
    with opened(tmp_path) as index:
        index.add([tmp_path / "none"])
        assert index.search("anything") == []


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3])
def test_killed_while_adding_then_run_again_gives_the_same_index(tmp_path, delay):
    docs = tmp_path / "docs"
    docs.mkdir()
    for i in range(40):
        (docs / f"{i:02}.txt").write_text(
            f"Paper {i}. " + f"The keeper of tower {i} owns {i * 7} sheep. " * 20
        )
    program = textwrap.dedent("""
        import sys, time
        from understudy.rag.index import Index
        index = Index(sys.argv[2], embedder="hashing")
        print("ready", flush=True)
        index.add([sys.argv[1]], progress=lambda done, total, name: time.sleep(0.01))
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program, docs, tmp_path / "x.index"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with opened(tmp_path) as index, Index(tmp_path / "y.index", embedder="hashing") as whole:
        added = index.add([docs])
        assert len(added.new) + len(added.unchanged) == 40
        whole.add([docs])
        assert store_digest(index.store) == store_digest(whole.store)
        check_store(index.store)
        question = "keeper of tower 17"
        assert [p.text for p in index.search(question)] == [p.text for p in whole.search(question)]


def test_int8_loses_little():
    vectors = np.random.default_rng(0).normal(size=(200, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    again = from_int8(to_int8(vectors))
    assert np.abs((vectors * again).sum(1) - 1).max() < 1e-3
    assert not from_int8(to_int8(np.zeros((1, 8), np.float32))).any()


def test_words_of_a_question():
    assert query_words("What does the Lamp burn, the lamp?") == ["lamp", "burn"]
    assert query_words("Who was he?") == ["who", "was", "he"]
    assert query_words("?!") == []


def test_wordllama_equals_its_own_package():
    inference = pytest.importorskip("wordllama.inference")
    from understudy.text.embed import open_embedder
    from understudy.text.embed.wordllama import TOKENIZER, _package_folder

    ours = open_embedder("wordllama")
    tokenizer = inference.Tokenizer.from_file(str(_package_folder() / TOKENIZER))
    theirs = inference.WordLlamaInference(ours.vectors, tokenizer)
    texts = [
        "The castle stands on the hill, far from the mill.",
        "Ada",
        "¿Dónde está la llave? 鍵",
        "a" * 3000,
    ]
    expected = np.stack([theirs.embed([text], norm=True)[0] for text in texts])
    assert np.abs((expected * ours.embed(texts)).sum(1) - 1).max() < 1e-5
    assert not ours.embed([""]).any() or np.isfinite(ours.embed([""])).all()
