"""Who may ask: hosts, origins, keys, sizes; and what is told about requests."""

from __future__ import annotations

import http.client
import json

import httpx
import openai
import pytest

import understudy
from tests.serve.conftest import MODEL, live
from understudy.cli import main
from understudy.errors import FormatError, UsageError
from understudy.serve.keys import Keys, new_key
from understudy.serve.metrics import Metrics
from understudy.serve.settings import Settings

BODY = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


def test_other_addresses_need_keys(tmp_path):
    with pytest.raises(UsageError, match="needs keys"):
        Settings(host="0.0.0.0")
    with pytest.raises(UsageError, match="needs keys"):
        Settings(host="example.org")
    for host in ("127.0.0.1", "localhost", "::1"):
        Settings(host=host)
    assert Settings(host="0.0.0.0", key_file=tmp_path / "keys").host == "0.0.0.0"


def test_keys_are_kept_as_hashes(tmp_path, capsys):
    path = tmp_path / "keys"
    assert main(["serve", "--new-key", str(path), "--key-name", "anna"]) == 0
    first = capsys.readouterr().out.strip()
    second = new_key(path, "ben")
    assert first not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    keys = Keys(path)
    assert [keys.name_of(key) for key in (first, second, "", first[:-1], "us-")] == [
        "anna",
        "ben",
        None,
        None,
        None,
    ]
    path.write_text("anna salt\n")
    with pytest.raises(FormatError, match="line 1"):
        Keys(path)
    path.write_text("# nothing\n")
    with pytest.raises(UsageError, match="no keys"):
        Keys(path)


def test_keys_guard_every_route_but_health_and_the_page_that_asks_for_one(tmp_path, capfd):
    key = new_key(tmp_path / "keys", "anna")
    with (
        understudy.load(MODEL, context=256) as model,
        live(model, key_file=tmp_path / "keys", log=True) as served,
    ):
        for path in [route.path for route in served.app.routes]:
            for method in ("GET", "POST"):
                status = httpx.request(
                    method, served.url + path.replace("{", "").replace("}", "")
                ).status_code
                assert (status == 401) == (
                    path not in ("/health", "/ready", "/", "/page/{name:path}")
                ), (method, path, status)
        client = openai.OpenAI(base_url=served.url + "/v1", api_key=key)
        assert client.chat.completions.create(model=MODEL, **BODY).choices
        assert httpx.get(served.url + "/v1/models", headers={"x-api-key": key}).status_code == 200
        assert (
            httpx.get(
                served.url + "/v1/models", headers={"Authorization": f"Bearer {key}x"}
            ).status_code
            == 401
        )
    lines = [
        json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")
    ]
    asked = next(
        line for line in lines if line["path"] == "/v1/chat/completions" and line["status"] == 200
    )
    assert asked["client"] == "anna"
    assert asked["model"] == MODEL
    assert asked["prompt_tokens"] > 0
    assert asked["completion_tokens"] == 2
    assert key not in json.dumps(lines)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "["}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_hosts_and_origins(served, headers, status):
    answer = httpx.get(served.url + "/v1/models", headers=headers)
    assert answer.status_code == status
    if status == 200 and "Origin" in headers:
        assert answer.headers["access-control-allow-origin"] == headers["Origin"]


def test_bodies_have_a_limit(served):
    large = b"x" * ((4 << 20) + 1)
    assert httpx.post(served.url + "/v1/chat/completions", content=large).status_code == 413
    assert (
        httpx.post(served.url + "/v1/chat/completions", content=iter([large])).status_code == 413
    )  # in chunks, no length
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Content-Length", "99999999999999999999999")
    connection.endheaders()
    assert connection.getresponse().status in (400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"messages": "\xff"}',
        b'{"messages": 1e999}',
        b'{"n": NaN}',
        b"[" * 5000,
        b'"\\ud800"',
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/messages",
        "/completion",
        "/tokenize",
        "/v1/embeddings",
    ],
)
def test_broken_bodies_are_400(served, path, body):
    answer = httpx.post(served.url + path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_metrics_count(served):
    httpx.post(served.url + "/v1/chat/completions", json=BODY)
    text = httpx.get(served.url + "/metrics").text
    for name in (
        "understudy_completion_tokens_total",
        "understudy_first_token_seconds_count",
        "understudy_cache_pages_held",
    ):
        (line,) = (line for line in text.splitlines() if line.startswith(name + "{"))
        assert float(line.split()[-1]) >= 0
    families = pytest.importorskip("prometheus_client.parser").text_string_to_metric_families(text)
    assert {family.name for family in families} >= {
        "understudy_http_requests",
        "understudy_answers",
    }


def test_labels_are_escaped():
    metrics = Metrics()
    metrics.counter("a_total", "x")
    metrics.count("a_total", path='q"\\\n')
    assert 'a_total{path="q\\"\\\\\\n"} 1' in metrics.text()


def test_ps(served, capsys):
    assert main(["ps", "--url", served.url]) == 0
    assert MODEL in capsys.readouterr().out
    assert main(["ps", "--url", "http://127.0.0.1:1"]) == 1
    assert "no server answers" in capsys.readouterr().err
