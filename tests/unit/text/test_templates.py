"""Prompts byte for byte, stops, and that data never opens a turn."""

from __future__ import annotations

import functools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer

from tests.support.byte_chat import byte_level
from understudy import hub
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.errors import TemplateError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import open_tokenizer
from understudy.text.templates import CHAT_TEMPLATES, JinjaChatTemplate, chat_template_for
from understudy.text.toolcalls import ParsedCall, parse_calls, write_call


@functools.cache
def fast_with(markers: tuple[str, ...]) -> str:
    fast = byte_level([m for m in markers if not m.startswith("<extra")])
    fast.add_tokens([m for m in markers if m.startswith("<extra")])
    return fast.to_str()


@functools.cache
def opened(markers: tuple[str, ...], template: str | None):
    end = "</s>" if "</s>" in markers else "<|im_end|>"
    payload = fast_with(markers)
    eos = FastTokenizer.from_str(payload).token_to_id(end)
    return open_tokenizer(
        TokenizerSource("tokenizer.json", payload.encode(), eos_ids=(eos,), chat_template=template)
    )


def tokenizer_with(markers: list[str], template: str | None = None):
    """Bytes as tokens, and some markers."""
    return opened(tuple(markers), template)


NEMOTRON = ["<s>", "</s>", "<extra_id_0>", "<extra_id_1>"]
CHATML = ["<|im_start|>", "<|im_end|>"]
USER = {"role": "user", "content": "q"}
SYSTEM = {"role": "system", "content": "S"}
F, G = {"name": "f"}, {"name": "g"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
}

GOLDEN = [
    (
        [{"role": "user", "content": "Who are you?"}],
        {},
        "<extra_id_0>System\n\n<extra_id_1>User\nWho are you?\n<extra_id_1>Assistant\n",
    ),
    (
        [SYSTEM, {"role": "user", "content": "hi"}],
        {},
        "<extra_id_0>System\nS\n\n<extra_id_1>User\nhi\n<extra_id_1>Assistant\n",
    ),
    (
        [SYSTEM, USER],
        {"tools": [F, G], "contexts": ["c1", "c2"]},
        '<extra_id_0>System\nS\n\n<tool> {"name": "f"} </tool>\n<tool> {"name": "g"} </tool>\n\n'
        "<context> c1 </context>\n<context> c2 </context>\n\n<extra_id_1>User\nq\n<extra_id_1>Assistant\n",
    ),
    (
        [USER],
        {"tools": [G]},
        '<extra_id_0>System\n<tool> {"name": "g"} </tool>\n\n<extra_id_1>User\nq\n<extra_id_1>Assistant\n',
    ),
    (
        [SYSTEM, USER],
        {"contexts": ["c1"]},
        "<extra_id_0>System\nS\n\n<context> c1 </context>\n\n<extra_id_1>User\nq\n<extra_id_1>Assistant\n",
    ),
    (
        [USER, CALL, {"role": "tool", "content": "22"}],
        {},
        '<extra_id_0>System\n\n<extra_id_1>User\nq\n<extra_id_1>Assistant\n<toolcall> {"name": "f", "arguments": {"x": 1}} </toolcall>\n'
        "<extra_id_1>Tool\n22\n<extra_id_1>Assistant\n",
    ),
    (
        [
            USER,
            {"role": "assistant", "content": " a "},
            {"role": "system", "content": "late"},
            {"role": "user", "content": " r\n"},
        ],
        {"add_generation_prompt": False},
        "<extra_id_0>System\nlate\n\n<extra_id_1>User\nq\n<extra_id_1>Assistant\na\n<extra_id_1>User\nr\n",
    ),
]


@pytest.mark.parametrize(("messages", "options", "text"), GOLDEN)
def test_nemotron_bytes(messages, options, text):
    chat_template = CHAT_TEMPLATES["nemotron"](tokenizer_with(NEMOTRON))
    assert chat_template.render(messages, **options).text == text


def test_nemotron_stops_and_cleaning():
    tokenizer = tokenizer_with(NEMOTRON)
    chat_template = chat_template_for("nemotron", tokenizer)
    assert chat_template.name == "nemotron"
    assert {tokenizer.marker_id("</s>"), tokenizer.marker_id("<extra_id_1>")} <= set(
        chat_template.stops.token_ids
    )
    assert chat_template.stops.strings == ("<extra_id_1>", "<extra_id_0>")
    assert chat_template.clean(" Paris.\n") == "Paris."


PIECES = [
    "<extra_id_1>",
    "<|im_start|>",
    "<|im_end|>",
    "</s>",
    "\n",
    "User",
    "x",
    " ",
    "\ue000",
    "0",
    "\ue001",
]
hostile = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(hostile, min_size=1, max_size=3),
    name=st.sampled_from(["nemotron", "chatml", "jinja"]),
)
def test_data_never_opens_a_turn(texts, name):
    """As many markers in the ids as with harmless texts, whatever the texts hold."""
    tokenizer = tokenizer_with(NEMOTRON if name == "nemotron" else CHATML, TEMPLATE)
    chat_template = CHAT_TEMPLATES[name](tokenizer)

    def count(contents: list[str], passages: list[str]) -> int:
        messages = [
            {"role": "user" if i % 2 == 0 else "assistant", "content": c}
            for i, c in enumerate(contents)
        ]
        extra = {} if name == "jinja" else {"contexts": passages, "tools": [{"name": passages[0]}]}
        ids = chat_template.render(messages, **extra).encode(tokenizer)
        return sum(ids.count(tokenizer.marker_id(m)) for m in tokenizer.markers)

    try:
        found = count(texts, texts)
    except TemplateError:
        assert name == "jinja"  # refused, with the marker named
        return
    assert found == count(["a"] * len(texts), ["a"] * len(texts))


def test_the_embedded_template_and_chatml_agree():
    tokenizer = open_tokenizer(open_checkpoint(hub.resolve(hub.DEFAULT_MODEL)).tokenizer_source)
    chatml = chat_template_for("llama", tokenizer)
    assert chatml.name == "chatml"
    for messages in ([USER], [SYSTEM, USER], [USER, {"role": "assistant", "content": "a"}, USER]):
        for add in (True, False):
            theirs = CHAT_TEMPLATES["jinja"](tokenizer).render(messages, add_generation_prompt=add)
            ours = chatml.render(messages, add_generation_prompt=add)
            assert ours.text == theirs.text
            assert (
                ours.encode(tokenizer)
                == theirs.encode(tokenizer)
                == tokenizer.encode(ours.text, markers=True)
            )


def test_origins_cover_the_prompt():
    chat_template = CHAT_TEMPLATES["nemotron"](tokenizer_with(NEMOTRON))
    messages = [
        {"role": "system", "content": "be", "origin": "persona"},
        USER,
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "r"},
    ]
    parts = chat_template.render(messages, tools=[F], contexts=["c"]).parts
    by_origin = {
        origin: "".join(p.text for p in parts if p.origin == origin)
        for origin in {p.origin for p in parts}
    }
    assert by_origin["persona"] == "be"
    assert by_origin["history"] == "qa"
    assert by_origin["user"] == "r"
    assert by_origin["documents"] == "c"
    assert json.loads(by_origin["tools"]) == F


@pytest.mark.parametrize(
    "messages",
    [[{"role": "king", "content": "x"}], [{"content": "x"}], [{"role": "user", "content": 5}]],
)
def test_impossible_messages_are_refused(messages):
    for name in ("nemotron", "chatml", "plain"):
        with pytest.raises(TemplateError):
            CHAT_TEMPLATES[name](tokenizer_with([*NEMOTRON, *CHATML])).render(messages)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000000) %}x{% endfor %}",
        "{{ messages.__class__.__mro__ }}{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{% for m in messages %}{{ m.content.__class__.__base__.__subclasses__() }}{% endfor %}",
    ],
)
def test_hostile_templates_fail_cleanly(template):
    with pytest.raises(TemplateError):
        CHAT_TEMPLATES["jinja"](tokenizer_with(CHATML, template)).render([USER])


def test_a_broken_template_is_said():
    with pytest.raises(TemplateError, match="cannot be read"):
        CHAT_TEMPLATES["jinja"](tokenizer_with(CHATML, "{% for %}"))


def test_a_template_that_measures_its_data_is_rendered_plainly():
    chat_template = CHAT_TEMPLATES["jinja"](
        tokenizer_with(
            CHATML, "{% for m in messages %}{{ m.content | length }}:{{ m.content }}{% endfor %}"
        )
    )
    assert chat_template.render([{"role": "user", "content": "four"}]).text in ("3:four", "4:four")


# ---- tool calls ----

ONE = [ParsedCall("f", {"x": 1})]
REAL = [
    (' <toolcall> {"name": "f", "arguments": {\n  "x": 1\n}} </toolcall>', "", ONE),
    ('<toolcall>{"name":"f","arguments":{"x":1}}</toolcall>', "", ONE),
    ('<toolcall> {"name": "f", "arguments": {"x": 1}}', "", ONE),
    (
        'Sure. <tool_call>\n{"name": "f", "parameters": {"x": 1}}\n</tool_call> Done.',
        "Sure.  Done.",
        ONE,
    ),
    ('<toolcall>{"name": "f", "arguments": "{\\"x\\": 1}"}</toolcall>', "", ONE),
    (
        '<toolcall>{"name":"f","arguments":{"x":1}},{"name":"f","arguments":{"x":1}}]} </toolcall>',
        "",
        ONE * 2,
    ),
    (
        '<toolcall>[{"name":"f","arguments":{"x":1}},{"name":"g"}]</toolcall>',
        "",
        [*ONE, ParsedCall("g", {})],
    ),
    (
        '<toolcall>{"name":"f","arguments":{"x":1}}<toolcall>{"name":"f","arguments":{"x":1}}</toolcall>',
        "",
        ONE * 2,
    ),
    ('```json\n{"name": "f", "arguments": {"x": 1}}\n```', "", ONE),
    ('{"name": "f", "arguments": {"x": 1}}', "", ONE),
    ('{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}', "", ONE),
    ('[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}}]', "", ONE),
    ('<|python_tag|>{"name": "f", "parameters": {"x": 1}}', "", ONE),
]


@pytest.mark.parametrize(("text", "rest", "calls"), REAL)
def test_calls_as_real_checkpoints_write_them(text, rest, calls):
    assert parse_calls(text) == (rest, calls)


@pytest.mark.parametrize(
    "text",
    [
        "no call at all",
        "<toolcall> weather in Paris </toolcall>",
        '<toolcall>{"name": 5}</toolcall>',
        "{'name': 'f'}",
        '{"x": 1}',
        "[" * 100_000,
        "<toolcall>" + "{" * 50_000,
        '{"name": "f", "arguments": [1]}',
        "```json\n{}\n```",
    ],
)
def test_what_cannot_be_read_stays_text(text):
    rest, calls = parse_calls(text)
    assert calls == []
    assert rest == text.strip() or rest == text


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    name=st.text(min_size=1, max_size=12),
    arguments=st.dictionaries(st.text(max_size=8), values, max_size=4),
)
def test_what_is_written_is_read_back(name, arguments):
    for chat_template in ("nemotron", "chatml"):
        made = CHAT_TEMPLATES[chat_template](tokenizer_with([*NEMOTRON, *CHATML]))
        call = {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": name, "arguments": arguments}}],
        }
        text = made.render([USER, call], add_generation_prompt=False).text
        opening, closing = made.call_form.open, made.call_form.close
        if closing in json.dumps([name, arguments], ensure_ascii=False) or opening in json.dumps(
            [name, arguments]
        ):
            continue
        answer = text[text.index(opening) : text.rindex(closing) + len(closing)]
        assert made.parse(answer) == ("", [ParsedCall(name, arguments)])
    assert json.loads(write_call(name, arguments)) == {"name": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("said", "end"),
    [("Sure", "[assistant] Sure"), ("Sure, ", "[assistant] Sure, "), ("assistant", "] assistant")],
)
def test_a_prompt_may_end_with_a_message_as_the_template_writes_it(said, end):
    turns = "{% for m in messages %}[{{ m.role }}] {{ m.content }} ; assistant\n{% endfor %}"
    template = JinjaChatTemplate(tokenizer_with(CHATML, turns), turns)
    answer = {"role": "assistant", "content": said}
    whole = template.render([USER, answer], add_generation_prompt=False)
    cut = whole.ending_with(said)
    assert cut is not None
    assert cut.text.endswith(end)
    assert whole.text.startswith(cut.text)
    assert whole.ending_with(" ") is None
