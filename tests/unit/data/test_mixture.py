"""Parts up to their share of the tokens; what evaluation sets hold stays out."""

from __future__ import annotations

import pytest

from tests.support.byte_chat import byte_chat
from understudy.data.encode import ConversationEncoder, Dialogue
from understudy.data.mixture import HELD_OUT_EVERY, MixPart, mix, shares_of
from understudy.data.overlap import EvaluationSets
from understudy.data.parts import part_of
from understudy.errors import DocumentError, UsageError


def conversation(text: str) -> Dialogue:
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "Yes."}]
    return Dialogue(messages)


def endless(word: str):
    number = 0
    while True:
        number += 1
        yield [conversation(f"{word} {number} {i}") for i in range(3)]


def encoder() -> ConversationEncoder:
    return ConversationEncoder.of(*byte_chat())


def test_each_part_has_its_share():
    parts = [MixPart("a", 0.75, endless("first")), MixPart("b", 0.25, endless("second"))]
    mixture = mix(parts, 40_000, encoder())
    assert shares_of(mixture)["a"] == pytest.approx(0.75, abs=0.01)
    assert sum(mixture.tokens.values()) == pytest.approx(40_000, rel=0.02)
    assert sum(mixture.tokens.values()) == sum(map(len, mixture.trees))
    assert mixture.decisions["a"] == 3 * sum(tree.kind == "a" for tree in mixture.trees)
    groups = len(mixture.trees) + len(mixture.held_out)
    assert len(mixture.held_out) == pytest.approx(groups / HELD_OUT_EVERY, abs=2)


def test_a_part_that_runs_dry_and_one_that_is_too_long_are_counted():
    parts = [MixPart("a", 1, [[conversation("x")]]), MixPart("b", 1, [[conversation("y" * 900)]])]
    mixture = mix(parts, 40_000, encoder())
    assert len(mixture.trees) == 1
    assert mixture.too_long["b"] == 1


def test_a_group_that_is_too_long_becomes_several_trees():
    group = [conversation(f"{i} {'z' * 90}") for i in range(8)]
    mixture = mix([MixPart("a", 1, [group], most=400)], 40_000, encoder())
    assert len(mixture.trees) > 1
    assert all(len(tree) <= 400 for tree in mixture.trees)
    assert mixture.decisions["a"] == 8


def test_evaluation_text_stays_out(tmp_path):
    line = "the quick brown fox jumps over the lazy dog and then sleeps very long"
    (tmp_path / "set.jsonl").write_text('{"deep": [{"question": "So ' + line + '"}]}\n')
    sets = EvaluationSets.read({"foxes": [tmp_path]})
    assert (
        sets.overlap("He said: The quick, brown fox jumps over the lazy dog and then sleeps very")
        == "foxes"
    )
    assert sets.overlap("The quick brown fox jumps over the lazy dog") == ""
    groups = [[conversation(line)], [conversation("something else")]]
    mixture = mix([MixPart("a", 1, groups)], 40_000, encoder(), sets)
    assert len(mixture.trees) == 1
    assert mixture.overlapping == {("a", "foxes"): 1}


def test_a_set_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DocumentError, match="evaluation set is not there"):
        EvaluationSets.read({"x": [tmp_path / "none"]})


def test_an_unknown_part_is_said():
    with pytest.raises(UsageError, match="requests messages dialogues documents"):
        part_of("poems")
