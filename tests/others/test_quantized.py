"""Quantized layers fresh from the tools that make them: dequantised to the same values."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.others.support import python_of
from tests.support.quantized_table import read_case
from understudy.checkpoint.quantized import dequantised

pytestmark = pytest.mark.others
TOOLS = [
    "torch==2.13.0",
    "transformers==5.24.0",
    "accelerate==1.15.0",
    "compressed-tensors==0.20.0",
    "torchao==0.18.0",
    "bitsandbytes==0.50.2",
    "nvidia-modelopt==0.47.0",
    "requests==2.34.2",  # modelopt imports it and does not ask for it
    "mlx[cpu]==0.32.4",
]


@pytest.mark.parametrize("seed", [1, 2])
def test_every_layer_equals_its_tool(seed: int, tmp_path: Path) -> None:
    script = Path(__file__).with_name("quantized_tools.py")
    command = [python_of("quantized", TOOLS), script, tmp_path, str(seed)]
    subprocess.run(command, check=True, capture_output=True)
    paths = sorted(tmp_path.glob("*.safetensors"))
    assert len(paths) >= 40
    for path in paths:
        config, tensors, expected = read_case(path)
        weights = dequantised(config["quantization_config"], config, tensors, path)
        np.testing.assert_array_equal(weights["layer.weight"].to_float32(), expected, path.stem)
