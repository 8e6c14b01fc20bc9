"""Runs inside the environment that has `xllamacpp`: one request on stdin, the server's answer on
stdout, both JSON.

{"model": path, "context": 256, "request": {...}}  ->  the body of llama.cpp's /completion
"""

import json
import os
import sys

ANSWER = os.dup(1)  # the library prints; its words go to stderr
os.dup2(2, 1)

import xllamacpp  # noqa: E402

asked = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path = asked["model"]
params.n_ctx = asked["context"]
params.n_parallel = 1
params.warmup = False
params.cpuparams.n_threads = 2
params.fit_params = False
server = xllamacpp.Server(params)
answer = server.handle_completions(asked["request"])
os.write(ANSWER, json.dumps(answer).encode())
os._exit(0)
