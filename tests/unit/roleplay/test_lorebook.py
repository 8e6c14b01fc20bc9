"""Lorebooks: each rule of the format by one small book."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.errors import DocumentError
from understudy.roleplay.decorators import DECORATORS, read_decorators
from understudy.roleplay.lorebook import Line, Lorebook, LoreMemory, ScanSettings
from understudy.roleplay.macros import MacroContext

TALK = [
    Line("assistant", "Good day, I am the miller."),
    Line("user", "Tell me about the Castle."),
    Line("assistant", "It is far."),
    Line("user", "And the dragon?"),
]


def entry(content="lore", keys=("dragon",), **more):
    return {
        "keys": list(keys),
        "content": content,
        "extensions": {},
        "enabled": True,
        "insertion_order": 1,
        "use_regex": False,
        **more,
    }


def scan(*entries, lines=TALK, memory=None, book=None, **more):
    return Lorebook({"entries": list(entries), "extensions": {}, **(book or {})}).scan(
        lines, ScanSettings(**more), memory
    )


def contents(*entries, **more):
    return [placed.content for placed in scan(*entries, **more).placed]


@pytest.mark.parametrize(
    ("one", "is_found"),
    [
        (entry(), True),
        (entry(keys=["DRAGON"]), True),
        (entry(keys=["DRAGON"], case_sensitive=True), False),
        (entry(enabled=False), False),
        (entry(keys=["castle"]), False),
        (entry(keys=["nothing"], constant=True), True),
        (entry(content="  "), False),
        (entry(selective=True, secondary_keys=["far"]), True),
        (entry(selective=True, secondary_keys=["near"]), False),
        (entry(selective=False, secondary_keys=["near"]), True),
        (entry(keys=["d.agon\\?"], use_regex=True), True),
        (entry(keys=["/DRAGON/i"], use_regex=True), True),
        (entry(keys=["/DRAGON/"], use_regex=True), False),
        (entry(keys=["dragon", "(unclosed"], use_regex=True), False),
        (entry(keys=["nothing"], constant=True, use_regex=True), False),
        (entry(keys=["drag"], extensions={"match_whole_words": True}), False),
        (entry(keys=["{{char}}"]), False),
        (entry(keys=[""]), False),
        (entry("@@scan_depth 3\nlore", keys=["castle"]), True),
        (entry("@@scan_depth 0\nlore"), False),
        (entry("@@activate_only_after 2\nlore"), True),
        (entry("@@activate_only_after 3\nlore"), False),
        (entry("@@activate_only_every 2\nlore"), True),
        (entry("@@activate_only_every 3\nlore"), False),
        (entry("@@dont_activate\nlore", constant=True), False),
        (entry("@@dont_activate\n@@activate\nlore", keys=["no"]), True),
        (entry("@@is_greeting 0\nlore"), True),
        (entry("@@is_greeting 1\nlore"), False),
        (entry("@@is_greeting 1\nlore", constant=True), False),
        (entry("@@additional_keys far,near\nlore"), True),
        (entry("@@additional_keys near\nlore"), False),
        (entry("@@exclude_keys far\nlore"), False),
        (entry("@@exclude_keys near\nlore"), True),
        (entry("@@additional_keys dragon\nlore", keys=["nothing"], use_regex=True), True),
        (entry("@@is_user_icon ada\nlore"), False),
        (entry("@@keep_activate_after_match\nlore", keys=["no"]), False),
        (entry("@@dont_activate_after_match\nlore"), True),
        (entry("@@activate\nlore", enabled=False), False),
        (entry("@@activate\n\n"), False),
    ],
)
def test_when_an_entry_is_called_up(one, is_found):
    assert contents(one, greeting=0, user_icon="main") == (["lore"] if is_found else [])


def test_memory_of_earlier_matches():
    keep, once = (
        entry("@@keep_activate_after_match\nkeep"),
        entry("@@dont_activate_after_match\nonce"),
    )
    first = scan(keep, once)
    assert first.memory == LoreMemory(frozenset({0, 1}))
    assert contents(keep, once, lines=[Line("user", "hello")], memory=first.memory) == ["keep"]
    assert contents(keep, once, memory=first.memory) == ["keep"]


def test_order_ties_and_once_only():
    assert contents(
        entry("b", insertion_order=2),
        entry("a"),
        entry("c", insertion_order=2),
        entry("a2", keys=["dragon", "far"]),
    ) == ["a", "a2", "b", "c"]


def test_recursion_only_where_the_book_says_so():
    chain = [
        entry("The dragon sleeps in the cave."),
        entry("The cave has gold.", keys=["cave"]),
        entry("Gold is cursed.", keys=["gold"]),
    ]
    assert len(contents(*chain)) == 1
    assert len(contents(*chain, book={"recursive_scanning": True})) == 3
    hidden = [
        entry("Dragons.{{hidden_key:cave}}{{// gold}}"),
        *chain[1:2],
        entry("x", keys=["hidden"]),
    ]
    assert contents(*hidden, book={"recursive_scanning": True}) == [
        "Dragons.",
        "The cave has gold.",
    ]


def test_budget_drops_the_lowest_priority_and_says_so():
    words = {"count_tokens": lambda text: len(text.split())}
    three = [
        entry("a a a", priority=1, name="one"),
        entry("b b b", priority=5),
        entry("c c c", priority=3, constant=True, insertion_order=9),
    ]
    found = scan(*three, book={"token_budget": 6}, **words)
    assert [p.content for p in found.placed] == ["b b b", "c c c"]
    assert found.dropped == (("one", "token budget of the lorebook"),)
    assert contents(*three, budget=3, **words) == ["b b b"]
    assert contents(entry("big " * 9, priority=9), entry("s"), budget=3, **words) == ["s"]
    shy = entry("@@ignore_on_max_context\nz z z", priority=99)
    assert contents(shy, *three[:2], room=6, **words) == ["a a a", "b b b"]


def test_positions_depth_and_roles():
    found = scan(
        entry("1"),
        entry("2", position="after_char"),
        entry("@@depth 2\n@@role assistant\n3"),
        entry("@@position personality\n@@depth 1\n4"),
        entry("@@reverse_depth 1\n5"),
        entry("@@depth -3\n6"),
        entry("@@position nowhere\n7"),
    )
    got = {p.content: (p.position, p.depth, p.role) for p in found.placed}
    assert got == {
        "1": ("before_char", 0, "system"),
        "2": ("after_char", 0, "system"),
        "3": ("depth", 2, "assistant"),
        "4": ("personality", 0, "system"),
        "5": ("depth", 3, "system"),
        "6": ("depth", 0, "system"),
        "7": ("before_char", 0, "system"),
    }


def test_decorators_are_read_with_fallbacks_and_trimmed():
    read = read_decorators(
        "\n@@unknown 1\n@@@also_unknown\n@@@depth 4\n@@@depth 9\n"
        "@@depth 5\n@@@role user\n@@role nobody\n@@@role system\n\nText\n@@not at top\n"
    )
    assert read.content == "Text\n@@not at top"
    assert read.values == {"depth": 4, "role": "system"}
    assert len(read.ignored) == 3
    assert read_decorators("@@instruct_depth 4\n@@@depth 2\nx").values == {"depth": 2}
    assert read_decorators("@@depth 2\n@@@instruct_depth 4\nx", is_chat=False).values == {
        "instruct_depth": 4
    }


def test_every_decorator_of_the_format_is_known():
    assert len(DECORATORS) == 20


def test_disabled_prompts_and_macros():
    found = scan(
        entry("@@disable_ui_prompt system_prompt\n{{char}} fears {{user}}."),
        macros=MacroContext("Hilde", "Ada"),
    )
    assert found.disabled_prompts == {"system_prompt"}
    assert found.placed[0].content == "Hilde fears Ada."


def test_text_without_chat_counts_tokens():
    book = Lorebook(
        {
            "entries": [
                entry("@@instruct_scan_depth 2\nlore"),
                entry("@@instruct_scan_depth 2\nno", keys=["castle"]),
            ]
        },
        is_chat=False,
    )
    found = book.scan(
        TALK, ScanSettings(is_chat=False, count_tokens=lambda text: len(text.split()))
    )
    assert [p.content for p in found.placed] == ["lore"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(a|aa)+$",
        r"(.*a){25}$",
        r"a{1,99999}",
        "(" * 3000,
        r"(?:(?:(?:a{1,999}){1,999}){1,999})b",
    ],
)
def test_regex_bombs_are_stopped(pattern):
    started = time.thread_time()
    found = scan(entry(keys=[pattern], use_regex=True), lines=[Line("user", "a" * 3000 + "!")])
    assert time.thread_time() - started < 2
    assert found.placed == ()
    assert found.warnings


def test_many_bombs_share_one_limit():
    started = time.thread_time()
    scan(
        *[entry(keys=[rf"(a+)+{i}$"], use_regex=True) for i in range(200)],
        lines=[Line("user", "a" * 3000 + "!")],
    )
    assert time.thread_time() - started < 2


def test_who_may_know():
    assert (
        contents(
            entry(extensions={"secret": True}),
            may_use=lambda e: not e.source["extensions"].get("secret"),
        )
        == []
    )


def test_reading_alone_and_wrong_shapes():
    book = Lorebook.parse(b'{"spec": "lorebook_v3", "data": {"entries": [], "x_keep": 1}}')
    assert book.to_document()["data"]["x_keep"] == 1
    for text in (
        b'{"entries": {"0": 1}}',
        b'{"entries": [{"text": "what is this?"}]}',
        b'{"entries": [1]}',
        b"{}",
        b'{"spec": "lorebook_v3", "data": 3}',
    ):
        with pytest.raises(DocumentError):
            Lorebook.parse(text)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.builds(
            entry,
            content=st.text(alphabet="@a_ \n{}:1depthrole", max_size=40),
            keys=st.lists(st.text(max_size=4), max_size=2),
            priority=st.integers(0, 3),
            constant=st.booleans(),
        ),
        max_size=6,
    ),
    st.integers(0, 30),
)
def test_scans_are_deterministic_and_within_budget(entries, budget):
    first, second = (scan(*entries, budget=budget, count_tokens=len) for _ in range(2))
    assert first == second or [p.content for p in first.placed] == [
        p.content for p in second.placed
    ]
    assert sum(p.num_tokens for p in first.placed) <= budget
