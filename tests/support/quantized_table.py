"""A table of quantized layers and of what their own tools dequantise them to, made by
tests/others/quantized_tools.py.

python -m tests.support.quantized_table FOLDER      # writes tests/data/quantized.json.gz anew
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from understudy.formats.safetensors_folder import read_safetensors
from understudy.formats.tensor import StoredTensor

PATH = Path(__file__).parents[1] / "data" / "quantized.json.gz"


def digest(values: np.ndarray) -> str:
    """Of float32 values, zeros without a sign."""
    return hashlib.sha256((values + np.float32(0)).astype("<f4").tobytes()).hexdigest()[:32]


def read_case(path: Path) -> tuple[dict[str, Any], dict[str, StoredTensor], np.ndarray]:
    """The config, the stored tensors and the tool's float32 values of one file."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors = read_safetensors(path)
    return (
        json.loads(header["__metadata__"]["config"]),
        tensors,
        tensors.pop("expected").to_float32(),
    )


def read_table() -> dict[str, tuple[dict[str, Any], dict[str, StoredTensor], list[int], str]]:
    """Case -> config, stored tensors, shape and digest of the tool's values."""
    cases = json.loads(gzip.decompress(PATH.read_bytes()))
    return {
        name: (
            case["config"],
            {n: StoredTensor(n, tuple(s), f, _bytes(data)) for n, s, f, data in case["tensors"]},
            case["shape"],
            case["digest"],
        )
        for name, case in cases.items()
    }


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def write_table(folder: Path) -> None:
    cases = {}
    for path in sorted(folder.glob("*.safetensors")):
        config, tensors, expected = read_case(path)
        stored = [
            (t.name, t.shape, t.format, base64.b64encode(t.data.tobytes()).decode())
            for t in tensors.values()
        ]
        shape, code = list(expected.shape), digest(expected)
        cases[path.stem] = {"config": config, "tensors": stored, "shape": shape, "digest": code}
    PATH.write_bytes(gzip.compress(json.dumps(cases).encode(), mtime=0))


if __name__ == "__main__":
    write_table(Path(sys.argv[1]))
