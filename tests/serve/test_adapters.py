"""Adapters over HTTP: by the model's name, by llama-server's field and routes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

import understudy
from tests.serve.conftest import live
from tests.support.adapters import random_adapter
from tests.support.random_model import babbler
from understudy.adapters import gguf

TEXTS = [f"The keeper of bridge {i} counts boats until night." for i in range(4)]
HOT = {"temperature": 1.3, "max_tokens": 12, "ignore_eos": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    babbler(folder).close()
    with understudy.load(folder, context=512, cache_tokens=8192, use_cache=False) as model:
        for seed, name in enumerate(("banter", "tools")):
            path = folder / f"{name}.gguf"
            gguf.write(random_adapter(model.spec, seed, strength=2.0), path, model.spec)
            model.adapters.add(name, path)
        with live({"base": model}) as running:
            running.model = model
            yield running


@pytest.fixture(autouse=True)
def nothing_acts(server):
    server.model.adapters.set_factors({})


def completion(server, i: int, model: str = "base", **more) -> dict:
    body = {"model": model, "prompt": TEXTS[i % 4], "seed": i, **HOT, **more}
    return httpx.post(server.url + "/v1/completions", json=body, timeout=120).json()


def text(answer: dict) -> str:
    return answer["choices"][0]["text"]


def ours(server, i: int, adapter) -> str:
    return server.model.generate(TEXTS[i % 4], seed=i, adapter=adapter, **HOT).text


def test_the_models_name_chooses(server):
    names = [
        entry.id for entry in openai.OpenAI(base_url=server.url + "/v1", api_key="x").models.list()
    ]
    assert names == ["base", "base:banter", "base:tools"]
    one = httpx.get(server.url + "/v1/models/base:tools").json()
    assert one["parent"] == "base"
    assert one["adapter"]["sha256"] == server.model.adapters.list()[1].sha256
    answers = {name: completion(server, 1, name) for name in names}
    assert {name: answer["model"] for name, answer in answers.items()} == {n: n for n in names}
    expected = [ours(server, 1, adapter) for adapter in ("", "banter", "tools")]
    assert [text(answer) for answer in answers.values()] == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_every_protocol_takes_the_name(server, route):
    body = {"temperature": 0, "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}]}
    if route == "/v1/responses":
        body = {"temperature": 0, "max_output_tokens": 16, "input": "Hi"}
    found = []
    for name in ("base", "base:banter"):
        answer = httpx.post(server.url + route, json={**body, "model": name})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == name
        found.append(
            answer.json().get("choices") or answer.json().get("content") or answer.json()["output"]
        )
    assert str(found[0]) != str(found[1])


def test_the_field_of_llama_server_sets_scales(server):
    plain = text(completion(server, 2))
    assert text(completion(server, 2, lora=[])) == plain
    assert text(completion(server, 2, lora=[{"id": 1, "scale": 0.5}])) == ours(
        server, 2, "tools:0.5"
    )
    assert text(completion(server, 2, lora=[{"id": 1}])) == plain  # a scale of 0
    body = {"prompt": TEXTS[2], "n_predict": 12, "temperature": 0, "ignore_eos": True}
    both = [{"id": 0, "scale": 0.5}, {"id": 1, "scale": 1}]
    answer = httpx.post(server.url + "/completion", json={**body, "lora": both}).json()
    mix = {"banter": 0.5, "tools": 1.0}
    expected = server.model.generate(TEXTS[2], max_tokens=12, ignore_eos=True, adapter=mix)
    assert answer["content"] == expected.text


def test_lora_adapters_are_listed_and_set(server):
    listed = httpx.get(server.url + "/lora-adapters").json()
    assert [set(entry) for entry in listed] == [
        {"id", "path", "scale", "task_name", "prompt_prefix"}
    ] * 2
    assert [entry["id"] for entry in listed] == [0, 1]
    assert listed[1]["path"].endswith("tools.gguf")
    plain = text(completion(server, 3))
    answer = httpx.post(server.url + "/lora-adapters", json=[{"id": 1, "scale": 0.25}])
    assert answer.json() == {"success": True}
    assert [e["scale"] for e in httpx.get(server.url + "/lora-adapters").json()] == [0.0, 0.25]
    assert text(completion(server, 3)) == ours(server, 3, "tools:0.25") != plain
    assert text(completion(server, 3, lora=[])) == plain
    httpx.post(server.url + "/lora-adapters", json=[])
    assert text(completion(server, 3)) == plain


@pytest.mark.parametrize(
    ("more", "status", "match"),
    [
        ({"model": "base:nobody"}, 404, "base has no adapter 'nobody'; there are: base:banter"),
        ({"model": "other:banter"}, 404, "there is no model 'other:banter'"),
        ({"lora": [{"id": 7, "scale": 1}]}, 400, "there is no adapter 7; there are: 0, 1"),
        ({"model": "base:tools", "lora": []}, 400, "in the model's name already"),
        ({"lora": {"id": 0}}, 400, "lora"),
        ({"lora": [{"id": 0, "scale": 1e9}]}, 400, "scale"),
    ],
)
def test_what_is_not_there_is_said(server, more, status, match):
    answer = httpx.post(server.url + "/v1/completions", json={"prompt": "Hi", **more})
    assert answer.status_code == status
    assert match in answer.json()["error"]["message"]


def test_unknown_numbers_are_refused_by_the_route_too(server):
    answer = httpx.post(server.url + "/lora-adapters", json=[{"id": 9, "scale": 1}])
    assert answer.status_code == 400
    assert httpx.post(server.url + "/lora-adapters", json={"id": 0}).status_code == 400


def test_clients_with_different_adapters_at_once_get_their_own(server):
    names = ["base", "base:banter", "base:tools"]
    jobs = [(i, names[i % 3]) for i in range(24)]
    alone = [text(completion(server, i, name)) for i, name in jobs]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda job: text(completion(server, *job)), jobs))
    assert together == alone
