"""Word search: each word finds itself in every script, as people type it, and questions of
languages without blanks are answered.
"""

from __future__ import annotations

import sqlite3
import sys
import unicodedata

import pytest

from tests.support.random_model import babbler
from understudy.errors import DocumentError
from understudy.rag.answering import ask
from understudy.rag.chunk import chunk_document
from understudy.rag.document import Builder
from understudy.rag.index import Index
from understudy.rag.store_check import check_store
from understudy.rag.words import query_words, search_words


def finds(question: str, text: str) -> bool:
    return set(query_words(question)) <= set(search_words(text).split())


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Straße", "Die STRASSE ist lang."),
        ("strasse", "Die Straße ist lang."),
        ("efficient", "An efﬁcient way"),
        ("offline", "works oﬄine"),
        ("international", "inter\u00adnational zero\u200bwidth"),
        ("zerowidth", "inter\u00adnational zero\u200bwidth"),
        ("2026", "im Jahr ２０２６"),
        ("H2O x2", "H₂O and x²"),
        ("pence", "four pence¹."),
        ("naive Ωmega ΩΜΈΓΑ", "naïve ωmega ωμέγα"),
        ("мой", "Мой дом"),
        ("שלום", "שָׁלוֹם"),
        ("مدرسة", "مَدْرَسَة"),
        ("مدرسة", "مـــدرسة"),
        ("ISPARTA", "ısparta"),
        ("lodz smorrebrod", "Łódź, smørrebrød"),
        ("oeuvre", "l’œuvre"),
        ("हिन्दी भाषा", "यह हिन्दी भाषा है"),
        ("search_path", "set search_path = x"),
        ("データベース", "このデータベースは"),
        ("建", "灯塔建于1811年"),
        ("등대", "등대는 1811년에"),
        ("ประภาคาร", "สร้างประภาคารใหม่"),
    ],
)
def test_words_are_found_as_people_type_them(question, text):
    assert finds(question, text)


def test_different_words_stay_different():
    assert not finds("мой", "мои")
    assert not finds("灯台", "灯火と台風")
    assert not finds("が", "か")
    assert not finds("آية", "اية")


def test_every_letter_number_and_mark_finds_itself():
    """Every seventh of Unicode's, alone and inside a word, through SQLite's tokenizer."""
    characters = [chr(i) for i in range(0, sys.maxunicode, 7)]
    characters = [c for c in characters if unicodedata.category(c)[0] in "LNM"]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE w USING fts5 (t, tokenize='porter ascii')")
    texts = ((i, search_words(f"ab{c}cd {c}.")) for i, c in enumerate(characters))
    database.executemany("INSERT INTO w (rowid, t) VALUES (?, ?)", texts)
    for i, character in enumerate(characters):
        for question in (character, f"ab{character}cd"):
            words = " OR ".join(f'"{word}"' for word in query_words(question))
            row = database.execute(
                "SELECT 1 FROM w WHERE rowid = ? AND w MATCH ?", (i, words)
            ).fetchone()
            assert row, hex(ord(character))


QUESTIONS = [
    (
        "灯台はいつ建てられましたか",
        "灯台は1811年に建てられた。港は北にある。",
        "水車小屋はライ麦を挽く。",
    ),
    ("灯塔是什么时候建的？", "灯塔建于1811年。港口在北边。", "磨坊磨黑麦。"),
    (
        "등대는 언제 지어졌습니까?",
        "등대는 1811년에 지어졌다. 항구는 북쪽에 있다.",
        "방앗간은 호밀을 빻는다.",
    ),
    ("ประภาคารสร้างเมื่อไหร่", "ประภาคารสร้างในปี 1811", "โรงสีบดข้าวไรย์"),
]


@pytest.mark.parametrize(("question", "text", "other"), QUESTIONS)
def test_questions_in_scripts_without_blanks(tmp_path, question, text, other):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.txt").write_text(other, encoding="utf-8")
    with Index(tmp_path / "x.index") as index:
        index.add([tmp_path / "a.txt", tmp_path / "b.txt"])
        words = index.search(question, mode="words")
        assert [p.chunk.path[-5:] for p in words] == ["a.txt"]
        assert index.ground(question).is_enough
        check_store(index.store)


def test_a_question_in_japanese_is_answered_with_its_sentence(tmp_path):
    (tmp_path / "a.txt").write_text(QUESTIONS[0][1], encoding="utf-8")
    with babbler(tmp_path / "model") as model, Index(tmp_path / "x.index") as index:
        index.add([tmp_path / "a.txt"])
        answer = ask(model, index, QUESTIONS[0][0], seed=1, max_tokens=700)
    assert answer.why == "" or answer.citations
    assert {c.quote for c in answer.citations} <= {"灯台は1811年に建てられた。", "港は北にある。"}


def test_long_texts_without_blanks_are_cut_between_sentences():
    builder = Builder()
    builder.add("灯台は港の北にある。" * 40)
    chunks = chunk_document(builder.build(), len, size=64, overlap=0)
    assert all((chunk.end - chunk.start) % 10 == 0 for chunk in chunks)


def test_check_holds_words_and_spans_against_the_chunks(tmp_path):
    for change in ("UPDATE chunks SET text = 'other'", "UPDATE chunks SET start = start + 1"):
        path = tmp_path / f"{len(change)}.index"
        (tmp_path / "a.txt").write_text("The mill grinds rye for the village.")
        with Index(path, embedder="hashing") as index:
            index.add([tmp_path / "a.txt"])
            check_store(index.store)
            index.store.connection.execute(change)
            with pytest.raises(DocumentError, match="index is damaged"):
                check_store(index.store)


def test_a_full_disk_is_one_line_and_the_index_stays_whole(tmp_path):
    with Index(tmp_path / "x.index", embedder="hashing") as index:
        (tmp_path / "a.txt").write_text("The mill grinds rye.")
        index.add([tmp_path / "a.txt"])
        pages = index.store.connection.execute("PRAGMA page_count").fetchone()[0]
        index.store.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        (tmp_path / "b.txt").write_text(" ".join(f"word{i}" for i in range(20_000)))
        with pytest.raises(
            DocumentError, match=r"x\.index: index cannot be used \(database or disk is full\)"
        ):
            index.add([tmp_path / "b.txt"])
        check_store(index.store)
        assert index.store.counts() == (1, 1)
        assert index.search("mill")


def test_an_index_of_an_earlier_layout_is_refused(tmp_path):
    with Index(tmp_path / "x.index", embedder="hashing") as index:
        index.add([])
        index.store.connection.execute("PRAGMA user_version = 1")
    with (
        Index(tmp_path / "x.index") as index,
        pytest.raises(DocumentError, match="by an earlier version"),
    ):
        index.search("mill")


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="names of any bytes, as Linux has them"
)
def test_names_and_questions_of_any_bytes(tmp_path):
    import os

    docs = tmp_path / "docs"
    docs.mkdir()
    for name in (b"a\xff.txt", b"b.txt", b"c\xfe.bin"):
        (docs / os.fsdecode(name)).write_text("The mill grinds rye.")
    with Index(tmp_path / "x.index", embedder="hashing") as index:
        added = index.add([docs])
        assert [path.rsplit("/", 1)[1] for path in added.new] == [r"a\xff.txt", "b.txt"]
        assert [path.rsplit("/", 1)[1] for path in added.skipped] == [r"c\xfe.bin"]
        assert len(index.add([docs]).unchanged) == 2
        assert index.search(os.fsdecode(b"mill \xff"))
        (docs / os.fsdecode(b"a\xff.txt")).unlink()
        assert len(index.add([docs]).removed) == 1


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How many days do I have for refunds?", ["days", "refunds"]),
        ("How long is the long bridge?", ["long", "bridge"]),
        ("How much?", ["how", "much"]),
    ],
)
def test_what_asks_for_an_amount_is_not_looked_for(question, words):
    assert query_words(question) == words
