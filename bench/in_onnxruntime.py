"""Runs inside an environment with onnxruntime-genai and does what `bench/peer_onnxruntime.py` asks
for, one JSON line each way.

ORT_PYTHON bench/in_onnxruntime.py MODEL_FOLDER THREADS

{"logits": [ids]}                    -> {"logits": [last position]}
{"prefill": [ids]}                   -> {"seconds": …}        one prompt, from nothing to the logits
                                                              of its last token
{"decode": [ids], "tokens": n}       -> {"seconds": [n]}      n tokens after that prompt, which is
                                                              not timed
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import onnxruntime_genai as genai


def open_model(folder: str, num_threads: int) -> Any:
    config = genai.Config(folder)
    config.overlay(
        json.dumps(
            {"model": {"decoder": {"session_options": {"intra_op_num_threads": num_threads}}}}
        )
    )
    return genai.Model(config)


def generator(model: Any, max_length: int) -> Any:
    params = genai.GeneratorParams(model)
    params.set_search_options(max_length=max_length, do_sample=False)
    return genai.Generator(model, params)


def answer(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    if "logits" in request:
        run = generator(model, len(request["logits"]) + 1)
        run.append_tokens(np.asarray([request["logits"]], np.int32))
        return {"logits": np.asarray(run.get_logits(), np.float32).reshape(-1).tolist()}
    if "prefill" in request:
        ids = np.asarray([request["prefill"]], np.int32)
        run = generator(model, ids.shape[1] + 1)
        started = time.perf_counter()
        run.append_tokens(ids)
        run.get_logits()
        return {"seconds": time.perf_counter() - started}
    run = generator(model, len(request["decode"]) + request["tokens"] + 2)
    run.append_tokens(np.asarray([request["decode"]], np.int32))
    run.generate_next_token()
    seconds = []
    for _ in range(request["tokens"]):
        started = time.perf_counter()
        run.generate_next_token()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds}


def main() -> None:
    model = open_model(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"version": genai.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(model, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
