"""The workbench's routes: attacking, judging blindly, nothing lost, nobody else may ask."""

from __future__ import annotations

import json
import threading
import time

import httpx
import pytest

from tests.unit.judge.redteam.made import rated
from tests.unit.judge.redteam.test_conversation import CARD, ROPE
from tests.unit.judge.safety.fakes import HOSTILE
from understudy.judge.redteam.web import access


@pytest.fixture
def client(bench):
    with httpx.Client(base_url=bench.url, timeout=60) as opened:
        yield opened


def begun(client, **setup):
    answer = client.post("/api/conversations", json={"by": "rater-a", "setup": setup})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def events(text):
    """[name, data] of a stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(
            line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")
        )
        if "data" in lines:
            found.append((lines.get("event", "message"), json.loads(lines["data"])))
    return found


def test_a_conversation_from_setup_to_verified_fix(client, bench):
    goal = client.post(
        "/api/goals", json={"by": "rater-a", "title": "g", "category": "Violence", "plan": "p"}
    ).json()
    made = client.post(
        "/api/conversations",
        json={
            "by": "rater-a",
            "goal": goal["id"],
            "title": "t",
            "setup": {
                "system": "s",
                "character": CARD,
                "tools": [ROPE],
                "documents": [{"name": "a", "text": "b"}],
                "sampling": {"seed": 3},
            },
        },
    )
    id = made.json()["id"]
    said = events(
        client.post(
            f"/api/conversations/{id}/say", json={"text": "lock", "converters": ["base64"]}
        ).text
    )
    assert said[0][0] == "begun"
    assert said[0][1]["sent"] == "bG9jaw=="
    assert "".join(data["text"] for name, data in said if name == "piece") == "I say 1"
    assert (said[-1][0], said[-1][1]["state"], said[-1][1]["answer"]) == ("turn", "said", "I say 1")
    shown = client.get(f"/api/conversations/{id}?rater=rater-a").json()
    assert (
        shown["opening"],
        shown["is_here"],
        shown["is_rated"],
        shown["setup"]["sampling"]["seed"],
    ) == (
        "Good day, User.",
        True,
        False,
        3,
    )
    body = {
        "rater": "rater-a",
        "severity": "high",
        "category": "Violence",
        "first_harm": 1,
        "note": "n",
    }
    assert client.post(f"/api/conversations/{id}/ratings", json=body).status_code == 201
    again = events(client.post(f"/api/conversations/{id}/rerun", json={"by": "rater-a"}).text)
    assert [name for name, _ in again] == ["conversation", "turn"]
    new = again[0][1]["id"]
    verified = {"by": "rater-a", "status": "verified", "rerun": new}
    assert client.post(f"/api/conversations/{id}/fixes", json=verified).status_code == 400
    assert (
        client.post(
            f"/api/conversations/{new}/ratings", json={"rater": "rater-a", "severity": "none"}
        ).status_code
        == 201
    )
    assert (
        client.post(f"/api/conversations/{id}/fixes", json=verified).json()["status"] == "verified"
    )
    seen = client.get(f"/api/conversations/{id}?rater=rater-a").json()
    assert seen["fix"]["status"] == "verified"
    assert seen["children"] == [{"id": new, "relation": "rerun", "model": "fake", "by": "rater-a"}]
    overview = client.get("/api/overview?rater=rater-a").json()
    assert overview["summary"]["severity"] == {
        "none": 1,
        "low": 0,
        "medium": 0,
        "high": 1,
        "critical": 0,
    }
    assert client.get("/api/goals").json()["data"][0]["conversations"] == 2
    assert client.post(f"/api/goals/{goal['id']}", json={"by": "rater-b", "is_done": True}).json()[
        "is_done"
    ]


def test_nothing_of_others_is_told_before_ones_own_rating(client, bench):
    conversation = rated(bench.store, ("rater-a", "critical", "Malware", "2"))
    bench.store.set_fix(conversation.id, "fixed", by="rater-a", link="https://example.org/secret-7")

    def told():
        paths = (f"/api/conversations/{conversation.id}", "/api/conversations", "/api/overview")
        return "".join(client.get(f"{path}?rater=rater-b").text for path in paths)

    for secret in ("critical", "Malware", "secret-7"):
        assert secret not in told().replace('"critical":0', "")
    answer = client.post(
        f"/api/conversations/{conversation.id}/ratings",
        json={"rater": "rater-b", "severity": "none"},
    ).json()
    assert {one["rater"] for one in answer["ratings"]} == {"rater-a", "rater-b"}
    for secret in ("critical", "Malware", "secret-7"):
        assert secret in told()
    assert client.get("/api/overview?rater=rater-b").json()["agreement"]["rated_by_two"] == 1


def test_stopping_and_branching(client, bench):
    bench.model._says, bench.model.pause = (lambda _: " ".join(map(str, range(2000)))), 0.02
    id = begun(client)
    with client.stream("POST", f"/api/conversations/{id}/say", json={"text": "count"}) as answer:
        lines = answer.iter_lines()
        while "3 " not in next(lines):
            pass
        with httpx.Client(base_url=bench.url) as other:
            assert other.get(f"/api/conversations/{id}?rater=x").json()["is_speaking"]
            busy = other.post(f"/api/conversations/{id}/say", json={"text": "me too"})
            assert (busy.status_code, "speaking" in busy.text) == (400, True)
            assert (
                other.post(
                    f"/api/conversations/{id}/ratings", json={"rater": "x", "severity": "none"}
                ).status_code
                == 409
            )
            assert other.post(f"/api/conversations/{id}/stop", json={}).json() == {"stopped": True}
        rest = list(lines)
    assert len(rest) < 200
    (turn,) = bench.store.turns(id)
    assert turn.state == "interrupted"
    assert turn.answer.startswith("0 1 2 3")
    bench.model.pause = 0.0
    branch = client.post(
        f"/api/conversations/{id}/branch", json={"by": "rater-b", "keep": 0}
    ).json()["id"]
    assert client.get(f"/api/conversations/{branch}").json()["parent"] == id
    assert client.post(f"/api/conversations/{id}/stop", json={}).json() == {"stopped": False}


def test_a_page_that_goes_away_stops_its_answer_and_keeps_it(client, bench):
    bench.model._says, bench.model.pause = (lambda _: " ".join(map(str, range(5000)))), 0.02
    id = begun(client)
    with client.stream("POST", f"/api/conversations/{id}/say", json={"text": "count"}) as answer:
        next(answer.iter_bytes())
    deadline = time.monotonic() + 20
    while bench.store.turns(id)[0].state == "speaking" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert bench.store.turns(id)[0].state == "interrupted"
    bench.model._says, bench.model.pause = (lambda _: "free again"), 0.0
    said = events(client.post(f"/api/conversations/{id}/say", json={"text": "again"}).text)
    assert said[-1][1]["answer"] == "free again"


def test_hostile_answers_come_as_json(client, bench):
    bench.model._says = lambda _: HOSTILE
    id = begun(client, system=HOSTILE[:50].replace("\ud800", ""))
    answer = client.post(f"/api/conversations/{id}/say", json={"text": "x"})
    said = events(answer.text)
    assert said[-1][1]["answer"].strip() == HOSTILE.replace("\ud800", "\ufffd").strip()
    assert "<script>" in client.get(f"/api/conversations/{id}").json()["turns"][0]["answer"]
    assert (
        client.get(f"/api/conversations/{id}")
        .headers["content-type"]
        .startswith("application/json")
    )


def test_what_does_not_fit_is_told_in_the_stream_and_kept(client, bench):
    id = begun(client)
    said = events(client.post(f"/api/conversations/{id}/say", json={"text": "word " * 5000}).text)
    assert "fit" in said[-1][1]["error"]["message"]
    assert bench.store.turns(id)[0].state == "failed"


def test_export_and_import(client, bench):
    rated(bench.store, ("rater-a", "none"))
    text = client.get("/api/export").text
    assert len(text.splitlines()) == 6
    assert client.post("/api/import", content=text).json()["new"] == {
        "goal": 0,
        "conversation": 0,
        "turn": 0,
        "rating": 0,
        "fix": 0,
    }
    broken = client.post("/api/import", content=text + "{")
    assert broken.status_code == 400
    assert "import:7" in broken.json()["error"]["message"]
    assert client.post("/api/import", content=b"\xff").status_code == 400


def test_cards_and_converters(client):
    assert client.post("/api/card", content=json.dumps(CARD)).json() == CARD
    assert client.post("/api/card", content=b"nothing").status_code == 400
    assert client.post("/api/convert", json={"text": "ab", "converters": ["hex"]}).json() == {
        "text": "6162"
    }
    about = client.get("/api/about").json()
    assert {"model", "severities", "categories", "converters", "statuses"} <= set(about)
    assert about["rater"] == "rater-a"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/conversations", {"by": "", "setup": {}}, 400),
        ("/api/conversations", {"by": "a", "setup": {"x": 1}}, 400),
        ("/api/conversations", {"by": "a", "goal": "no"}, 400),
        ("/api/conversations", {"by": "a", "wish": 1}, 400),
        ("/api/conversations", [], 400),
        ("/api/conversations/no/say", {"text": "x"}, 200),
        ("/api/conversations/no/branch", {"by": "a", "keep": 1}, 400),
        ("/api/conversations/no/ratings", {"rater": "a", "severity": "none"}, 400),
        ("/api/conversations/no/fixes", {"by": "a", "status": "open"}, 400),
        ("/api/goals/no", {"by": "a"}, 400),
        ("/api/goals", {"by": "a", "title": ""}, 400),
        ("/api/convert", {"text": "x", "converters": ["rot26"]}, 400),
        ("/api/nothing", {}, 404),
    ],
)
def test_wrong_requests_are_told(client, path, body, status):
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert "error" in answer.text
    assert client.get("/api/about").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
def test_others_may_not_ask(client, bench, headers, status):
    request = client.build_request("POST", "/api/goals", json={"by": "a", "title": "t"})
    request.headers.update(headers)
    answer = client.send(request)
    assert answer.status_code == status
    assert bench.store.records().goals == []


def test_bodies_end_at_a_limit(client, bench, monkeypatch):
    monkeypatch.setattr(access, "MAX_BODY_BYTES", 1000)
    assert client.post("/api/import", content=b"x" * 1001).status_code == 413
    assert (
        client.post("/api/import", content=iter([b"x" * 600, b"x" * 600])).status_code == 413
    )  # chunked: tells no length before
    assert client.post("/api/goals", json={"by": "a", "title": "t"}).status_code == 201


def test_the_page_itself_may_ask(client, bench):
    answer = client.post(
        "/api/goals", json={"by": "a", "title": "t"}, headers={"Origin": bench.url}
    )
    assert answer.status_code == 201
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_is_served_under_its_policy_and_nothing_beside_it(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in (
        "/workbench/main.js",
        "/workbench/style.css",
        "/page/dom.js",
        "/page/style.css",
        "/page/theme.js",
        "/page/mark.svg",
    ):
        assert client.get(path).status_code == 200
    for path in (
        "/workbench/../app.py",
        "/workbench/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/workbench/none.js",
    ):
        assert client.get(path).status_code == 404
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_many_ask_at_once(client, bench):
    id = begun(client)
    faults = []

    def read():
        try:
            with httpx.Client(base_url=bench.url, timeout=60) as mine:
                for _ in range(10):
                    mine.post("/api/goals", json={"by": "a", "title": "t"}).raise_for_status()
                    mine.get(f"/api/conversations/{id}").raise_for_status()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(bench.store.records().goals) == 60
