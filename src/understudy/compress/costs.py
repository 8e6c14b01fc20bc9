"""What a shape costs: parameters, bytes of its file, or seconds a token on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from understudy import core
from understudy.compress.grid import BLOCK
from understudy.core import PackedTensor
from understudy.engine.loading import int12_matrices
from understudy.spec import ModelSpec, PackedFormat, parameter_counts, tensor_shapes


def parameters(spec: ModelSpec) -> float:
    return float(parameter_counts(spec)["total"])


def file_bytes(spec: ModelSpec) -> float:
    """Of a GGUF with all matrices in q4 (18 bytes for 32 weights) and vectors in float32, without
    its vocabulary."""
    shapes = tensor_shapes(spec).values()
    return float(sum(s[0] * s[1] / BLOCK * 18 if len(s) == 2 else 4 * s[0] for s in shapes))


def seconds_per_token(spec: ModelSpec, num_tokens: int = 24) -> float:
    """Least time of one decoded token in q4 on this machine: random weights of that shape on the
    native core.

    The least, since whatever else the machine does only adds, to a small shape more than to a big
    one.
    """
    rng = np.random.default_rng(0)
    tensors: dict[str, PackedTensor] = {}
    for name, shape in tensor_shapes(spec).items():
        if len(shape) == 1:
            data = rng.random(shape, dtype=np.float32).view(np.uint8)
            tensors[name] = PackedTensor("f32", 1, shape[0], data)
            continue
        rows, columns = shape
        kind: PackedFormat = "bf16" if columns % BLOCK else "q4"
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(columns**-0.5)
        data = core.pack("F32", values.view(np.uint8).reshape(-1), rows, columns, kind)
        tensors[name] = PackedTensor(kind, rows, columns, data)
    model = core.CoreModel(spec, tensors, int12=int12_matrices(spec))
    cache = core.Cache(model, -(-num_tokens // core.PAGE_SIZE), "f16")
    pages = np.arange(-(-num_tokens // core.PAGE_SIZE), dtype=np.int32)[None]
    times = []
    for position in range(num_tokens):
        started = time.perf_counter()
        one = np.array([position], np.int32)
        core.step(
            model,
            cache,
            np.array([1], np.int32),
            one,
            np.array([0], np.int32),
            pages,
            np.array([0], np.int32),
        )
        times.append(time.perf_counter() - started)
    return float(min(times[2:]))


COSTS: dict[str, Callable[[ModelSpec], float]] = {
    "parameters": parameters,
    "bytes": file_bytes,
    "seconds_per_token": seconds_per_token,
}
