"""Between files and networks: open a model for the workshop, save what came out, always whole or
not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from understudy import hub
from understudy.checkpoint.checkpoint import Checkpoint, open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.weights import Weights
from understudy.compress import grids
from understudy.compress.data import TextEncoder
from understudy.compress.grid import QuantizedMatrix
from understudy.compress.network import Network, network_from_weights
from understudy.errors import MissingError
from understudy.formats.tensor import StoredTensor
from understudy.spec import QuantSpec
from understudy.text import open_tokenizer
from understudy.text.templates import chat_template_for


@dataclass(frozen=True)
class Source:
    """A model opened for compression: the float32 network (frozen), its checkpoint, and how its
    words become ids."""

    network: Network
    checkpoint: Checkpoint

    @property
    def encoder(self) -> TextEncoder:
        source = self.checkpoint.tokenizer_source
        if source is None:
            raise MissingError(
                "no tokenizer",
                where=self.checkpoint.path,
                expected="tokenizer.json or tokenizer.model",
                do="copy the tokenizer's files into the folder",
            )
        tokenizer = open_tokenizer(source)
        return TextEncoder(
            tokenizer, chat_template_for(self.checkpoint.spec.architecture, tokenizer)
        )


def open_source(
    model: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Source:
    """A folder, GGUF file or name that `understudy list` prints. Quantized tensors are
    dequantised."""
    checkpoint = open_checkpoint(hub.resolve(model))
    weights = _Floats(checkpoint.weights)
    network = network_from_weights(checkpoint.spec, weights, dtype).requires_grad_(False)
    return Source(network.to(device), checkpoint)


class _Floats(Mapping[str, Any]):
    """Decodes one tensor at a time."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def __getitem__(self, name: str) -> Any:
        return np.array(self.weights[name].to_float32())

    def __iter__(self) -> Any:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def save_network(network: Network, like: Checkpoint, path: Path, dtype: str = "bf16") -> Path:
    """The network as a Hugging Face folder (or a GGUF, by the ending) with the tokenizer of `like`.

    dtype: f32 or bf16 (or q8, q4: plain rounding; `save_quantized` is better).
    """
    weights = {
        n: StoredTensor.of(n, v.detach().float().cpu().numpy())
        for n, v in network.state_dict().items()
    }
    made = dataclasses.replace(like, spec=network.spec, weights=Weights(weights))
    save_checkpoint(made, path, QuantSpec(weights=dtype))  # type: ignore[arg-type]
    return path


def save_quantized(
    tensors: Mapping[str, QuantizedMatrix | torch.Tensor],
    network: Network,
    like: Checkpoint,
    path: Path,
) -> Path:
    """A GGUF that holds exactly these integers and scales: nothing is rounded a second time."""
    stored = {name: _stored(name, tensor) for name, tensor in tensors.items()}
    made = dataclasses.replace(like, spec=network.spec, weights=Weights(stored))
    save_checkpoint(made, path, None)
    return path


def _stored(name: str, tensor: QuantizedMatrix | torch.Tensor) -> StoredTensor:
    if isinstance(tensor, QuantizedMatrix):
        return StoredTensor(
            name, tuple(tensor.integers.shape), tensor.grid.format, grids.encode(tensor)
        )
    return StoredTensor.of(name, tensor.detach().float().cpu().numpy())
