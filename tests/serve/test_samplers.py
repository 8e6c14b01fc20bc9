"""Samplers named as in llama.cpp reach the request on every route."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import understudy.serve
from understudy.serve.api import anthropic, responses
from understudy.serve.api.anthropic import MessagesRequest
from understudy.serve.api.openai_chat import ChatCompletionsBody
from understudy.serve.api.responses_bodies import ResponsesRequest
from understudy.serve.api.session_bodies import SessionRequest

GIVEN = {
    "dry_multiplier": 0.8,
    "dry_sequence_breakers": ["."],
    "xtc_probability": 0.5,
    "penalty_last_n": 7,
    "repetition_penalty": 1.1,
    "min_p": 0.05,
}


def test_responses():
    body = ResponsesRequest(input="Hello", **GIVEN)
    sampling = responses._ask(body, []).sampling
    assert {name: sampling[name] for name in GIVEN} == GIVEN


def test_sessions():
    settings = SessionRequest(
        character="x", top_p=0.5, frequency_penalty=0.1, stays_in_character=False, **GIVEN
    ).npc_settings()
    assert {name: getattr(settings, name) for name in GIVEN} == GIVEN
    assert (settings.top_p, settings.frequency_penalty) == (0.5, 0.1)
    assert (settings.stays_in_character, settings.stops_at_speakers) == (False, True)
    assert SessionRequest(character="x").npc_settings().given_samplers == {}


def test_messages(monkeypatch):
    body = MessagesRequest(max_tokens=3, messages=[{"role": "user", "content": "Hi"}], **GIVEN)
    assert body.draw_sampling()["dry_multiplier"] == 0.8
    assert anthropic._ask(body, body.draw_sampling()).sampling["penalty_last_n"] == 7


@pytest.mark.parametrize(
    "kind",
    [lambda **k: ResponsesRequest(input="x", **k), lambda **k: SessionRequest(character="x", **k)],
)
def test_out_of_range(kind):
    for wrong in ({"xtc_probability": 2}, {"dry_base": -1}, {"penalty_last_n": -2}):
        with pytest.raises(ValidationError):
            kind(**wrong)


def test_the_fields_of_the_page_are_those_of_the_routes_it_asks():
    page = Path(understudy.serve.__file__).parent / "page"
    panel, markup = (page / "panel.js").read_text(), (page / "index.html").read_text()
    tables = dict(re.findall(r"^const (REPETITION|FIELDS) = \{(.*?)\};$", panel, re.M))
    named = {
        table: dict(re.findall(r'"?([\w-]+)"?: "(\w+)"', text)) for table, text in tables.items()
    }
    fields = named["FIELDS"] | named["REPETITION"]
    assert {"temperature", "repetition_penalty", "dry_multiplier"} <= set(fields.values())
    assert set(fields.values()) <= set(ChatCompletionsBody.model_fields)
    assert set(named["REPETITION"].values()) <= set(SessionRequest.model_fields)
    assert all(f'id="{field}"' in markup for field in fields)
    built_in = set(
        re.findall(r"(\w+): [\d.]", re.search(r"BUILT_IN = \{(.*?)\n\};", panel, re.S)[1])
    )
    assert built_in <= set(fields.values())
