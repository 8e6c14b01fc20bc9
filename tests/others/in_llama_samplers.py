"""Run by an interpreter that has xllamacpp: llama.cpp's own samplers on given logits.

Reads JSON {"model": GGUF, "cases": [{"penalties" or "dry": settings, "history": ids}], "logits": …}
and writes for each case the tokens whose logits the sampler changed, with the new ones; or reads
{"xtc": [[threshold, logits], …]} and writes the tokens that are left.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import xllamacpp

NUM_TOKENS = 49152
CONTEXT = 4096  # what llama.cpp's programs put in where a window is -1


class TokenData(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float)]


class TokenArray(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.POINTER(TokenData)),
        ("size", ctypes.c_size_t),
        ("selected", ctypes.c_int64),
        ("is_sorted", ctypes.c_bool),
    ]


class ModelParams(ctypes.Structure):
    """At least as large as llama_model_params, which is returned and passed by value."""

    _fields_ = [("bytes", ctypes.c_uint8 * 512)]


def load_library() -> Any:
    library = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    pointers = (
        "model_load_from_file",
        "model_get_vocab",
        "sampler_init_dry",
        "sampler_init_penalties",
        "sampler_init_xtc",
    )
    for name in pointers:
        getattr(library, f"llama_{name}").restype = ctypes.c_void_p
    library.llama_model_default_params.restype = ModelParams
    return library


def make_sampler(library: Any, vocab: Any, case: dict[str, Any]) -> ctypes.c_void_p:
    if "penalties" in case:
        s = case["penalties"]
        floats = [ctypes.c_float(s[name]) for name in ("repeat", "frequency", "presence")]
        return ctypes.c_void_p(
            library.llama_sampler_init_penalties(NUM_TOKENS, s["last_n"], *floats)
        )
    s = case["dry"]
    texts = (ctypes.c_char_p * len(s["breakers"]))(*(b.encode() for b in s["breakers"]))
    return ctypes.c_void_p(
        library.llama_sampler_init_dry(
            vocab,
            ctypes.c_float(s["multiplier"]),
            ctypes.c_float(s["base"]),
            ctypes.c_int32(s["allowed_length"]),
            ctypes.c_int32(s["last_n"] if s["last_n"] >= 0 else CONTEXT),
            texts,
            ctypes.c_size_t(len(s["breakers"])),
        )
    )


def run_xtc(library: Any, threshold: float, logits: Any) -> list[int]:
    """The tokens that XTC leaves when it always acts."""
    sampler = ctypes.c_void_p(
        library.llama_sampler_init_xtc(
            ctypes.c_float(1.0), ctypes.c_float(threshold), ctypes.c_size_t(0), ctypes.c_uint32(1)
        )
    )
    data = (TokenData * len(logits))(*(TokenData(i, x, 0.0) for i, x in enumerate(logits)))
    array = TokenArray(data, len(logits), -1, False)
    library.llama_sampler_apply(sampler, ctypes.byref(array))
    library.llama_sampler_free(sampler)
    return [array.data[i].id for i in range(array.size)]


def run(library: Any, vocab: Any, case: dict[str, Any], logits: Any) -> list[tuple[int, float]]:
    sampler = make_sampler(library, vocab, case)
    for token in case["history"]:
        library.llama_sampler_accept(sampler, ctypes.c_int32(token))
    data = (TokenData * len(logits))(*(TokenData(i, x, 0.0) for i, x in enumerate(logits)))
    array = TokenArray(data, len(logits), -1, False)
    library.llama_sampler_apply(sampler, ctypes.byref(array))
    library.llama_sampler_free(sampler)
    after = [(array.data[i].id, array.data[i].logit) for i in range(array.size)]
    return [(token, x) for token, x in after if x != ctypes.c_float(logits[token]).value]


def main() -> None:
    asked = json.load(sys.stdin)
    library = load_library()
    if "xtc" in asked:
        json.dump([run_xtc(library, *case) for case in asked["xtc"]], sys.stdout)
        return
    params = library.llama_model_default_params()
    model = ctypes.c_void_p(library.llama_model_load_from_file(asked["model"].encode(), params))
    vocab = ctypes.c_void_p(library.llama_model_get_vocab(model))
    json.dump([run(library, vocab, case, asked["logits"]) for case in asked["cases"]], sys.stdout)


main()
