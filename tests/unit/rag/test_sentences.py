"""Which sentences answer a question, which support an answer, and what becomes of an answer that
none supports.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.random_model import babbler
from understudy.errors import UsageError
from understudy.rag.cite import NOT_SAID, parse_answer
from understudy.rag.index import Index
from understudy.rag.sentences import choose_quotes, only_repeats, rank_sentences, unsupported
from understudy.rag.settings import AnswerSettings

ISLAND = (
    "The island lies in the north. The lighthouse was built in 1812 from grey granite. "
    "Its keeper is Ada Vane. The ferry leaves from the pier at nine."
)
OFFICE = (
    "The committee met and discussed minor matters. You get 28 days of paid vacation a year. "
    "The appendix lists further details. Parking costs 40 euros a month."
)


@pytest.fixture(scope="module", params=["wordllama", "hashing"])
def index(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    (folder / "island.txt").write_text(ISLAND)
    (folder / "office.txt").write_text(OFFICE)
    with Index(folder / "x.index", embedder=request.param) as opened:
        opened.add([folder / "island.txt", folder / "office.txt"])
        yield opened


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("When was the lighthouse built?", "The lighthouse was built in 1812 from grey granite."),
        ("How many days of paid vacation do I get?", "You get 28 days of paid vacation a year."),
        ("What does parking cost?", "Parking costs 40 euros a month."),
        ("Who is the keeper of the lighthouse?", "Its keeper is Ada Vane."),
    ],
)
def test_the_sentence_that_answers_stands_first(index, question, sentence):
    found = index.ground(question)
    assert found.sentences[0].text == sentence


def test_quotes_hold_what_the_answer_says(index):
    found = index.ground("When does the ferry leave, and who keeps the light?")
    question = found.question
    quotes = choose_quotes(question, "At nine; Ada Vane.", found.sentences)
    assert {"nine" in quote.text or "Ada" in quote.text for quote in quotes} == {True}
    assert len(quotes) == 2
    assert len(choose_quotes(question, "At nine; Ada Vane.", found.sentences, 1)) == 1


def test_what_no_quote_holds_is_named():
    quotes = ["The lighthouse was built in 1812."]
    assert unsupported("In 1812.", "When was it built?", quotes) == ()
    assert unsupported("It was built in 1813 by Bob.", "When was it built?", quotes) == (
        "1813",
        "bob",
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("In 1812. [1]", "In 1812."),
        ("Answer: 1812", "1812"),
        ("It was built in 1950.", "The lighthouse was built in 1812 from grey granite."),
        ("2", "The lighthouse was built in 1812 from grey granite."),
        ("The lighthouse.", "The lighthouse was built in 1812 from grey granite."),
        ("The documents do not say.", None),
        ("", None),
    ],
)
def test_an_answer_says_what_its_quote_holds(index, raw, text):
    found = index.ground("When was the lighthouse built?")
    answer, citations = found.read(raw, len(found.passages))
    assert answer == text
    assert [c.quote for c in citations] == (
        ["The lighthouse was built in 1812 from grey granite."] if text else []
    )


@pytest.mark.parametrize(
    ("answer", "question", "is_empty"),
    [
        ("The Rhine.", "The Rhine and what other river drained the Alps?", True),
        ("The Danube.", "The Rhine and what other river drained the Alps?", False),
        ("In 1950.", "What happened in 1950?", True),
        ("Granite.", "Is it built of granite or of brick?", False),
    ],
)
def test_an_answer_adds_to_its_question(answer, question, is_empty):
    assert only_repeats(answer, question) == is_empty


def test_a_sentence_that_stands_out_is_shown_alone(index, tmp_path):
    """Those far below the best one only lead astray; a second try sees half of what was shown."""
    with babbler(tmp_path) as model:
        found = index.ground("How many days of paid vacation do I get a year?")
        level = tuple(replace(s, score=1.0) for s in found.sentences)
        alone = found.for_model(model.spec)
        several = replace(found, sentences=level).for_model(model.spec)
    assert alone.num_shown == 1
    assert alone.contexts == ["[1] You get 28 days of paid vacation a year."]
    assert alone.second_try("It was built in 1950.", 1) is None
    assert several.num_shown == min(len(level), 6)
    again = several.second_try("It was built in 1950.", len(several.passages))
    assert again.num_shown == several.num_shown // 2
    assert several.second_try("You get 28 days.", len(several.passages)) is None


def test_small_models_see_the_best_sentences(index, tmp_path):
    found = index.ground("When was the lighthouse built?")
    with babbler(tmp_path) as model:
        small = found.for_model(model.spec)
    assert small.num_shown
    assert "1812" in " ".join(small.contexts)
    assert small.contexts[0].startswith("[1] ")
    assert len(small.contexts) == len(small.passages)
    assert "do not hold" not in small.instructions
    for sentence in small.sentences:
        assert sentence.text in small.passages[sentence.passage - 1].text.replace("\n", " ")


def test_large_models_see_passages_and_may_decline(index):
    found = index.ground("When was the lighthouse built?")
    whole = replace(found, settings=AnswerSettings(excerpts=False, may_abstain=True))
    assert "do not hold" in whole.instructions
    assert whole.contexts[0].endswith(found.passages[0].text)


def test_nothing_is_ranked_without_words_or_passages(index):
    assert rank_sentences("", index.search("ferry"), index.embedder.embed, {}) == ()
    assert rank_sentences("ferry", [], index.embedder.embed, {}) == ()


def test_switches_of_answers(index, tmp_path):
    """Each does what its name says, and what nobody set is the model's preset."""
    found = index.ground("When was the lighthouse built?")
    with babbler(tmp_path) as model:
        unchecked = found.for_model(model.spec, AnswerSettings(is_checked=False))
        whole = found.for_model(model.spec, AnswerSettings(excerpts=False, may_abstain=True))
        quoting = found.for_model(model.spec, AnswerSettings(form="quotes", max_quotes=1))
        usual = found.for_model(model.spec)
        forms = [quoting.grammar(1, model.spec), usual.grammar(1, model.spec)]
    assert usual.missing("It was built in 1950.", 2) == ("1950",)
    assert unchecked.missing("It was built in 1950.", 2) == ()
    assert unchecked.read("It was built in 1950.", 2)[0] == "It was built in 1950."
    assert usual.read("It was built in 1950.", 2)[0] != "It was built in 1950."
    assert whole.num_shown is None
    assert NOT_SAID in whole.instructions
    assert "quote_1" in forms[0]
    assert "quote" not in forms[1]
    assert "Quote the sentences" in quoting.instructions
    raw = f'[1] "{found.sentences[0].text}"\nAnswer: In 1812.'
    assert quoting.read(raw, len(quoting.passages))[0] == "In 1812."
    assert parse_answer(raw, quoting.passages).citations
    for wrong in ({"form": "prose"}, {"max_quotes": 0}, {"max_quotes": True}):
        with pytest.raises(UsageError):
            AnswerSettings(**wrong)


def test_one_quote_is_enough_where_one_is_asked_for(index, tmp_path):
    with babbler(tmp_path) as model:
        one, two = (
            index.ground("Who is the keeper of the lighthouse, and when was it built?").for_model(
                model.spec, AnswerSettings(max_quotes=most)
            )
            for most in (1, 2)
        )
    said = "Ada Vane is its keeper; it was built in 1812."
    assert len(two.read(said, len(two.passages))[1]) == 2
    assert len(replace(two, settings=AnswerSettings(max_quotes=1)).read(said, 2)[1]) == 1
    assert len(one.read("In 1812.", len(one.passages))[1]) == 1
