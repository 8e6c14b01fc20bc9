"""Conversations that the page keeps on the server: by client, searched, whole or refused."""

from __future__ import annotations

import httpx
import pytest

import understudy
from tests.serve.conftest import MODEL, live
from understudy.serve.keys import new_key


def _said(title, *texts):
    nodes = {
        str(i): {"id": str(i), "role": "user", "content": text} for i, text in enumerate(texts)
    }
    return {"title": title, "updated": len(title), "nodes": nodes, "scene": None}


def test_put_list_find_and_delete(served):
    with httpx.Client(base_url=served.url) as client:
        for id, said in (
            ("one", _said("Ships", "The FERRY leaves.")),
            ("two", _said("Owls", "Hoo")),
        ):
            assert client.put(f"/v1/conversations/{id}", json=said).status_code == 200
        listed = client.get("/v1/conversations").json()["data"]
        assert [one["id"] for one in listed] == ["one", "two"]  # the newest first
        found = client.get("/v1/conversations", params={"search": "ferry"}).json()["data"]
        assert [one["title"] for one in found] == ["Ships"]
        assert client.get("/v1/conversations/one").json() == _said("Ships", "The FERRY leaves.")
        assert client.put("/v1/conversations/one", json=_said("Boats")).status_code == 200
        assert client.get("/v1/conversations/one").json()["title"] == "Boats"
        assert client.delete("/v1/conversations/one").json()["deleted"] is True
        assert client.delete("/v1/conversations/one").status_code == 404
        client.delete("/v1/conversations/two")


@pytest.mark.parametrize(
    ("id", "body"), [("one", "[]"), ("one", "{"), ("a.b", "{}"), ("a" * 65, "{}")]
)
def test_what_is_no_conversation_is_refused(served, id, body):
    headers = {"Content-Type": "application/json"}
    response = httpx.put(f"{served.url}/v1/conversations/{id}", content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


def test_clients_do_not_see_each_other_and_a_server_without_a_folder_says_so(tmp_path):
    keys = {name: new_key(tmp_path / "keys", name) for name in ("anna", "ben")}
    with understudy.load(MODEL, context=256) as model:
        with live(model, key_file=tmp_path / "keys", state_folder=tmp_path / "state") as guarded:
            anna, ben = (
                httpx.Client(base_url=guarded.url, headers={"Authorization": f"Bearer {key}"})
                for key in keys.values()
            )
            anna.put("/v1/conversations/x", json=_said("Anna's"))
            assert len(anna.get("/v1/conversations").json()["data"]) == 1
            assert ben.get("/v1/conversations").json()["data"] == []
            assert ben.get("/v1/conversations/x").status_code == 404
        with live(model) as plain:
            response = httpx.get(f"{plain.url}/v1/conversations")
            assert response.status_code == 409
            assert "without a state folder" in response.json()["error"]["message"]


def test_a_document_is_taken_out_of_its_collection(served):
    pytest.importorskip("wordllama")
    with httpx.Client(base_url=served.url) as client:
        client.post("/v1/collections", json={"name": "away"})
        at = "/v1/collections/away"
        client.post(f"{at}/documents", json={"name": "a.txt", "text": "The gate is green."})
        assert client.delete(f"{at}/documents/a.txt").json()["deleted"] is True
        assert client.get(at).json()["names"] == []
        assert client.delete(f"{at}/documents/a.txt").status_code == 404
        client.delete(at)
