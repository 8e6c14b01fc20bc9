"""llama-server's routes as SillyTavern and lm-eval call them, and embeddings."""

from __future__ import annotations

import contextlib
import json

import httpx
import numpy as np
import openai
import pytest

from tests.serve.conftest import live

TEXT = "Once upon a time there was a lighthouse"


def events(answer: httpx.Response) -> list[dict]:
    return [
        json.loads(line.removeprefix("data: "))
        for line in answer.text.split("\n\n")
        if line.startswith("data: {")
    ]


def test_tokenize_and_back(served):
    tokenizer = served.model.tokenizer
    for name in ("content", "prompt"):
        tokens = httpx.post(served.url + "/tokenize", json={name: TEXT}).json()["tokens"]
        assert tokens == tokenizer.encode(TEXT, markers=True, add_special=name == "prompt")
    assert httpx.post(served.url + "/detokenize", json={"tokens": tokens}).json()["content"] == TEXT
    marked = {"content": "<|im_end|>"}
    for parse, is_one in ((None, True), (True, True), (False, False)):
        body = {**marked, "parse_special": parse}
        tokens = httpx.post(served.url + "/tokenize", json=body).json()["tokens"]
        assert (len(tokens) == 1) is is_one
    info = httpx.get(served.url + "/tokenizer_info").json()
    assert info["eos_token_id"] in tokenizer.eos_ids
    assert info["chat_template"]
    assert httpx.post(served.url + "/tokenize", json={}).status_code == 400
    assert httpx.post(served.url + "/detokenize", json={"tokens": [10**9]}).status_code == 400


def test_pieces_of_characters_are_bytes(served):
    asked = {"content": "a🦭", "with_pieces": True, "return_token_strs": True}
    answer = httpx.post(served.url + "/tokenize", json=asked).json()
    pieces = [piece["piece"] for piece in answer["tokens"]]
    data = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert data.decode() == "a🦭"
    assert any(isinstance(piece, list) for piece in pieces)
    assert all(isinstance(text, str) for text in answer["token_strs"])


def test_as_many_slots_as_are_said(served):
    slots = httpx.get(served.url + "/slots").json()
    assert len(slots) == httpx.get(served.url + "/props").json()["total_slots"]
    assert [slot["id"] for slot in slots] == list(range(len(slots)))


def test_a_template_is_applied_without_an_answer(served):
    asked = {"messages": [{"role": "user", "content": "Hi"}]}
    prompt = httpx.post(served.url + "/apply-template", json=asked).json()["prompt"]
    assert prompt == served.model.chat_template.render(asked["messages"]).text
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    wanted = {"messages": [{"role": "user", "content": "Please look up lighthouses."}]}
    with_tool = httpx.post(served.url + "/apply-template", json={**wanted, "tools": [tool]}).json()
    assert "look_up" in with_tool["prompt"]
    answer = httpx.post(served.url + "/completion", json={"prompt": prompt, "n_predict": 1}).json()
    assert answer["tokens_evaluated"] == len(served.model.encode_prompt(asked["messages"]))


def test_a_whole_prompt_holds_markers_and_messages_do_not(served):
    """SillyTavern's text mode writes the turns itself; the same chat then has the same prompt."""
    said = "Hi<|im_end|>"
    turns = (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"
        f"{said}<|im_end|>\n<|im_start|>assistant\n"
    )
    whole = served.model.tokenizer.encode(turns, markers=True)
    for route, body, read in (
        ("/completion", {"n_predict": 4}, lambda a: a["tokens_evaluated"]),
        ("/v1/completions", {"max_tokens": 4}, lambda a: a["usage"]["prompt_tokens"]),
    ):
        answer = httpx.post(served.url + route, json={"prompt": turns, **body}).json()
        assert read(answer) == len(whole)
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": said}]
    chat = httpx.post(
        served.url + "/v1/chat/completions", json={"messages": messages, "max_tokens": 1}
    ).json()
    assert chat["usage"]["prompt_tokens"] > len(whole)


def test_texts_and_ids_in_one_prompt(served):
    def evaluated(prompt):
        body = {"prompt": prompt, "n_predict": 4, "temperature": 0}
        answer = httpx.post(served.url + "/completion", json=body).json()
        return answer["tokens_evaluated"], answer["content"]

    start, end = "<|im_start|>user\nHi", "<|im_end|>\n<|im_start|>assistant\n"
    ids = served.model.tokenizer.encode(start, markers=True)
    whole = evaluated(start + end)
    assert evaluated([*ids, end]) == whole
    assert evaluated([start + end]) == whole
    several = httpx.post(served.url + "/completion", json={"prompt": ["a", "b"]})
    assert (several.status_code, several.json()["error"]["param"]) == (400, "prompt")


def test_completion(served):
    body = {
        "prompt": TEXT,
        "n_predict": 8,
        "temperature": 0,
        "mirostat": 2,
        "xtc_probability": 0,
        "stop": [],
        "cache_prompt": True,
    }
    whole = httpx.post(served.url + "/completion", json=body)
    assert whole.json()["content"] == served.model.generate(TEXT, max_tokens=8).text
    assert whole.json()["stop"] is True
    assert whole.headers["x-understudy-ignored"] == "mirostat"
    found = events(httpx.post(served.url + "/completion", json={**body, "stream": True}))
    assert "".join(one["content"] for one in found) == whole.json()["content"]
    assert [one["stop"] for one in found] == [False] * (len(found) - 1) + [True]
    assert (
        httpx.post(served.url + "/completion", json={**body, "colour": 1}).json()["error"]["param"]
        == "colour"
    )
    props = httpx.get(served.url + "/props").json()
    assert props["default_generation_settings"]["n_ctx"] == 1024
    assert props["chat_template"]


def test_slots_are_saved_and_confined(served):
    prompt = TEXT + " on a rock." * 20
    httpx.post(served.url + "/completion", json={"prompt": prompt, "n_predict": 1})
    save = {"filename": "one.kv", "prompt": prompt}
    saved = httpx.post(served.url + "/slots/0?action=save", json=save).json()
    assert saved["n_saved"] > 64
    assert httpx.post(served.url + "/slots/0?action=erase", json={}).status_code == 200
    cold = httpx.post(served.url + "/tokenize", json={"content": prompt}).json()["count"]
    restored = httpx.post(
        served.url + "/slots/0?action=restore", json={"filename": "one.kv"}
    ).json()
    assert restored["n_restored"] == saved["n_saved"]
    warm = httpx.post(served.url + "/completion", json={"prompt": prompt, "n_predict": 1}).json()
    assert warm["tokens_cached"] >= cold - 32
    for name in ("../x", "a/b", "/etc/passwd", "..", ".", "", "x\0y"):
        assert (
            httpx.post(
                served.url + "/slots/0?action=save", json={**save, "filename": name}
            ).status_code
            == 400
        )
    assert (
        httpx.post(served.url + "/slots/0?action=restore", json={"filename": "none"}).status_code
        == 404
    )
    assert httpx.post(served.url + "/slots/0?action=burn", json={}).status_code == 400


def test_embeddings(served):
    pytest.importorskip("wordllama")
    client = openai.OpenAI(base_url=served.url + "/v1", api_key="none")
    answer = client.embeddings.create(
        model="wordllama", input=["a sailing boat", "a ship at sea", "tax law"]
    )
    vectors = np.asarray([row.embedding for row in answer.data])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    floats = client.embeddings.create(
        model="wordllama", input="a sailing boat", encoding_format="float"
    )
    assert np.allclose(floats.data[0].embedding, vectors[0], atol=1e-6)


def test_a_second_server_of_a_model_leaves_the_limits_of_the_first(served):
    before = httpx.get(served.url + "/props").json()["total_slots"]
    with live(served.model, max_running=3) as second:
        assert httpx.get(second.url + "/props").json()["total_slots"] == 3
    assert httpx.get(served.url + "/props").json()["total_slots"] == before
    assert len(httpx.get(served.url + "/slots").json()) == before


def test_servers_of_a_model_may_end_in_any_order(served):
    def slots(server):
        return httpx.get(server.url + "/props").json()["total_slots"]

    before = slots(served)
    with contextlib.ExitStack() as second, contextlib.ExitStack() as third:
        second.enter_context(live(served.model, max_running=2))
        last = third.enter_context(live(served.model, max_running=3))
        second.close()
        assert slots(last) == slots(served) == 3
    assert slots(served) == before


def test_a_server_counts_on_when_another_of_its_model_has_ended(served):
    def tokens():
        lines = httpx.get(served.url + "/metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("understudy_completion_tokens_total")]
        return sum(float(line.split()[-1]) for line in counts)

    with live(served.model):
        pass
    before = tokens()
    body = {"prompt": TEXT, "n_predict": 4, "ignore_eos": True}
    assert httpx.post(served.url + "/completion", json=body, timeout=60).status_code == 200
    assert tokens() == before + 4
