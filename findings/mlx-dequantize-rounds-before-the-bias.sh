#!/usr/bin/env bash
# mlx 0.32.4, CPU: mx.dequantize rounds scale * q to the scale's type (bfloat16, float16) before it
# adds the bias, and then rounds again. One rounding of scale * q + bias, as the documented formula
# reads, gives another number for about half of all 4-bit weights.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install "mlx[cpu]==0.32.4" numpy
"$folder/venv/bin/python" - <<'PY'
import mlx.core as mx
import numpy as np

mx.set_default_device(mx.cpu)
mx.random.seed(0)
for dtype in (mx.bfloat16, mx.float16):
    x = (mx.random.normal((64, 256)) * 0.1).astype(dtype)
    words, scales, biases = mx.quantize(x, group_size=64, bits=4)
    found = np.array(mx.dequantize(words, scales, biases, group_size=64, bits=4).astype(mx.float32))
    data = np.array(words).astype("<u4").view(np.uint8)
    codes = np.stack([data & 15, data >> 4], -1).reshape(64, 256).astype(np.float32)
    scale, bias = (np.repeat(np.array(a.astype(mx.float32)), 64, 1) for a in (scales, biases))

    def rounded(values):
        return np.array(mx.array(values).astype(dtype).astype(mx.float32))

    twice = rounded(rounded(codes * scale) + bias)
    once = rounded(codes * scale + bias)
    print(dtype, "two roundings differ in", int((twice != found).sum()), "of", found.size)
    print(dtype, "one rounding differs in", int((once != found).sum()), "of", found.size)
    assert (twice == found).all() and (once != found).mean() > 0.3, "changed"
PY
