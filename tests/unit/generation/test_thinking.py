"""Thoughts before an answer: switched, held to a budget, and outside of the answer's grammar."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.thinker import thinker
from understudy.chat.session import Session, SessionSettings
from understudy.errors import UsageError
from understudy.generation.chat_request import AnswerForm, ChatRequest
from understudy.generation.prepare import prepare_chat
from understudy.generation.reader import read_reply
from understudy.generation.thinking import NO_THOUGHTS, Thinking, closed, starts_inside
from understudy.generation.tools import Tool
from understudy.text.grammar import Grammar

QUESTION = [{"role": "user", "content": "Hm?"}]
OPENING = Thinking(variables={"opens": True})
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": [1, 2]}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=[True, False], ids=["special", "visible"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("thinker")
    with thinker(folder, is_special=request.param) as loaded:
        yield loaded


def answers(model, chat, seeds=range(6), max_tokens=400):
    """(raw text, its reader) of some answers to one request."""
    for seed in seeds:
        sampling = {"seed": seed, "temperature": 1.0, "max_tokens": max_tokens}
        request = ChatRequest(**{"messages": QUESTION, **chat, "sampling": sampling})
        prepared = prepare_chat(model.chat_template, model.tokenizer, model.limits, request)
        raw = "".join(output.text for output in model.outputs(prepared.request))
        thinks = prepared.request.thinks
        yield (
            raw,
            read_reply(
                model.chat_template, raw, prepared.tools, is_strict=True, is_thinking=thinks
            ),
        )


def test_the_switch_is_the_template_s_own(model):
    template = model.chat_template
    off = NO_THOUGHTS.template_of(template).render(QUESTION)
    assert off.text.endswith("assistant\n<think>\n\n</think>\n\n")
    assert Thinking().template_of(template) is template
    assert Thinking(budget=0).template_of(template).render(QUESTION).text == off.text
    opened = OPENING.template_of(template)
    assert starts_inside(opened, opened.render(QUESTION))
    assert not starts_inside(template, off)


def test_data_that_end_like_an_opening_open_nothing(model):
    prompt = model.chat_template.render(
        [{"role": "user", "content": "<think>"}], add_generation_prompt=False
    )
    assert not starts_inside(model.chat_template, prompt)


@pytest.mark.parametrize("budget", [5, 40])
def test_a_budget_closes_the_thoughts(model, budget):
    thinking = Thinking(budget=budget, variables={"opens": True})
    for raw, read in answers(model, {"thinking": thinking}, max_tokens=120):
        before, mark, _ = raw.partition("</think>")
        before = re.sub(r"<[^<>]+>", ".", before)  # marks that it babbles
        assert mark or len(before) < budget
        assert len(before.removesuffix("\n")) <= budget  # a token is at most a character here
        assert re.sub(r"<[^<>]+>", ".", read.reasoning) == before.strip()


def test_a_grammar_begins_behind_the_thoughts(model):
    chat = {
        "answer": AnswerForm(json_schema=SCHEMA),
        "thinking": Thinking(budget=12, variables={"opens": True}),
    }
    for raw, read in answers(model, chat):
        assert raw.count("</think>\n\n{") == 1
        assert json.loads(read.text)["a"] in (1, 2)


def test_calls_come_behind_thoughts_that_the_model_opens_or_not(model):
    tools = (Tool("go", "", SCHEMA),)
    chat = {"tools": tools, "choice": "required", "is_parallel": False}
    chat |= {"thinking": Thinking(budget=9)}
    for raw, read in answers(model, chat, seeds=range(12)):
        assert raw.startswith(("<think>", "<tool_call>"))
        assert [call.name for call in read.calls] == ["go"]
        assert read.calls[0].arguments["a"] in (1, 2)
        assert read.text == ""
    mask = prepare_chat(
        model.chat_template,
        model.tokenizer,
        model.limits,
        ChatRequest(QUESTION, tools, "required", thinking=Thinking()),
    ).request.make_mask()
    bits = mask.allowed([])
    opening = [model.tokenizer.marker_id(text) for text in ("<think>", "<tool_call>")]
    assert [
        token
        for token in range(model.tokenizer.vocab_size)
        if bits[token // 32] >> (token % 32) & 1
    ] == sorted(opening)


def test_an_answer_to_a_grammar_of_its_own_is_given_at_once(model):
    mask = Grammar(model.tokenizer).json_schema(SCHEMA)
    reply = model.generate(QUESTION, make_mask=mask, max_tokens=60)
    assert (json.loads(reply.text)["a"] in (1, 2), reply.reasoning) == (True, "")
    reply = model.generate(
        QUESTION,
        make_mask=mask,
        max_tokens=200,
        reasoning_budget=8,
        thinking=True,
        temperature=1.0,
        seed=3,
    )
    assert json.loads(reply.text)["a"] in (1, 2)


def test_what_a_template_opens_all_the_same_is_closed(model):
    opened = OPENING.template_of(model.chat_template)
    prompt = opened.render(QUESTION)
    ended = closed(opened, prompt, NO_THOUGHTS)
    assert ended.text == prompt.text + "\n</think>\n\n"
    assert closed(opened, prompt, Thinking()) is prompt
    assert not starts_inside(opened, ended)


def test_thoughts_of_a_session_stay_apart_and_are_handed_to_the_template(model):
    settings = SessionSettings(reserve=80, reasoning_budget=10, thinking=True)
    session = Session(model, settings=settings, temperature=1.0, seed=1)
    reply = session.say("Hello")
    assert "<think>" not in reply.text
    assert session.history.turns[-1].reasoning == reply.reasoning
    assert len(reply.reasoning) <= 10


def test_what_cannot_be():
    with pytest.raises(UsageError, match="budget"):
        Thinking(budget=-1)
    with pytest.raises(UsageError, match="budget"):
        SessionSettings(reasoning_budget=-3)


def test_what_a_template_does_not_know_is_said(model):
    notes = Thinking(variables={"colour": "red"}).notes_of(model.chat_template)
    assert notes == ("chat_template_kwargs: the template does not know colour",)
