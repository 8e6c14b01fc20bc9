"""Runs with the tools that quantize: one small layer in each of their layouts, and what they
dequantise it to.

    python quantized_tools.py FOLDER      # FOLDER/<case>.safetensors: layer.*, expected; the config
                                          in the header

AWQ's and GPTQ's libraries need a GPU to install; their arithmetic is spelled out here (AutoAWQ
0.2.9 `dequantize_gemm`, GPTQModel 7.7 `dequantize_weight`).
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from bitsandbytes import functional as bnb
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from modelopt.torch.export.quant_utils import pack_int4_in_uint8
from modelopt.torch.quantization.qtensor import FP8QTensor, NVFP4QTensor
from safetensors.torch import save_file
from torchao import quantization as ao
from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

FOLDER = Path(sys.argv[1])
ROWS, COLUMNS = 32, 64
FLOATS = (torch.bfloat16, torch.float16, torch.float32)


def put(case, config, parts, expected, dtype=torch.bfloat16):
    tensors = {f"layer.{k}": v.detach().contiguous() for k, v in parts.items() if v is not None}
    tensors["expected"] = expected.detach().float().contiguous()
    said = {"quantization_config": config, "torch_dtype": str(dtype).removeprefix("torch.")}
    save_file(tensors, FOLDER / f"{case}.safetensors", {"config": json.dumps(said)})


def matrix(dtype=torch.bfloat16, rows=ROWS, columns=COLUMNS):
    return (torch.randn(rows, columns) * 0.1).to(dtype)


def short(dtype):
    return str(dtype).removeprefix("torch.")


def compressed(case, compressor, args, parts, dtype=torch.bfloat16):
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    tool = BaseCompressor.get_value_from_registry(compressor)
    packed = tool.compress(dict(parts), scheme)
    weights = json.loads(args.model_dump_json())
    config = {"quant_method": "compressed-tensors", "format": compressor}
    config["config_groups"] = {"group_0": {"targets": ["Linear"], "weights": weights}}
    put(case, config, packed, tool.decompress(dict(packed), scheme)["weight"], dtype)


def compressed_tensors():
    for bits, strategy, symmetric in itertools.product((4, 8), ("group", "channel"), (True, False)):
        size = 16 if strategy == "group" else None
        args = QuantizationArgs(
            num_bits=bits, type="int", symmetric=symmetric, strategy=strategy, group_size=size
        )
        dtype = FLOATS[(bits + symmetric) % 3]
        x = matrix(dtype)
        groups = x.view(ROWS, -1, size or COLUMNS)
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
        parts = {"weight": x, "weight_scale": scale.to(dtype), "weight_zero_point": zero}
        name = f"compressed-pack{bits}-{strategy}-{'sym' if symmetric else 'asym'}"
        compressed(name, "pack-quantized", args, parts, dtype)
    for kind, strategy in itertools.product(("int", "float"), ("channel", "tensor", "block")):
        block = [16, 32] if strategy == "block" else None
        args = QuantizationArgs(num_bits=8, type=kind, strategy=strategy, block_structure=block)
        x = matrix()
        match strategy:
            case "channel":
                low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
            case "tensor":
                low, high = x.amin().view(1), x.amax().view(1)
            case _:
                tiles = x.view(ROWS // 16, 16, COLUMNS // 32, 32)
                low, high = tiles.amin((1, 3)), tiles.amax((1, 3))
        scale, zero = calculate_qparams(low, high, args)
        parts = {"weight": x, "weight_scale": scale.bfloat16(), "weight_zero_point": zero}
        compressed(f"compressed-{kind}8-{strategy}", "naive-quantized", args, parts)
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16)
    x = matrix()
    whole = (448 * 6 / x.abs().max()).float().view(1)
    scale = (whole * x.view(ROWS, -1, 16).abs().amax(-1).float() / 6).to(torch.float8_e4m3fn)
    parts = {"weight": x, "weight_scale": scale.float(), "weight_global_scale": whole}
    compressed("compressed-nvfp4", "nvfp4-pack-quantized", args, parts)


def bitsandbytes():
    for kind, is_nested in itertools.product(("nf4", "fp4"), (False, True)):
        dtype = FLOATS[is_nested + (kind == "fp4")]
        quantized, state = bnb.quantize_4bit(
            matrix(dtype), quant_type=kind, compress_statistics=is_nested, blocksize=64
        )
        parts = {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
        config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
        expected = bnb.dequantize_4bit(quantized, state)
        name = f"bitsandbytes-{kind}{'-nested' if is_nested else ''}"
        put(name, config, {"weight": quantized, **parts}, expected, dtype)
    quantized, scales, _ = bnb.int8_vectorwise_quant(matrix(torch.float16))
    expected = bnb.int8_vectorwise_dequant(quantized, scales).half()
    parts = {
        "weight": quantized,
        "SCB": scales,
        "weight_format": torch.zeros((), dtype=torch.uint8),
    }
    config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    put("bitsandbytes-int8", config, parts, expected, torch.float16)


def torchao():
    kinds = {
        "int8": ao.Int8WeightOnlyConfig(version=2),
        "float8": ao.Float8WeightOnlyConfig(version=2),
        "intx4": ao.IntxWeightOnlyConfig(
            weight_dtype=torch.int4, granularity=ao.granularity.PerGroup(32)
        ),
    }
    for name, kind in kinds.items():
        model = torch.nn.Sequential(torch.nn.Linear(COLUMNS, ROWS, bias=False)).bfloat16()
        ao.quantize_(model, kind)
        flat, _ = flatten_tensor_state_dict({"layer.weight": model[0].weight})
        parts = {k.removeprefix("layer."): v for k, v in flat.items()}
        put(f"torchao-{name}", {"quant_method": "torchao"}, parts, model[0].weight.dequantize())


def packed_down(codes, bits):
    """Numbers of `bits` bits packed into int32 down the rows, the lowest first."""
    n, m = codes.shape
    spread = (codes.numpy()[:, None, :] >> np.arange(bits)[None, :, None]) & 1
    data = np.packbits(spread.reshape(n * bits, m).astype(np.uint8), axis=0, bitorder="little")
    return torch.from_numpy(np.ascontiguousarray(data.T).view(np.int32).T.copy())


def gptq():
    size = 32
    for bits, is_v2 in itertools.product((2, 3, 4, 8), (False, True)):
        most, groups = 2**bits - 1, COLUMNS // size
        order = (torch.arange(COLUMNS) // size)[torch.randperm(COLUMNS)]
        codes = torch.randint(0, most + 1, (COLUMNS, ROWS))
        zeros = torch.randint(1, most + 1, (groups, ROWS))
        scales = (torch.rand(groups, ROWS) * 0.01).half()
        expected = (scales[order] * (codes - zeros[order])).T
        stored = zeros if is_v2 else zeros - 1
        config = {"quant_method": "gptq", "bits": bits, "group_size": size, "desc_act": True}
        config["checkpoint_format"] = "gptq_v2" if is_v2 else "gptq"
        parts = {"qweight": packed_down(codes, bits), "scales": scales, "g_idx": order.int()}
        parts["qzeros"] = packed_down(stored.T, bits).T
        put(f"gptq-{bits}{'-v2' if is_v2 else ''}", config, parts, expected, torch.float16)


def awq():
    size, inverse = 32, [0, 4, 1, 5, 2, 6, 3, 7]
    words = torch.randint(-(2**31), 2**31 - 1, (COLUMNS, ROWS // 8), dtype=torch.int32)
    zero_words = torch.randint(-(2**31), 2**31 - 1, (COLUMNS // size, ROWS // 8), dtype=torch.int32)
    scales = (torch.rand(COLUMNS // size, ROWS) * 0.01).half()
    shifts = torch.arange(0, 32, 4)
    codes, zeros = (
        ((w[:, :, None] >> shifts) & 15)[..., inverse].reshape(len(w), -1)
        for w in (words, zero_words)
    )
    spread = [part.repeat_interleave(size, 0) for part in (zeros, scales)]
    config = {"quant_method": "awq", "bits": 4, "group_size": size, "version": "gemm"}
    parts = {"qweight": words, "qzeros": zero_words, "scales": scales}
    put("awq", config, parts, ((codes - spread[0]) * spread[1]).T, torch.float16)


def mlx():
    mx.set_default_device(mx.cpu)
    for bits, size in ((2, 64), (3, 32), (4, 64), (4, 32), (6, 64), (8, 64)):
        dtype, name = ((mx.bfloat16, torch.bfloat16), (mx.float16, torch.float16))[bits % 4 == 0]
        x = mx.array(matrix(torch.float32).numpy()).astype(dtype)
        words, scales, biases = mx.quantize(x, group_size=size, bits=bits)
        expected = mx.dequantize(words, scales, biases, group_size=size, bits=bits)
        floats = [
            torch.from_numpy(np.array(a.astype(mx.float32))).to(name)
            for a in (scales, biases, expected)
        ]
        parts = {"weight": torch.from_numpy(np.array(words).astype(np.uint32))}
        parts |= {"scales": floats[0], "biases": floats[1]}
        put(f"mlx-{bits}-{size}", {"group_size": size, "bits": bits}, parts, floats[2], name)


def modelopt():
    x = matrix()
    scale = x.abs().max().float() / 448
    codes = (x / scale).to(torch.float8_e4m3fn)
    expected = FP8QTensor(x.shape, x.dtype, codes).dequantize(scale=scale)
    parts = {"weight": codes, "weight_scale": scale, "input_scale": torch.tensor(1.0)}
    put("modelopt-fp8", {"quant_method": "modelopt", "quant_algo": "FP8"}, parts, expected)
    tensor, scale, second = NVFP4QTensor.quantize(x, 16)[:3]
    expected = tensor.dequantize(scale=scale, double_scale=second, block_sizes={-1: 16})
    parts = {"weight": tensor._quantized_data, "weight_scale": scale, "weight_scale_2": second}
    config = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    put("modelopt-nvfp4", config, parts, expected)
    scale = x.view(ROWS, -1, 32).abs().amax(-1).float() / 7
    spread = scale[:, torch.arange(COLUMNS) // 32]
    expected = ((x / spread).round().clamp(-8, 7).float() * spread).bfloat16()
    parts = {"weight": pack_int4_in_uint8(x, scale, 32), "weight_scale": scale}
    config = {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}
    put("modelopt-int4-awq", config, parts, expected)


def float8():
    x = matrix()
    tiles = x.view(2, 16, 2, 32)
    scale = tiles.abs().amax((1, 3)).float() / 448
    codes = (tiles / scale[:, None, :, None]).to(torch.float8_e4m3fn).view(ROWS, COLUMNS)
    expected = Fp8Dequantize(None)._dequantize_one(codes, scale, torch.bfloat16)
    config = {"quant_method": "fp8", "weight_block_size": [16, 32]}
    put("fp8-blocks", config, {"weight": codes, "weight_scale_inv": scale}, expected)
    scale = x.abs().amax(-1, keepdim=True).float() / 448
    codes = (x / scale).to(torch.float8_e4m3fn)
    parts = {"weight": codes, "weight_scale": scale}
    put("fp8-rows", {"quant_method": "fbgemm_fp8"}, parts, (codes.float() * scale).bfloat16())


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for make in (compressed_tensors, bitsandbytes, torchao, gptq, awq, mlx, modelopt, float8):
        make()
