"""Each of the 25 instructions with a hit and a miss."""

import pytest

from understudy.errors import UsageError
from understudy.judge.evaluate.instructions import check, follows
from understudy.judge.evaluate.verifiers import VERIFIERS, count_sentences

CASES = [
    ("keywords:existence", {"keywords": ["river", "stone"]}, "A River of stones", "A river"),
    (
        "keywords:frequency",
        {"keyword": "war", "frequency": 2, "relation": "at least"},
        "War and war",
        "war",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocks", "a Rock."),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
        "a #",
        "##",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist nicht der Hund.",
        "That is not the dog.",
    ),
    ("language:response_language", {"language": "hi"}, "यह एक घर है और बड़ा है", "The house is big"),
    ("language:response_language", {"language": "ta"}, "இது ஒரு வீடு", "यह एक घर है"),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "It is. So Mr. A said!",
        "Mr. Fox ran.",
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "a\n***\nb\n***\n",
        "a\n***\n\n***\nb",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        "two words",
        "now three words",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"},
        'a\n\n"then, b',
        "a\n\nb then",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a]"),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        "x\nP. P.S more",
        "x\nP.S. more",
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n**b**"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        "*a* **b**",
        "*a* b * ",
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        "Day 1 a Day 2 b",
        "Day one Day 2",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<Rain>>\nx", "<<>>"),
    ("combination:two_responses", {}, "a******b", "a******a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it"}, "say it. Done", "Done: say it"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'x the end."', "The end. x"),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NOW GO on",
        "NOW on",
    ),
    ("change_case:english_capital", {}, "THE CAT IS HERE", "The CAT"),
    ("change_case:english_lowercase", {}, "the cat is here", "the Cat"),
    ("punctuation:no_comma", {}, "a b", "a, b"),
    ("startend:quotation", {}, ' "a" ', '"'),
]


@pytest.mark.parametrize(("name", "arguments", "hit", "miss"), CASES)
def test_verifier_tells_hit_from_miss(name, arguments, hit, miss):
    assert follows(name, arguments, hit)
    assert not follows(name, arguments, miss)
    assert not follows(name, arguments, " \n")


def test_every_verifier_has_a_case():
    assert {case[0] for case in CASES} == set(VERIFIERS)
    assert len(VERIFIERS) == 25


def test_an_unknown_instruction_is_refused():
    with pytest.raises(UsageError, match="no such instruction"):
        follows("keywords:rhyme", {}, "a")


def test_loose_forgives_talk_around_the_answer():
    row = {
        "instruction_id_list": ["startend:quotation", "punctuation:no_comma"],
        "kwargs": [{}, {"unused": None}],
    }
    figures = check(row, 'Sure!\n"a"')
    assert (figures["prompt_strict"], figures["prompt_loose"]) == (0, 1)
    assert (figures["instruction_strict"], figures["instruction_loose"], figures["weight"]) == (
        0.5,
        1.0,
        2,
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [("One. Two!", 2), ("No end", 1), ("Dr. No came.", 1), ("3.5 is more. Yes", 2)],
)
def test_sentences(text, count):
    assert count_sentences(text) == count
