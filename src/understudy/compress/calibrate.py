"""One streamed pass over calibration sequences that gathers what every later stage needs. Layer by
layer, resumable.

All sequences go through layer 0, then all through layer 1, …; the residual stream between two
layers lies in a file, so that at any time one layer works and what is finished stays: a folder of
`layer-000.safetensors` … `final.safetensors` and `calibration.json`. A run on the same folder goes
on after the last finished layer.

Per layer (sums over all tokens unless said; float32):

    attention_gram  (hidden, hidden)  Σ x xᵀ of what q, k, v read
    mlp_gram        (hidden, hidden)  … of what gate and up read
    value_gram      (hidden, hidden)  … averaged by every query head's attention: what an error of
                                      v_proj comes through
    mix_gram        (query, query)    … of what o_proj reads
    inner_gram      (inner, inner)    … of what down_proj reads
    attention_mean, mlp_mean (hidden,)  importance of channels: per row the mean of |x|, then
                                        L2 over sequences (Minitron)
    head_mean       (heads,)          the same of the L2 norm of each head's output
    inner_mean      (inner,)          the same of the inputs of down_proj
    influence       ()                1 - mean cos(stream before, stream after)  (block influence,
                                      ShortGPT)
    zero_rate       ()                share of exact zeros among the inputs of down_proj

final: `head_gram`, `head_mean` of what the head reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.atomic import written_aside
from understudy.compress.data import Progress, Sequences, check_vocabulary, quiet
from understudy.compress.network import Layer, Network
from understudy.errors import FormatError, MissingError, UsageError
from understudy.spec import ModelSpec

VERSION = b"2"  # of what is summed
Sums = dict[str, Tensor]
Stream = np.memmap[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Statistics:
    """A calibration folder; tensors of a layer are read when asked for."""

    folder: Path
    spec: ModelSpec
    num_tokens: int
    num_sequences: int

    def layer(self, index: int) -> Sums:
        return _load(self.folder / f"layer-{index:03}.safetensors")

    def final(self) -> Sums:
        return _load(self.folder / "final.safetensors")

    def scalars(self, name: str) -> list[float]:
        """One number of every layer, e.g. `influence` or `zero_rate`."""
        return [self.layer(index)[name].item() for index in range(self.spec.num_layers)]


def _load(path: Path) -> Sums:
    if not path.exists():
        raise MissingError(
            "calibration is not complete", where=path, do="run calibrate on this folder again"
        )
    loaded: Sums = load_file(path)
    return loaded


@torch.no_grad()
def calibrate(
    network: Network,
    sequences: Sequences,
    folder: Path,
    *,
    batch_size: int = 8,
    progress: Progress = quiet,
) -> Statistics:
    """Run all sequences through the network once and leave the statistics in `folder`; finished
    layers are not run again.

    Raises:
        UsageError: `folder` holds the calibration of another model or other sequences.
    """
    spec = network.spec
    check_vocabulary(sequences, spec.vocab_size, "calibration data")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, network, sequences)
    if (folder / "final.safetensors").exists():
        return Statistics(folder, spec, sequences.num_tokens, len(sequences))
    streams = [
        open_stream(folder / f"stream-{side}.bin", sequences, spec.hidden_size) for side in (0, 1)
    ]
    total = spec.num_layers + 1
    for index in range(_num_finished(folder, spec), spec.num_layers):
        progress(index, total, f"calibrating layer {index + 1} of {spec.num_layers}")
        if index == 0:
            embed_sequences(network, sequences, streams[0], batch_size)
        layer, rotation = network.model.layers[index], network.rotation(sequences.mask.shape[1])
        sums = LayerSums(layer)
        for part in parts_of(len(sequences), batch_size):
            before = torch.from_numpy(np.array(streams[index % 2][part])).to(network.device)
            streams[1 - index % 2][part] = sums.add(before, rotation).cpu().numpy()
        streams[1 - index % 2].flush()
        _save(sums.result(sequences.num_tokens), folder / f"layer-{index:03}.safetensors")
    _save(
        _final_sums(network, streams[spec.num_layers % 2], batch_size), folder / "final.safetensors"
    )
    for side in (0, 1):
        (folder / f"stream-{side}.bin").unlink(missing_ok=True)
    progress(total, total, "calibrated")
    return Statistics(folder, spec, sequences.num_tokens, len(sequences))


def open_statistics(folder: Path) -> Statistics:
    """The statistics of a finished calibration. Raises MissingError or FormatError."""
    path = folder / "calibration.json"
    if not path.exists():
        raise MissingError("no calibration in this folder", where=folder, do="run calibrate first")
    try:
        known = json.loads(path.read_text())
        spec = ModelSpec(**known["spec"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("calibration.json is damaged", where=path, found=str(error)) from error
    return Statistics(folder, spec, known["num_tokens"], known["num_sequences"])


class LayerSums:
    """Runs one layer on batches and sums what it sees. Means are per row first, then squared and
    summed over sequences."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.sums = layer, {}

    sums: Sums

    def add(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """(sequences, tokens, hidden) before the layer -> the same after it."""
        layer = self.layer
        h = layer.input_layernorm(x)
        mixed = layer.self_attn.mix(h, rotation)
        middle = x + layer.self_attn.o_proj(mixed)
        g = layer.post_attention_layernorm(middle)
        inner = layer.mlp.inner(g)
        after = middle + layer.mlp.down_proj(inner)
        for name, value in (("attention", h), ("mlp", g), ("mix", mixed), ("inner", inner)):
            self._sum(f"{name}_gram", gram(value))
        for row in h:
            shares = layer.self_attn.shares(row[None], rotation).flatten(0, 2)
            self._sum("value_gram", row.T @ (shares.T @ shares) @ row)
        for name, value in (("attention", h), ("mlp", g), ("inner", inner)):
            self._sum(f"{name}_mean", value.abs().mean(1).square().sum(0))
        heads = mixed.unflatten(-1, (-1, layer.self_attn.spec.head_dim)).norm(dim=-1)
        self._sum("head_mean", heads.mean(1).square().sum(0))
        self._sum("influence", 1 - torch.cosine_similarity(x, after, dim=-1))
        self._sum("zero_rate", (inner == 0).float().mean(-1))
        return after

    def _sum(self, name: str, value: Tensor) -> None:
        value = value.sum() if name in ("influence", "zero_rate") else value
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def result(self, num_tokens: int) -> Sums:
        found = dict(self.sums)
        for name in ("influence", "zero_rate"):
            found[name] = found[name] / num_tokens
        return {
            name: value.sqrt() if name.endswith("_mean") else value for name, value in found.items()
        }


def gram(x: Tensor) -> Tensor:
    """Σ over all leading places of x xᵀ: (..., width) -> (width, width) float32."""
    flat = x.flatten(0, -2).float()
    return flat.T @ flat


def _final_sums(network: Network, stream: Stream, batch_size: int) -> Sums:
    sums: Sums = {}
    for part in parts_of(len(stream), batch_size):
        h = network.model.norm(torch.from_numpy(np.array(stream[part])).to(network.device))
        for name, value in (("head_gram", gram(h)), ("head_mean", h.abs().mean(1).square().sum(0))):
            sums[name] = sums[name] + value if name in sums else value
    return {"head_gram": sums["head_gram"], "head_mean": sums["head_mean"].sqrt()}


def embed_sequences(
    network: Network, sequences: Sequences, stream: Stream, batch_size: int
) -> None:
    for part in parts_of(len(sequences), batch_size):
        tokens = torch.from_numpy(sequences.tokens[part, :-1].astype(np.int64)).to(network.device)
        stream[part] = network.model.embed_tokens(tokens).float().cpu().numpy()


def parts_of(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def open_stream(path: Path, sequences: Sequences, hidden_size: int) -> Stream:
    """A residual stream of all sequences as a file, (sequences, tokens, hidden) float32; kept if it
    is there in that size."""
    shape = (*sequences.mask.shape, hidden_size)
    if path.exists() and path.stat().st_size == 4 * int(np.prod(shape)):
        return np.memmap(path, np.float32, "r+", shape=shape)
    return np.memmap(path, np.float32, "w+", shape=shape)


def _num_finished(folder: Path, spec: ModelSpec) -> int:
    """Finished layers from which the pass can go on: those with statistics, as long as their stream
    is still there."""
    finished = 0
    while finished < spec.num_layers and (folder / f"layer-{finished:03}.safetensors").exists():
        finished += 1
    return finished


def _claim(folder: Path, network: Network, sequences: Sequences) -> None:
    digest = hashlib.sha256(sequences.tokens.tobytes() + VERSION)
    for value in network.state_dict().values():
        digest.update(value.detach().float().flatten()[:64].cpu().numpy().tobytes())
    known = {
        "spec": asdict(network.spec),
        "num_sequences": len(sequences),
        "num_tokens": sequences.num_tokens,
    }
    claim = known | {"digest": digest.hexdigest()}
    path = folder / "calibration.json"
    if path.exists():
        if json.loads(path.read_text()).get("digest") != claim["digest"]:
            raise UsageError(
                "folder holds the calibration of another model, other data or a version before",
                where=folder,
                do="name a new folder",
            )
        return
    path.write_text(json.dumps(claim, indent=1))


def _save(sums: Sums, path: Path) -> None:
    with written_aside(path) as aside:
        save_file({name: value.cpu().contiguous() for name, value in sums.items()}, aside)
