"""Runs in an environment with xllamacpp: {path: texts} on stdin; llama-server's ids and names on
stdout.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import Any

import xllamacpp


def ask(server: Any, route: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.listening_address + route, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def answers(path: str, texts: list[str]) -> dict[str, Any]:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_ctx, params.cpuparams.n_threads, params.n_parallel, params.port = 256, 1, 1, 0
    params.warmup = params.fit_params = False
    server = xllamacpp.Server(params)

    def tokens(**body: Any) -> Any:
        return ask(server, "/tokenize", body)["tokens"]

    props = ask(server, "/props")
    return {
        "whole": [tokens(content=text, add_special=True) for text in texts],
        "data": [tokens(content=text, parse_special=False) for text in texts],
        "names": [props["bos_token"], props["eos_token"]],
    }


print(json.dumps({path: answers(path, texts) for path, texts in json.load(sys.stdin).items()}))
