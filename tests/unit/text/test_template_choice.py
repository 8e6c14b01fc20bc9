"""Which chat template a checkpoint gets, and the pieces of it that others use: the generation
prompt, a tool's turn, call tags.
"""

from __future__ import annotations

import pytest

from tests.unit.text.test_templates import CHATML, NEMOTRON, tokenizer_with
from understudy.errors import TemplateError
from understudy.text.templates import CHAT_TEMPLATES, chat_template_for

IM = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
)
OTHER_TOOLS = "{% if tools %}<|im_start|>tools {{ tools | tojson }}<|im_end|>\n{% endif %}"


@pytest.mark.parametrize(
    ("architecture", "markers", "template", "name"),
    [
        ("nemotron", NEMOTRON, None, "nemotron"),
        ("llama", NEMOTRON, "<extra_id_1>{{ messages }}", "nemotron"),
        ("llama", NEMOTRON, None, "plain"),
        ("llama", CHATML, None, "chatml"),
        ("llama", CHATML, IM + OPEN, "chatml"),
        ("llama", CHATML, DEFAULT + IM + OPEN, "chatml"),
        ("llama", CHATML, IM, "jinja"),
        ("llama", CHATML, OTHER_TOOLS + IM + OPEN, "jinja"),
        (
            "llama",
            CHATML,
            "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}{% endfor %}",
            "jinja",
        ),
        ("llama", CHATML, IM + OPEN + "{{ raise_exception('never') }}", "jinja"),
        ("nemotron", CHATML, IM + OPEN, "chatml"),
    ],
)
def test_choice(architecture, markers, template, name):
    assert chat_template_for(architecture, tokenizer_with(markers, template)).name == name
    assert chat_template_for(architecture, tokenizer_with(markers), template or "").name == name


def test_no_template_is_said():
    assert "no chat template" in chat_template_for("llama", tokenizer_with(NEMOTRON)).note


def test_a_template_that_cannot_be_read_is_an_error():
    with pytest.raises(TemplateError, match="cannot be read"):
        chat_template_for("llama", tokenizer_with(CHATML, "{% if %}"))


TURNS = {
    "nemotron": ("<extra_id_1>Assistant\n", "<extra_id_1>Tool\n22 <extra_id_1>\n"),
    "chatml": (
        "<|im_start|>assistant\n",
        "<|im_start|>user\n<tool_response>\n22 <extra_id_1>\n</tool_response><|im_end|>\n",
    ),
    "jinja": ("<|im_start|>assistant\n", "<|im_start|>tool\n22 <extra_id_1><|im_end|>\n"),
}


@pytest.mark.parametrize("name", TURNS)
def test_generation_prompt_and_tool_turn(name):
    tokenizer = tokenizer_with([*NEMOTRON, *CHATML], IM + OPEN)
    chat_template = CHAT_TEMPLATES[name](tokenizer)
    opening, turn = TURNS[name]
    assert chat_template.generation_prompt == opening
    result = chat_template.tool_result("22 <extra_id_1>")
    assert result.text == turn
    ids = result.encode(tokenizer, add_opening=False)
    assert ids.count(tokenizer.marker_id("<extra_id_1>")) == (1 if name == "nemotron" else 0)


def test_a_template_without_tool_turns_refuses_one():
    template = "{% for m in messages %}{% if m.role != 'tool' %}<|im_start|>{{ m.content }}{% endif %}{% endfor %}"
    with pytest.raises(TemplateError, match="no turn for a tool"):
        CHAT_TEMPLATES["jinja"](tokenizer_with(CHATML, template)).tool_result("22")


def test_calls_become_text_where_the_template_does_not_know_them():
    call = {
        "role": "assistant",
        "content": "ok",
        "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
    }
    made = CHAT_TEMPLATES["jinja"](tokenizer_with(CHATML, IM))
    text = made.render([{"role": "user", "content": "q"}, call]).text
    assert made.parse(text[text.index("ok") :].removesuffix("<|im_end|>\n"))[1][0].arguments == {
        "x": 1
    }


NAMED = "{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}[default]"
TOOLS = "{{ tools | tojson }}{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}[tools]"


def named(default: str | None, **others: str):
    tokenizer = tokenizer_with(CHATML, default)
    tokenizer.named_templates = others
    return chat_template_for("llama", tokenizer)


def test_a_template_for_tools_is_taken_where_tools_are_given():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages = [{"role": "user", "content": "hi"}]
    both = named(NAMED, tool_use=TOOLS, rag="R")
    assert both.render(messages).text.endswith("[default]")
    assert both.render(messages, tools=[]).text.endswith("[default]")
    assert both.render(messages, tools=[tool]).text.endswith("[tools]")
    assert named(NAMED, rag="R").render(messages, tools=[tool]).text.endswith("[default]")
    with pytest.raises(TemplateError, match=r"by name.*found tool_use"):
        named(None, tool_use=TOOLS).render(messages)


def test_templates_see_the_names_that_the_tokenizer_has():
    tokenizer = tokenizer_with(CHATML, "{{ bos_token }}{{ pad_token is defined }}")
    tokenizer.special_tokens = {"bos_token": "<b>", "eos_token": "<e>"}
    messages = [{"role": "user", "content": "hi"}]
    assert chat_template_for("llama", tokenizer).render(messages).text == "<b>False"
    tokenizer.special_tokens = {"pad_token": "<p>", "image_token": "<i>"}
    assert chat_template_for("llama", tokenizer).render(messages).text == "True"
