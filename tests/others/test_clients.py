"""Client libraries in their newest releases against our server: plain, stream, tool round,
structured answer, errors of their own classes, and leaving midway.

`make test-others` installs each into an environment of its own.
"""

from __future__ import annotations

import http.server
import json
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

import understudy
from tests.others.support import npm_folder, python_of
from tests.serve.conftest import MODEL, live

pytestmark = pytest.mark.others
DRIVERS = Path(__file__).parent / "clients"
# driver, environment and its packages, what must stand in a result (empty: no error)
PYTHON = {
    "openai_chat": ("openai", ["openai==3.57.0"]),
    "openai_responses": ("openai", ["openai==3.57.0"]),
    "anthropic_messages": ("anthropic", ["anthropic==2.14.0"]),
    "langchain_openai_chat": (
        "langchain",
        ["langchain-openai==1.7.4", "langchain-anthropic==1.7.10"],
    ),
    "langchain_anthropic_messages": (
        "langchain",
        ["langchain-openai==1.7.4", "langchain-anthropic==1.7.10"],
    ),
    "pydantic_ai_agent": ("pydantic-ai", ["pydantic-ai-slim[openai,anthropic]==2.68.0"]),
    "openai_agents": ("openai-agents", ["openai-agents==0.24.0"]),
    "instructor_openai": ("instructor", ["instructor==1.17.0"]),
    "litellm_completion": ("litellm", ["litellm==1.110.2"]),
    "llm_model": ("llm", ["llm==0.36"]),
    "llama_index_like": ("llama-index", ["llama-index-llms-openai-like==0.8.1"]),
}
JAVASCRIPT = [
    *("node@24.21.0", "openai@7.59.0", "@anthropic-ai/sdk@1.14.0", "zod@4.6.7", "ai@7.0.173"),
    *("@ai-sdk/openai@4.0.118", "@ai-sdk/anthropic@4.0.105", "@ai-sdk/openai-compatible@3.0.92"),
]
TOO_LONG = {
    "openai_chat": "BadRequestError context_length_exceeded",
    "openai_responses": "BadRequestError context_length_exceeded",
    "anthropic_messages": "BadRequestError True",
    "pydantic_ai_agent": "ContextWindowExceeded",
    "litellm_completion": "ContextWindowExceededError",
    "langchain_anthropic_messages": "ContextOverflowError",
}


@pytest.fixture(scope="module")
def served():
    with understudy.load(MODEL, context=2048) as model, live(model) as running:
        yield running


@pytest.mark.parametrize("driver", PYTHON)
def test_python_clients(served, driver):
    name, requirements = PYTHON[driver]
    python = python_of(f"client-{name}", requirements)
    check(driver, driven([python, str(DRIVERS / "run.py"), driver, served.url, MODEL]))
    nobody_is_served(served)


@pytest.mark.parametrize("name", ["openai", "anthropic", "aiSdk"])
def test_javascript_clients(served, name):
    folder = npm_folder("clients-js", JAVASCRIPT)
    shutil.copy(DRIVERS / "client.mjs", folder)  # imports are looked for beside the file
    node = folder / "node_modules" / ".bin" / "node"
    check(name, driven([node, str(folder / "client.mjs"), name, served.url, MODEL]))
    nobody_is_served(served)


def test_the_javascript_sdks_in_a_page(served, tmp_path):
    """In Chromium, from another origin than the server's: preflights, streams and all."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium here")
    folder = npm_folder("clients-js", JAVASCRIPT) / "node_modules"
    for name in ("browser.html", "telemetry.mjs"):
        shutil.copy(DRIVERS / name, folder)
    with PageServer(folder) as pages:
        page = f"{pages.address}/browser.html#{quote(f'{served.url}|{MODEL}', safe='|:/')}"
        flags = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0"]
        browser = subprocess.Popen(
            [chromium, *flags, f"--user-data-dir={tmp_path}", page], stderr=subprocess.DEVNULL
        )
        try:
            found = pages.results.get(timeout=120)
        finally:
            browser.terminate()
            browser.wait()
    assert found == {
        "openai plain": "assistant",
        "openai stream": "true",
        "anthropic plain": "assistant",
        "anthropic stream": "assistant",
    }


def driven(command) -> dict[str, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def check(driver, results):
    """Each thing gave something that is no error, and each error is the library's own."""
    for name in ("plain", "stream", "tools", "structured", "cancel", "more"):
        said = results.get(name, "-")
        assert said, (name, results)
        assert "Error" not in said, (name, said)
        assert "undefined" not in said, (name, said)
    if "wrong_model" in results:
        assert "no-such-model" in results["wrong_model"], results["wrong_model"]
    if "too_long" in results:
        assert TOO_LONG.get(driver, "prompt is too long") in results["too_long"], results[
            "too_long"
        ]


def nobody_is_served(served):
    """A client that left has ended its request."""
    for _ in range(50):
        models = httpx.get(served.url + "/ps").json()["models"]
        if not any(model["running"] for model in models):
            return
        time.sleep(0.1)
    raise AssertionError("a request is still computed")


class PageServer:
    """A web server over a folder, for a block; what a page posts stands in `results`."""

    def __init__(self, folder):
        self.results: queue.Queue[dict[str, str]] = queue.Queue()
        results = self.results

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def guess_type(self, path):
                return "text/javascript" if path.endswith("js") else super().guess_type(path)

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                results.put(json.loads(self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
