"""How a question's words lie against those of sentences, and which sentence that puts first."""

from __future__ import annotations

import math

import numpy as np
import pytest

from understudy.rag.abstain import confidence_of, features
from understudy.rag.alignment import alignment_of
from understudy.rag.index import Index
from understudy.rag.sentences import VALUES, WEIGHTS, Sentence
from understudy.text.embed import open_embedder

SENTENCES = (
    "The harbour was finished in 1812.",
    "Its keeper feeds the cats at the harbour.",
    "The cats of the old harbour sleep.",
    "—",
)
NEAR, HELD, PAIRS, LENGTH = range(4)


@pytest.fixture(scope="module")
def embed():
    return open_embedder("wordllama").embed


def values(question, embed, sentences=SENTENCES):
    return alignment_of(question, sentences, embed)


def test_words_count_for_more_the_fewer_sentences_hold_them(embed):
    held = values("Which keeper of the harbour?", embed)[:, HELD]
    keeper, harbour = math.log(5 / 1.5), math.log(5 / 3.5)
    assert held == pytest.approx(
        [harbour / (keeper + harbour), 1, harbour / (keeper + harbour), 0], abs=1e-6
    )
    assert values("Which keepers?", embed)[1, HELD] == 1  # in any form


def test_a_word_of_like_meaning_is_near(embed):
    found = values("Who feeds the kittens?", embed)
    assert found[:, HELD].tolist() == pytest.approx([0, found[1, HELD], 0, 0])
    assert found[0, NEAR] < found[2, NEAR] < found[1, NEAR] < 1
    feeds, kittens = math.log(5 / 1.5), math.log(5 / 0.5)
    a, b = embed(["kittens", "cats"])
    near = (feeds + kittens * float(a @ b) ** 2) / (feeds + kittens)
    assert found[1, NEAR] == pytest.approx(near, abs=1e-5)


def test_a_number_is_near_to_no_other(embed):
    found = values("1813", embed)
    assert found[:, (NEAR, HELD)].tolist() == [[0.0] * 2] * 4
    assert values("1812", embed)[:, NEAR].tolist() == [1, 0, 0, 0]


def test_neighbours_stand_side_by_side(embed):
    found = values("Was the old harbour finished?", embed)  # but "was the": three pairs
    assert found[:, PAIRS].tolist() == pytest.approx([0, 0, 2 / 3, 0])


def test_length_is_of_words(embed):
    lengths = values("x", embed, [*SENTENCES, "word " * 90])[:, LENGTH]
    assert lengths.tolist() == pytest.approx([6 / 40, 8 / 40, 7 / 40, 1 / 40, 1])


@pytest.mark.parametrize("question", ["灯台の番人は誰ですか？", "Кто смотритель маяка?", "?"])
def test_any_question_has_values(question, embed):
    found = values(question, embed, [*SENTENCES, "灯台の番人は島に住む。", ""])
    assert found.shape == (6, 4)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("question", "text", "right"),
    [
        (
            "Who purchased the old mill?",
            "The old mill burned down twice. Hilde Brun bought it in spring. "
            "The old road leads to the mill.",
            "Hilde Brun bought it in spring.",
        ),
        (
            "When did the war end?",
            "The war was long. The conflict finished in 1648. "
            "The war had no heroes, and in 1630 it was cruel.",
            "The conflict finished in 1648.",
        ),
    ],
)
def test_what_is_said_in_other_words_stands_first(tmp_path, question, text, right):
    """By words alone, as vectors of hashed words know them, another sentence would."""
    (tmp_path / "a.txt").write_text(text)
    first = {}
    for embedder in ("hashing", "wordllama"):
        with Index(tmp_path / f"{embedder}.index", embedder=embedder) as index:
            index.add([tmp_path / "a.txt"])
            first[embedder] = index.ground(question).sentences[0]
    assert first["hashing"].text != right
    assert first["wordllama"].text == right
    assert len(first["wordllama"].values) == len(VALUES)
    assert first["wordllama"].score == pytest.approx(WEIGHTS @ first["wordllama"].values)


def test_a_sentence_that_leads_is_sure_also_alone(tmp_path):
    (tmp_path / "a.txt").write_text("The ferry leaves at nine.")
    with Index(tmp_path / "x.index") as index:
        index.add([tmp_path / "a.txt"])
        passages = index.search("When does the ferry leave?")

    def sure(*scores):
        ranked = [Sentence("", 1, i, score) for i, score in enumerate(scores)]
        found = features("When does the ferry leave?", passages, ranked)
        return found[-1], confidence_of(found)

    assert sure(12)[0] == pytest.approx(12 - 12 / 6)
    assert sure(*[6] * 8)[0] == 0
    assert sure(9, 3, 3, 3, 3, 3, -50)[0] == pytest.approx(9 - 24 / 6)
    assert sure(12)[1] > sure(9, 3, 3, 3, 3, 3)[1] > sure(*[9] * 6)[1]
