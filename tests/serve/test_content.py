"""The content guard behind every route: what a stopped message or answer looks like, and that
nothing of it is ever sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

import anthropic
import httpx
import openai
import pytest

import understudy
from tests.serve.conftest import MODEL, live
from tests.serve.test_ours import CARD, TEXT
from understudy.cli import main
from understudy.generation.moderation import Flag
from understudy.judge.safety.moderation import Guard
from understudy.serve.pool import Pool
from understudy.serve.settings import Settings

STORY = [{"role": "user", "content": "Tell me about the sea in four sentences."}]
BAD = "How was he murdered?"
NOTICE = "Not here."


class Listed:
    """A guard whose words a test chooses; notes what it was asked."""

    checks, notice = ("words",), NOTICE

    def __init__(self):
        self.words, self.asked, self.by_sentence, self.error = ("murdered",), [], True, None

    def check(self, text, side):
        self.asked.append((side, text))
        if self.error is not None:
            raise self.error
        return [Flag("Violence", "words", word) for word in self.words if word in text]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    guard = Listed()
    with understudy.load(MODEL, context=1024, cache_tokens=4096) as model:
        app_guard = {"guard": lambda _: guard}
        with live(model, app=app_guard, state_folder=tmp_path_factory.mktemp("state")) as server:
            server.guard = guard
            yield server


@pytest.fixture
def guard(running):
    guard = running.guard
    guard.words, guard.asked, guard.by_sentence, guard.error = ("murdered",), [], True, None
    for loaded in running.server.pool.loaded:
        loaded.verdicts.clear()
    return guard


@pytest.fixture
def client(running):
    return openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0)


@pytest.fixture
def claude(running):
    return anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0)


@pytest.fixture
def http(running):
    with httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def story(running):
    """What the model says, and a word that comes first after its first sentence."""
    text = running.model.generate(STORY, max_tokens=80, temperature=0.0).text
    first, _, rest = text.partition(". ")
    word = next(
        word.strip(".,") for word in rest.split() if len(word) > 4 and word.strip(".,") not in first
    )
    return text, first + ". ", word


SETTINGS = {"model": MODEL, "max_tokens": 80, "temperature": 0}
INPUT = {"where": "input", "categories": [{"category": "Violence", "by": "words"}]}
OUTPUT = {**INPUT, "where": "output"}


def test_what_passes_is_as_without_a_guard(client, guard, story):
    answer = client.chat.completions.create(messages=STORY, **SETTINGS)
    assert answer.choices[0].message.content == story[0]
    assert answer.usage.guard == {"checks": ["words"], "stopped": []}
    chunks = list(
        client.chat.completions.create(messages=STORY, stream=True, logprobs=True, **SETTINGS)
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == story[0]
    tokens = [
        one.token
        for chunk in chunks
        if chunk.choices[0].logprobs
        for one in chunk.choices[0].logprobs.content
    ]
    assert "".join(tokens).strip() == story[0]
    assert len([piece for piece in pieces if piece]) >= 3


def test_a_message_is_stopped_before_the_model_sees_it(client, guard):
    answer = client.chat.completions.create(
        messages=[{"role": "user", "content": BAD}], n=2, **SETTINGS
    )
    for choice in answer.choices:
        assert (choice.finish_reason, choice.message.content, choice.message.refusal) == (
            "content_filter",
            None,
            NOTICE,
        )
        assert choice.guard == INPUT
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (0, 0)
    assert answer.usage.guard["stopped"] == [{"index": i, **INPUT} for i in (0, 1)]
    chunks = list(
        client.chat.completions.create(
            messages=[{"role": "user", "content": BAD}], stream=True, **SETTINGS
        )
    )
    assert [
        chunk.choices[0].delta.refusal for chunk in chunks if chunk.choices[0].delta.refusal
    ] == [NOTICE]
    assert not any(chunk.choices[0].delta.content for chunk in chunks)
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].choices[0].guard) == (
        "content_filter",
        INPUT,
    )


def test_only_what_users_wrote_is_checked_on_the_way_in(client, guard):
    messages = [
        {"role": "system", "content": "murdered"},
        {"role": "assistant", "content": "murdered"},
        *STORY,
    ]
    assert (
        client.chat.completions.create(messages=messages, **SETTINGS).choices[0].finish_reason
        != "content_filter"
    )
    assert [text for side, text in guard.asked if side == "input"] == [STORY[0]["content"]]
    earlier = [{"role": "user", "content": BAD}, {"role": "assistant", "content": "-"}, *STORY]
    assert (
        client.chat.completions.create(messages=earlier, **SETTINGS).choices[0].finish_reason
        == "content_filter"
    )


def test_an_answer_is_stopped_at_its_sentence_and_nothing_of_it_is_sent(client, http, guard, story):
    text, first, word = story
    guard.words = (word,)
    whole = http.post(
        "/v1/chat/completions", json={"messages": STORY, "logprobs": True, **SETTINGS}
    )
    choice = whole.json()["choices"][0]
    assert (
        choice["message"]["content"],
        choice["message"]["refusal"],
        choice["finish_reason"],
    ) == (
        None,
        NOTICE,
        "content_filter",
    )
    assert choice["guard"] == OUTPUT
    assert whole.json()["usage"]["completion_tokens"] > 0
    assert word not in whole.text
    streamed = http.post(
        "/v1/chat/completions",
        json={"messages": STORY, "stream": True, "logprobs": True, **SETTINGS},
    ).text
    assert word not in streamed
    chunks = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
    sent = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert sent.strip()
    assert text.startswith(sent)
    assert len(sent) >= len(first.strip())
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_a_guard_that_reads_the_whole_holds_all_of_it_back(http, guard, story):
    guard.words, guard.by_sentence = (story[2],), False
    streamed = http.post(
        "/v1/chat/completions", json={"messages": STORY, "stream": True, **SETTINGS}
    ).text
    chunks = [json.loads(line[6:]) for line in streamed.split("\n\n") if line.startswith("data: {")]
    assert not any(chunk["choices"][0]["delta"].get("content") for chunk in chunks)
    assert [side for side, _ in guard.asked] == ["input", "output"]


def test_other_answers_of_a_request_go_on(client, guard):
    guard.words = ("7" * 99,)
    answer = client.chat.completions.create(
        messages=STORY, n=3, seed=4, **{**SETTINGS, "temperature": 1.2}
    )
    texts = [choice.message.content for choice in answer.choices]
    guard.words = (
        next(word for word in texts[1].split() if word not in texts[0] and word not in texts[2]),
    )
    again = client.chat.completions.create(
        messages=STORY, n=3, seed=4, **{**SETTINGS, "temperature": 1.2}
    )
    assert [choice.message.content for choice in again.choices] == [texts[0], None, texts[2]]
    assert [stop["index"] for stop in again.usage.guard["stopped"]] == [1]


def test_the_engine_stops_writing_what_is_stopped(client, running, guard, story):
    guard.words = (story[2],)
    answer = client.chat.completions.create(
        messages=STORY, **{**SETTINGS, "max_tokens": 600, "extra_body": {"ignore_eos": True}}
    )
    assert answer.choices[0].finish_reason == "content_filter"
    assert 0 < answer.usage.completion_tokens < 300


def test_calls_are_checked_with_their_arguments(client, guard):
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["murdered"]}},
        "required": ["city"],
    }
    tools = [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Weather.", "parameters": schema},
        }
    ]
    answer = client.chat.completions.create(
        messages=STORY, tools=tools, tool_choice="required", **SETTINGS
    )
    assert (answer.choices[0].finish_reason, answer.choices[0].message.tool_calls) == (
        "content_filter",
        None,
    )
    chunks = list(
        client.chat.completions.create(
            messages=STORY, tools=tools, tool_choice="required", stream=True, **SETTINGS
        )
    )
    assert not any(chunk.choices[0].delta.tool_calls for chunk in chunks)


def test_anthropic_says_refusal(claude, guard, story):
    settings = {"model": MODEL, "max_tokens": 80, "extra_body": {"temperature": 0}}
    message = claude.messages.create(messages=[{"role": "user", "content": BAD}], **settings)
    assert (message.stop_reason, message.content, message.stop_details.type) == (
        "refusal",
        [],
        "refusal",
    )
    assert "Violence (words)" in message.stop_details.explanation
    guard.words = (story[2],)
    message = claude.messages.create(messages=STORY, **settings)
    assert (message.stop_reason, message.content) == ("refusal", [])
    assert message.usage.guard["stopped"] == [{"index": 0, **OUTPUT}]
    with claude.messages.stream(messages=STORY, **settings) as stream:
        sent = "".join(stream.text_stream)
        assert stream.get_final_message().stop_reason == "refusal"
    assert sent
    assert story[0].startswith(sent)
    assert story[2] not in sent


def test_responses_are_incomplete_and_forget_it(client, running, guard, story):
    settings = {"model": MODEL, "max_output_tokens": 80, "temperature": 0}
    first = client.responses.create(input="Say hello.", **settings)
    stopped = client.responses.create(input=BAD, previous_response_id=first.id, **settings)
    assert (stopped.status, stopped.incomplete_details.reason) == ("incomplete", "content_filter")
    assert [part.refusal for part in stopped.output[0].content] == [NOTICE]
    after = client.responses.create(input="And again?", previous_response_id=stopped.id, **settings)
    beside = client.responses.create(input="And again?", previous_response_id=first.id, **settings)
    assert after.output_text == beside.output_text
    guard.words = (story[2],)
    events = list(client.responses.create(input=STORY[0]["content"], stream=True, **settings))
    assert [one.refusal for one in events if one.type == "response.refusal.done"] == [NOTICE]
    sent = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert sent
    assert story[2] not in "".join(str(one) for one in events)
    assert (events[-1].type, events[-1].response.incomplete_details.reason) == (
        "response.incomplete",
        "content_filter",
    )


def test_completions_and_llama_servers_route(client, http, guard):
    prompts = ["The sea is", BAD, "The sky is"]
    settings = {"model": MODEL, "max_tokens": 12, "temperature": 0}
    answer = client.completions.create(prompt=prompts, logprobs=1, echo=True, **settings)
    assert [choice.finish_reason for choice in answer.choices] == [
        "length",
        "content_filter",
        "length",
    ]
    assert (answer.choices[1].text, answer.choices[1].logprobs, answer.choices[1].guard) == (
        "",
        None,
        INPUT,
    )
    text = http.post(
        "/completion", json={"prompt": "The sea is", "n_predict": 24, "temperature": 0}
    ).json()["content"]
    guard.words = (text.split()[-1],)
    for stream in (False, True):
        stopped = http.post(
            "/completion",
            json={"prompt": "The sea is", "n_predict": 24, "temperature": 0, "stream": stream},
        ).text
        assert guard.words[0] not in stopped
        document = json.loads(stopped.split("data: ")[-1])
        assert (document["stop"], document["stop_type"], document["guard"]) == (
            True,
            "content_filter",
            OUTPUT,
        )


def test_characters_deflect(http, guard):
    character = http.post("/v1/characters", content=json.dumps(CARD)).json()
    session = http.post("/v1/sessions", json={"character": character["id"], "seed": 2}).json()
    path = f"/v1/sessions/{session['id']}"
    turn = http.post(f"{path}/turn", json={"text": BAD}).json()
    assert (turn["guard"], turn["actions"], turn["usage"]["guard"]["stopped"][0]["where"]) == (
        INPUT,
        [],
        "input",
    )
    assert turn["say"]
    assert http.post(f"{path}/interrupt", json={"heard_chars": 3}).status_code == 200
    assert http.get(path).json()["history"] == session["history"]
    said = http.post(f"{path}/turn", json={"text": "Who are you?"}).json()
    assert "guard" not in said
    guard.words = (max(said["say"].split(), key=len).strip(".,!?"),)
    again = http.post("/v1/sessions", json={"character": character["id"], "seed": 2}).json()
    stopped = http.post(
        f"/v1/sessions/{again['id']}/turn", json={"text": "Who are you?", "stream": True}
    ).text
    turn = json.loads(stopped.split("event: turn\ndata: ")[1])
    assert turn["guard"] == OUTPUT
    assert guard.words[0] not in turn["say"]


def test_documents(http, guard):
    http.post("/v1/collections", json={"name": "light"})
    http.post("/v1/collections/light/documents", json={"name": "skerry", "text": TEXT})
    question = {"question": "Who built the lighthouse of Skerry?", "temperature": 0, "threshold": 0}
    answer = http.post("/v1/collections/light/ask", json=question).json()
    assert answer["is_answered"]
    guard.words = (answer["answer"].split()[-1].strip("."),)
    stopped = http.post("/v1/collections/light/ask", json=question)
    assert (stopped.json()["is_answered"], stopped.json()["why"], stopped.json()["guard"]) == (
        False,
        NOTICE,
        OUTPUT,
    )
    assert guard.words[0] not in stopped.text
    guard.words = ("murdered",)
    assert http.post("/v1/collections/light/ask", json={"question": BAD}).json()["guard"] == INPUT


def test_it_is_counted_and_said_to_be_on(http, guard, client):
    client.chat.completions.create(messages=[{"role": "user", "content": BAD}], **SETTINGS)
    metrics = http.get("/metrics").text
    line = next(
        line
        for line in metrics.splitlines()
        if line.startswith("understudy_guard_stops_total{") and 'side="input"' in line
    )
    assert 'by="words",category="Violence"' in line
    assert "understudy_guard_checks_total" in metrics
    assert http.get("/v1/models").json()["data"][0]["guard"] == {"checks": ["words"]}
    assert http.get("/ps").json()["models"][0]["guard"] == ["words"]


def test_a_conversation_is_not_checked_again_with_each_turn(client, guard):
    for _ in range(2):
        client.chat.completions.create(messages=STORY, **{**SETTINGS, "max_tokens": 2})
    assert [side for side, _ in guard.asked].count("input") == 1


def test_a_guard_that_fails_lets_nothing_out(http, guard, running):
    guard.error = RuntimeError("no guard today")
    answer = http.post("/v1/chat/completions", json={"messages": STORY, **SETTINGS})
    assert answer.status_code == 500
    guard.error = None
    http.post(
        "/v1/chat/completions", json={"messages": STORY, **SETTINGS, "max_tokens": 1}
    )  # its input is known then
    guard.error = RuntimeError("no guard today")
    streamed = http.post(
        "/v1/chat/completions", json={"messages": STORY, "stream": True, **SETTINGS}
    ).text
    assert "internal_error" in streamed
    assert '"content":"' not in streamed.replace('"content":""', "")


def test_a_model_whose_guard_cannot_be_made_is_not_served(running):
    def fail(_):
        raise ValueError("no guard")

    async def ask_twice():
        pool = Pool({MODEL: running.model}, Settings())
        pool.on_load = fail
        for _ in range(2):
            with pytest.raises(ValueError, match="no guard"):
                await pool.take(MODEL)

    asyncio.run(ask_twice())


def test_the_model_itself_as_a_guard(running, client, guard, monkeypatch):
    """Forks run beside answers, on the same engine: no deadlock, no wrong verdict."""
    served = running.server.pool.loaded[0]
    monkeypatch.setattr(
        served, "guard", Guard(model=served.model, threshold=0.9999, lexicon={}, pii=False)
    )
    assert (
        client.chat.completions.create(messages=STORY, **SETTINGS).choices[0].finish_reason
        != "content_filter"
    )
    for loaded in running.server.pool.loaded:
        loaded.verdicts.clear()
    monkeypatch.setattr(
        served, "guard", Guard(model=served.model, threshold=0.0001, lexicon={}, pii=False)
    )
    answer = client.chat.completions.create(messages=STORY, **SETTINGS)
    assert answer.choices[0].guard["categories"][0]["by"] == "model"


def test_without_a_guard_nothing_is_checked_or_said(served):
    body = {"messages": [{"role": "user", "content": BAD}], "max_tokens": 4}
    answer = httpx.post(served.url + "/v1/chat/completions", json=body, timeout=60).json()
    assert answer["choices"][0]["finish_reason"] != "content_filter"
    assert "guard" not in answer["usage"]
    assert "guard" not in httpx.get(served.url + "/v1/models").json()["data"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--guard", "prayer"], "expected some of words, pii, model"),
        (["--guard-category", "Violence"], "the guard is off"),
        (["--guard", "words", "--guard-category", "Rudeness"], "no category of AEGIS 2.0"),
        (["--guard", "words", "--guard-words", "none"], "cannot be read"),
        (["--guard", "model", "--guard-threshold", "2"], "out of range"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "chat"])
def test_wrong_settings_are_said_before_anything_starts(command, words, message, capsys):
    with contextlib.suppress(SystemExit):  # argparse's own way
        assert main([command, *words]) == 2
    assert message in capsys.readouterr().err
