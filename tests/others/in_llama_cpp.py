"""Runs inside the environment that has `xllamacpp`: {"model", "context", "prompt"} on stdin; on
stdout {"length", "next"}: how much of the prompt was used, and the likeliest next tokens as
[[id, log-probability], …]; or {"error"} where the model does not open. "adapters", if there, are
[[file, scale], …].

Its server tells probabilities only where the next token is a whole character: then a shorter prompt
is taken.
"""

import json
import os
import sys

ANSWER = os.dup(1)  # the library prints; its words go to stderr
os.dup2(2, 1)

import xllamacpp  # noqa: E402


def adapter(path, scale):
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = path, scale
    return info


def likeliest(asked):
    params = xllamacpp.CommonParams()
    params.model.path = asked["model"]
    params.n_ctx, params.n_parallel = asked["context"], 1
    params.warmup = params.fit_params = False
    params.cpuparams.n_threads = 2
    params.lora_adapters = [adapter(*entry) for entry in asked.get("adapters", [])]
    server = xllamacpp.Server(params)
    request = {"n_predict": 1, "temperature": 0, "n_probs": 20}
    for length in range(len(asked["prompt"]), 1, -1):
        prompt = asked["prompt"][:length]
        told = server.handle_completions(request | {"prompt": prompt})["choices"][0]["logprobs"]
        if told is not None and told["content"]:
            top = told["content"][0]["top_logprobs"]
            return {"length": length, "next": [[token["id"], token["logprob"]] for token in top]}
    return {"error": "no next token is a whole character"}


try:
    found = likeliest(json.load(sys.stdin))
except Exception as error:
    found = {"error": str(error)}
os.write(ANSWER, json.dumps(found).encode())
os._exit(0)
