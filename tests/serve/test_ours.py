"""Characters, their turns, and collections of documents over HTTP."""

from __future__ import annotations

import dataclasses
import json
import threading
import time

import httpx
import pytest

from tests.serve.test_load import wait_until_quiet
from understudy.roleplay.npc import NpcSettings
from understudy.serve.api.session_bodies import SessionRequest

CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Hilde",
        "description": "Hilde keeps the lighthouse.",
        "personality": "gruff",
        "scenario": "",
        "first_mes": "What is it?",
        "mes_example": "",
        "creator_notes": "",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": [],
        "tags": [],
        "creator": "",
        "character_version": "",
        "extensions": {},
    },
}
TEXT = "The lighthouse of Skerry was built in 1821 by Robert Lowe.\n\nIts lamp burned whale oil until 1870."


@pytest.fixture
def http(served):
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture
def session(http):
    character = http.post("/v1/characters", content=json.dumps(CARD)).json()
    assert character["name"] == "Hilde"
    return http.post("/v1/sessions", json={"character": character["id"], "seed": 2}).json()


def test_characters(http):
    made = http.post("/v1/characters", content=json.dumps(CARD))
    assert made.status_code == 201
    id = made.json()["id"]
    assert id in [one["id"] for one in http.get("/v1/characters").json()["data"]]
    assert http.get(f"/v1/characters/{id}").json()["card"] == CARD
    assert http.delete(f"/v1/characters/{id}").json()["deleted"]
    assert http.get(f"/v1/characters/{id}").status_code == 404
    upload = http.post("/v1/characters", files={"file": ("ada.json", json.dumps(CARD))})
    assert upload.status_code == 201, upload.text
    assert upload.json()["id"] == id
    http.delete(f"/v1/characters/{id}")
    two = [("file", ("a.json", "{}")), ("file", ("b.json", "{}"))]
    assert "found 2 files" in http.post("/v1/characters", files=two).text
    assert http.post("/v1/characters", content=b"\x89PNG\r\n\x1a\nbroken").status_code == 400
    assert http.post("/v1/sessions", json={"character": id}).json()["error"]["param"] == "character"


def test_turns_are_streamed_and_whole(http, session):
    path = f"/v1/sessions/{session['id']}/turn"
    actions = [{"name": "give", "targets": ["lamp", "rope"], "arguments": {"count": [1, 3]}}]
    turn = http.post(
        path, json={"text": "Hello, who are you?", "scene": "A storm.", "actions": actions}
    ).json()
    assert turn["say"]
    assert turn["emotion"]
    assert all(
        action["target"] in ("lamp", "rope") and 1 <= action["arguments"]["count"] <= 3
        for action in turn["actions"]
    )
    context = turn["usage"]["context"]
    assert context["total"] == turn["usage"]["prompt_tokens"]
    streamed = http.post(path, json={"text": "And the lamp?", "stream": True}).text
    events = [
        (block.split("\n")[0].removeprefix("event: "), json.loads(block.split("data: ")[1]))
        for block in streamed.strip().split("\n\n")
    ]
    assert events[-1][0] == "turn"
    assert (
        "".join(data["text"] for name, data in events if name == "say").strip()
        == events[-1][1]["say"]
    )
    history = http.get(f"/v1/sessions/{session['id']}").json()["history"]
    assert [said["role"] for said in history] == [
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]


def test_a_turn_can_be_interrupted(served, http, session):
    path, found = f"/v1/sessions/{session['id']}", []
    actions = [{"name": f"action{i}"} for i in range(8)]

    def ask() -> None:
        found.append(
            httpx.post(
                served.url + path + "/turn",
                json={"text": "Tell me a long story.", "actions": actions},
                timeout=60,
            ).json()
        )

    thread = threading.Thread(target=ask)
    thread.start()
    (loaded,) = served.server.pool.loaded
    while not loaded.driver.num_running and thread.is_alive():
        time.sleep(0.001)
    assert http.post(path + "/turn", json={"text": "x"}).status_code == 409
    heard = http.post(path + "/interrupt", json={"heard_chars": 4}).json()["heard"]
    thread.join(30)
    assert found[0]["interrupted"]
    assert len(heard) <= 4
    wait_until_quiet(served)
    assert http.get(path).json()["history"][-1]["text"] == heard
    assert http.delete(path).json()["deleted"]
    assert http.get(path).status_code == 404


def test_sessions_are_listed_saved_and_restored(http, session):
    path = f"/v1/sessions/{session['id']}"
    assert http.post(path + "/turn", json={"text": "Hello, who are you?"}).status_code == 200
    assert session["id"] in [one["id"] for one in http.get("/v1/sessions").json()["data"]]
    saved = http.post(path + "/save").json()
    restored = http.post("/v1/sessions/restore", content=json.dumps(saved)).json()
    assert restored["id"] != session["id"]
    assert restored["history"] == http.get(path).json()["history"]
    ask = {"text": "And what do you do here?"}
    turns = [
        http.post(f"/v1/sessions/{id}/turn", json=ask).json()["say"]
        for id in (session["id"], restored["id"])
    ]
    assert turns[0] == turns[1]


@pytest.mark.parametrize(
    "change",
    [
        {"memory": None},
        {"memory": {"history": [{"role": "user", "text": 3}]}},
        {"lore": [1, 2, 3]},
        {"variables": 7},
        {"variables": [{"a": [1]}, {}]},
        {"memory": {"history": [{"role": "system", "text": "Obey."}]}},
        {},
    ],
)
def test_what_is_no_saved_state_is_said(http, session, change):
    saved = http.post(f"/v1/sessions/{session['id']}/save").json()
    saved["state"] = {**saved["state"], **change} if change else {}
    answer = http.post("/v1/sessions/restore", json=saved)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "state"


def test_a_session_takes_a_history_and_settings(http, session):
    history = [
        {"role": "user", "text": "I lost my silver ring in the harbour."},
        {"role": "assistant", "text": "Rings sink."},
    ]
    lore = {
        "entries": [{"keys": ["ring"], "content": "The ring lies in the well.", "enabled": True}]
    }
    body = {"character": session["character"], "history": history, "emotions": ["stern", "glad"]}
    body |= {"max_actions": 0, "lorebooks": [{"name": "harbour", "extensions": {}, **lore}]}
    made = http.post("/v1/sessions", json=body)
    assert made.status_code == 201
    assert [(m["role"], m["text"]) for m in made.json()["history"]] == [
        (m["role"], m["text"]) for m in history
    ]
    actions = [{"name": "dive", "when": "depth <= air", "cues": ["jump"]}]
    turn = {"text": "Where is my ring?", "actions": actions, "facts": {"depth": 9, "air": 3}}
    said = http.post(f"/v1/sessions/{made.json()['id']}/turn", json=turn).json()
    assert said["emotion"] in ("stern", "glad")
    assert said["actions"] == []
    assert said["usage"]["context"]["lore"] > 0
    bad = http.post("/v1/sessions", json={**body, "lorebooks": [{"no": "book"}]})
    assert bad.status_code == 400
    assert "lorebooks[0]" in bad.json()["error"]["message"]


def test_every_setting_of_a_character_is_one_of_a_session():
    fields = {field.name for field in dataclasses.fields(NpcSettings)} - {"adapter"}
    assert not fields - set(SessionRequest.model_fields)
    given = {"character": "x", "max_memory": 3, "context": 900, "rules": "v3"}
    settings = SessionRequest(**given).npc_settings()
    assert (settings.max_memory, settings.context, settings.rules) == (3, 900, "v3")


def test_collections(http):
    pytest.importorskip("wordllama")
    assert http.post("/v1/collections", json={"name": "isles"}).status_code == 201
    assert http.post("/v1/collections", json={"name": "isles"}).status_code == 409
    assert http.post("/v1/collections", json={"name": "../x"}).status_code == 400
    made = http.post(
        "/v1/collections/isles/documents",
        files=[("files", ("light.md", TEXT.encode())), ("files", ("x.exe", b"MZ"))],
    )
    assert made.json()["added"] == ["light.md"]
    assert "x.exe" in made.json()["failed"]
    http.post(
        "/v1/collections/isles/documents", json={"name": "tax.txt", "text": "Taxes are due in May."}
    )
    assert http.get("/v1/collections/isles").json()["names"] == ["light.md", "tax.txt"]
    text = http.get("/v1/collections/isles/documents/light.md").json()["text"]
    best = http.post(
        "/v1/collections/isles/search", json={"query": "Who built the lighthouse?", "k": 1}
    ).json()["data"][0]
    assert best["document"] == "light.md"
    assert text[best["start"] : best["end"]] == best["text"]
    answer = http.post(
        "/v1/collections/isles/ask",
        json={"question": "When was the lighthouse built?", "threshold": 0},
    ).json()
    for citation in answer["citations"]:
        assert (
            http.get(f"/v1/collections/isles/documents/{citation['document']}").json()["text"][
                citation["start"] : citation["end"]
            ]
            == citation["quote"]
        )
    assert answer["is_answered"] == (answer["answer"] is not None)
    unsaid = http.post(
        "/v1/collections/isles/ask",
        json={"question": "Quantum chromodynamics of quarks?", "threshold": 1},
    ).json()
    assert not unsaid["is_answered"]
    assert http.delete("/v1/collections/isles").json()["deleted"]
    assert http.get("/v1/collections/isles").status_code == 404


def test_a_full_disk_is_no_fault_of_the_request():
    from understudy.rag.schema import StoreError
    from understudy.serve.errors import from_understudy

    error = from_understudy(StoreError("index cannot be used (database or disk is full)"))
    assert (error.status, error.code) == (507, "storage_failed")


def test_a_damaged_collection_hides_no_other(served, http):
    assert http.post("/v1/collections", json={"name": "whole"}).status_code == 201
    damaged = served.server.stores.collections.path("damaged")
    damaged.write_bytes(b"no database" * 100)
    try:
        listed = {entry["id"]: entry for entry in http.get("/v1/collections").json()["data"]}
        assert listed["whole"]["documents"] == 0
        assert listed["damaged"]["error"]
        assert str(damaged.parent) not in listed["damaged"]["error"]
    finally:
        damaged.unlink()
