"""SillyTavern's rules, one by one; the answers are those of its own code (1.19.0), see
tests/others.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import UsageError
from understudy.roleplay.lore import Line, LoreMemory, ScanSettings, WorldInfoSettings
from understudy.roleplay.lorebook import Lorebook, scan_books
from understudy.roleplay.macros import MacroContext
from understudy.roleplay.world_entry import EXTENSIONS


def entry(content: str = "LORE", keys: tuple[str, ...] = ("wolf",), **more: Any) -> dict[str, Any]:
    extensions = {"selectiveLogic": 0, **more.pop("extensions", {})}
    return {
        "keys": list(keys),
        "secondary_keys": [],
        "selective": True,
        "content": content,
        "enabled": True,
        "insertion_order": 100,
        "position": "before_char",
        "use_regex": True,
        "extensions": extensions,
        **more,
    }


def scan(
    *entries: dict[str, Any], text: str = "a wolf", memory: LoreMemory | None = None, **more: Any
):
    texts = [text] if isinstance(text, str) else text
    lines = [Line(("user", "assistant")[(len(texts) - 1 - i) % 2], t) for i, t in enumerate(texts)]
    told = ScanSettings(
        count_tokens=lambda text: len(text.split()),
        macros=MacroContext("Hilde", "Ada"),
        world=WorldInfoSettings(**more.pop("world", {})),
        **more,
    )
    return Lorebook({"entries": list(entries)}).scan(lines, told, memory)


def contents(*entries: dict[str, Any], **more: Any) -> list[str]:
    return [placed.content for placed in scan(*entries, **more).placed]


@pytest.mark.parametrize(
    ("logic", "text", "is_found"),
    [
        (0, "wolf", False),
        (0, "wolf moon", True),
        (1, "wolf", True),
        (1, "wolf moon", True),
        (1, "wolf moon snow", False),
        (2, "wolf", True),
        (2, "wolf moon", False),
        (3, "wolf moon", False),
        (3, "wolf moon snow", True),
    ],
)
def test_selective_logic(logic, text, is_found):
    one = entry(secondary_keys=["moon", "snow"], extensions={"selectiveLogic": logic})
    assert bool(contents(one, text=text)) is is_found
    assert contents({**one, "selective": False}, text=text) == ["LORE"]


@pytest.mark.parametrize(
    ("keys", "extensions", "text", "is_found"),
    [
        (["*"], {}, "an * here", True),
        (["a.b"], {}, "axb", False),
        (["she|he"], {}, "he", False),
        (["/she|he/"], {}, "he", True),
        (["/WOLF/i"], {}, "wolf", True),
        (["/WOLF/"], {}, "wolf", False),
        (["/(?<a>w)o\\k<a>?/"], {}, "wow", True),
        (["/bad(/"], {}, "/bad(/", True),  # no pattern, and so plain text
        (["/^\x01Ada:/"], {}, "anything", True),
        ([" wolf "], {}, "a wolf!", True),
        (["wol"], {}, "a wolf", False),
        (["wol"], {"match_whole_words": False}, "a wolf", True),
        (["黑猫"], {"match_whole_words": True}, "那只黑猫睡觉", True),
        (["été"], {}, "étés", False),
        (["the castle"], {}, "the castles", True),  # several words are looked for as they are
        (["WOLF"], {"case_sensitive": True}, "a wolf", False),
        (["wolf"], {"case_sensitive": True}, "a wolf", True),
        (["Ada"], {}, "hello", True),  # the speaker's name is part of the text
        (["{{char}}"], {}, "Hilde!", True),
        ([""], {}, "wolf", False),
        (["wolf"], {"scan_depth": 0}, "wolf", False),
        (["wolf"], {"triggers": ["continue"]}, "wolf", False),
        (["wolf"], {"triggers": ["normal"]}, "wolf", True),
        (["wolf"], {"probability": 0, "useProbability": True}, "wolf", False),
        (["wolf"], {"probability": 0, "useProbability": False}, "wolf", True),
        (["wolf"], {"delay": 2}, "wolf", False),
        (["wolf"], {"delay_until_recursion": True}, "wolf", False),
        (["wolf"], {"character_filter": {"names": ["Hilde"], "isExclude": True}}, "wolf", False),
        (["wolf"], {"character_filter": {"names": ["Hilde"], "isExclude": False}}, "wolf", True),
    ],
)
def test_keys(keys, extensions, text, is_found):
    assert bool(contents(entry(keys=tuple(keys), extensions=extensions), text=text)) is is_found


def test_depth_counts_from_the_newest_and_names_can_be_left_out():
    texts = ["a wolf", "nothing", "nothing"]
    assert contents(entry(), text=texts) == []
    assert contents(entry(extensions={"scan_depth": 3}), text=texts) == ["LORE"]
    assert contents(entry(keys=("Ada",)), text="x", world={"include_names": False}) == []


def test_positions_depths_and_roles():
    def at(number: int, **more: Any) -> dict[str, Any]:
        return entry(str(number), extensions={"position": number, **more})

    found = scan(
        *(at(i) for i in (0, 1, 2, 3, 5, 6)), at(4, depth=2, role=1), at(7, outlet_name="hall")
    )
    places = {
        p.content: (p.position, p.depth, p.role) for p in found.placed if p.position == "depth"
    }
    assert places == {"4": ("depth", 2, "user")}
    assert {p.content: p.position for p in found.placed if p.position != "depth"} == {
        "0": "before_char",
        "1": "after_char",
        "2": "note_top",
        "3": "note_bottom",
        "5": "examples_top",
        "6": "examples_bottom",
        "7": "outlet",
    }
    assert found.outlets == {"hall": "7"}
    assert scan(entry(position="nowhere")).placed[0].position == "after_char"


def test_low_orders_come_first_and_of_equal_ones_the_last():
    entries = [
        entry("a"),
        entry("b"),
        entry("c", insertion_order=5),
        entry("d", insertion_order=900),
    ]
    assert contents(*entries) == ["c", "b", "a", "d"]


def test_the_first_that_is_too_much_ends_it_but_for_the_exempt():
    entries = [
        entry("one two", insertion_order=9),
        entry("three four five", insertion_order=8),
        entry("six", insertion_order=7),
        entry("seven eight", insertion_order=6, extensions={"ignore_budget": True}),
    ]
    found = scan(*entries, budget=4)
    assert [p.content for p in found.placed] == ["seven eight", "one two"]
    assert {rule for _, rule in found.dropped} == {"token budget of the lorebook"}
    assert contents(entries[0], budget=2) == []  # reaching the budget is too much


def test_recursion_and_its_flags():
    caller = entry("The moon.", keys=("wolf",))
    called = entry("MOON", keys=("moon",))
    assert contents(caller, called) == ["MOON", "The moon."]
    assert contents(caller, called, world={"recursive": False}) == ["The moon."]
    assert contents(caller, entry("X", ("moon",), extensions={"exclude_recursion": True})) == [
        "The moon."
    ]
    quiet = entry("The moon.", extensions={"prevent_recursion": True})
    assert contents(quiet, called) == ["The moon."]


def test_levels_of_delayed_recursion_open_one_after_the_other():
    entries = [
        entry("first"),
        entry("second", extensions={"delay_until_recursion": 1}),
        entry("third", extensions={"delay_until_recursion": 2}),
    ]
    assert sorted(contents(*entries)) == ["first", "second", "third"]
    assert sorted(contents(*entries, world={"max_recursion_steps": 2})) == ["first", "second"]


def test_groups_by_override_score_weight_and_what_is_there():
    def member(content: str, **more: Any) -> dict[str, Any]:
        return entry(content, extensions={"group": "g", **more})

    draws = iter([0.2, 0.6])
    pair = [member("a"), member("b")]
    assert contents(*pair, draw=lambda: next(draws)) == ["a"]
    assert contents(*pair, draw=lambda: next(draws)) == ["b"]
    heavy = [member("a", group_weight=1), member("b", group_weight=99)]
    assert contents(*heavy, draw=lambda: 0.02) == ["b"]
    assert contents(member("a"), member("b", group_override=True), draw=lambda: 0.0) == ["b"]
    scored = [member("a", use_group_scoring=True), member("b", use_group_scoring=True)]
    scored[1]["keys"] = ["wolf", "moon"]
    assert contents(*scored, text="wolf moon", draw=lambda: 0.0) == ["b"]
    late = member("late", delay_until_recursion=1)
    assert contents(member("early"), late) == ["early"]


def test_chance_is_the_same_for_the_same_seed_and_differs_between_turns():
    halves = [entry(str(i), extensions={"probability": 50}) for i in range(12)]

    def drawn(seed: int, turn: int) -> list[str]:
        macros = MacroContext("Hilde", "Ada", seed=seed, turn=turn)
        told = ScanSettings(macros=macros)
        found = Lorebook({"entries": halves}).scan([Line("user", "wolf")], told)
        return [placed.content for placed in found.placed]

    assert drawn(1, 1) == drawn(1, 1)
    assert len({tuple(drawn(1, turn)) for turn in range(8)}) > 5
    assert len({tuple(drawn(seed, 0)) for seed in range(8)}) > 5


def test_sticky_stays_and_cooldown_rests():
    one = entry(extensions={"sticky": 2, "cooldown": 3})
    memory, said = LoreMemory(), []
    for number in range(1, 10):
        texts = ["..."] * (number - 1) + ["a wolf" if number in (1, 4, 6, 8) else "..."]
        found = scan(one, text=texts, memory=memory, world={"scan_depth": 1})
        said.append(bool(found.placed))
        memory = LoreMemory.from_document(found.memory.to_document())
    assert said == [True, True, False, False, False, True, True, False, False]


def test_books_are_searched_as_one_with_the_cards_first():
    card = Lorebook({"entries": [entry("The moon. " * 4, insertion_order=1)]})
    other = Lorebook({"entries": [entry("MOON", ("moon",)), entry("WOLF")]})
    lines, told = [Line("user", "a wolf")], ScanSettings(count_tokens=lambda t: len(t.split()))
    found = scan_books([card, other], lines, told, [LoreMemory()] * 2)
    assert [p.content for p in found[0].placed] == [("The moon. " * 4), "MOON", "WOLF"]
    assert [sorted(f.memory.matched) for f in found] == [[0], [0, 1]]


def test_the_rules_follow_the_origin_and_can_be_set():
    document = {"entries": [entry(keys=("wo.f",))]}
    assert Lorebook(document).rules == "sillytavern"
    assert Lorebook(document, rules="v3").scan([Line("user", "wolf")]).placed
    assert Lorebook({"entries": [{"keys": ["x"], "content": "y"}]}).rules == "v3"
    assert "SillyTavern's rules" in str(Lorebook(document))
    with pytest.raises(UsageError, match="sillytavern or v3"):
        Lorebook(document, rules="risu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"extensions": {"vectorized": True}}, "vectorized"),
        ({"extensions": {"automation_id": "x"}}, "automation_id"),
        ({"extensions": {"position": 9}}, "position"),
        ({"extensions": {"character_filter": {"names": [], "tags": ["1"]}}}, "characterFilter"),
        ({"content": "@@depth 3\nLORE"}, "@@depth 3"),
        ({"keys": ["wolf", "/(a)+\\1/"]}, "repeated"),
        ({"case_sensitive": True}, "case_sensitive"),
        ({"enabled": None}, None),
    ],
)
def test_what_is_not_used_is_said(more, word):
    warnings = scan(entry(**more)).warnings
    assert any(word in line for line in warnings) if word else not warnings, warnings
    without = entry()
    del without["enabled"]
    assert "enabled" in Lorebook({"entries": [without], "token_budget": 3}).warnings[1]


def test_decorators_that_sillytavern_follows():
    assert contents(entry("@@activate\nA", ("no",)), entry("@@dont_activate\nB")) == ["A"]
    assert contents(entry("@@unknown\n@@@activate\nC", ("no",))) == ["C"]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(EXTENSIONS)),
        st.sampled_from([None, True, -1, 4, 1.5, 1e300, "", "x", "4", [], [1], {}, {"names": 3}]),
        max_size=8,
    ),
    st.dictionaries(
        st.sampled_from(
            ["id", "secondary_keys", "insertion_order", "position", "priority", "name"]
        ),
        st.sampled_from([None, True, -1, 1.5, "x", [1], {}]),
        max_size=3,
    ),
)
def test_no_value_of_a_field_breaks_a_scan(extensions, more):
    one = {**entry(), **more, "extensions": extensions}
    for rules in ("sillytavern", "v3"):
        book = Lorebook({"entries": [one]}, rules=rules)
        memory = LoreMemory()
        for number in range(1, 3):
            memory = book.scan([Line("user", "a wolf")] * number, ScanSettings(), memory).memory


def test_numbers_may_be_texts_and_anything_else_is_said():
    assert contents(entry(extensions={"probability": "0"})) == []
    assert (
        "depth is no number"
        in Lorebook({"entries": [entry(extensions={"depth": [1]})]}).warnings[0]
    )
