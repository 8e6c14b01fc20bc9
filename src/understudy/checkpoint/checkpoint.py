"""Opening a checkpoint: whatever the file, the result is a spec and weights in Hugging Face's names
and convention.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.checkpoint.adapter import refuse_gguf_adapter
from understudy.checkpoint.folder import (
    IGNORED_SUFFIXES,
    read_config,
    read_weights,
    without_quantization,
)
from understudy.checkpoint.gguf_rope import TENSORS, read_gguf_rope
from understudy.checkpoint.head import settle_head
from understudy.checkpoint.layout import (
    apply_scales,
    from_file,
    matrix_scales,
    undo_gguf,
    without_further_layers,
)
from understudy.checkpoint.registry import architecture, architecture_of_gguf
from understudy.checkpoint.token_bias import (
    NO_BIAS,
    TokenBias,
    folder_token_bias,
    gguf_token_bias,
)
from understudy.checkpoint.tokenizer_source import folder_tokenizer, gguf_tokenizer
from understudy.checkpoint.weights import Weights
from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.gguf import GgufFile, read_gguf
from understudy.formats.tensor import BLOCKS
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.spec import ModelSpec, tensor_shapes

_MANY_LAYERS = 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened model.

    Attributes:
        spec: its shape.
        weights: exactly the names of `spec.tensor_shapes(spec)`.
        tokenizer_source: what its tokenizer is made from; None: it has none.
        path: of the file or folder.
        metadata: the file's config.
        tokenizer_files: of a folder, by name; None: those that lie at `path`.
        token_bias: what its files add to the logits of every answer.
    """

    spec: ModelSpec
    weights: Weights
    tokenizer_source: TokenizerSource | None
    path: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_files: Mapping[str, bytes] | None = None
    token_bias: TokenBias = NO_BIAS

    def stored_bytes(self) -> int:
        """Bytes of all tensors on disk."""
        return sum(self.weights.stored(name).data.size for name in self.weights)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens a model; weights stay on disk, mapped.

    Args:
        path: a GGUF file, a Hugging Face folder, or a .nemo file or folder.

    Raises:
        MissingError: a file, shard or tensor is not there.
        FormatError: bytes, shapes or keys are not what they should be.
        UnsupportedError: an architecture, key or tensor format that is not implemented.
    """
    path = Path(path)
    if not path.exists():
        raise MissingError(
            "no such file or folder",
            where=path,
            do="`understudy list` prints the models that are here",
        )
    if path.is_dir():
        if (path / "model_config.yaml").exists() and not (path / "config.json").exists():
            return _open_nemo(path)
        return _open_folder(path)
    if path.suffix == ".nemo":
        return _open_nemo(path)
    return _from_gguf(read_gguf(path))


def _open_nemo(path: Path) -> Checkpoint:
    from understudy.checkpoint.nemo import (
        open_nemo,
    )  # its reader needs PyYAML, which nothing else at run time does

    spec, weights, source, config = open_nemo(path)
    return _checked(spec, weights, source, path, config)


def _open_folder(folder: Path) -> Checkpoint:
    config = read_config(folder)
    family = architecture(config.get("model_type"), folder / "config.json")
    if _is_absurd(config.get("num_hidden_layers")):  # before a table of so many blocks is made
        _check_layers(config["num_hidden_layers"], len(read_weights(folder, config)), folder)
    spec = family.spec_of(without_quantization(config), folder / "config.json")
    stored = read_weights(folder, config)
    if family.mend_folder is not None:
        family.mend_folder(stored)
    weights = from_file(spec, family.folder_names, stored, folder)
    spec = settle_head(spec, weights, folder)
    opened = _checked(spec, weights, folder_tokenizer(folder, config), folder, config)
    bias = folder_token_bias(folder, config, spec.vocab_size)
    return dataclasses.replace(opened, token_bias=bias)


def _is_absurd(layers: object) -> bool:
    return type(layers) is int and layers > _MANY_LAYERS


def _check_layers(announced: int, num_tensors: int, path: Path) -> None:
    if announced > num_tensors:
        raise MissingError(
            "more layers are announced than there are tensors",
            where=path,
            expected=f"at most {num_tensors}",
            found=announced,
        )


def _checked(
    spec: ModelSpec,
    weights: Weights,
    source: TokenizerSource | None,
    path: Path,
    metadata: Mapping[str, Any],
) -> Checkpoint:
    _check_layers(spec.num_layers, len(weights), path)
    expected = tensor_shapes(spec)
    _drop_zero_biases(weights, expected)
    if absent := [name for name in expected if name not in weights]:
        raise MissingError(
            f"{len(absent)} of {len(expected)} tensors are missing",
            where=path,
            found=f"no {', '.join(absent[:3])}",
        )
    if extra := [name for name in weights if name not in expected]:
        raise UnsupportedError(
            f"{len(extra)} tensors that this architecture does not have",
            where=path,
            found=", ".join(extra[:3]),
        )
    for name, shape in expected.items():
        found = weights.stored(name).shape
        if (format := weights.stored(name).format) not in BLOCKS:
            raise UnsupportedError(
                "data type is not implemented for a matrix of the network",
                where=f"{path}: {name}",
                expected=" ".join(BLOCKS),
                found=format,
            )
        if found != shape:
            raise FormatError(
                "tensor has the wrong shape", where=f"{path}: {name}", expected=shape, found=found
            )
    return Checkpoint(spec, weights, source, path, metadata)


def _drop_zero_biases(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Biases that the architecture does not have and that add nothing: AutoGPTQ wrote one for each
    layer.
    """
    for name in [n for n in weights if n not in expected and n.endswith("_proj.bias")]:
        if not weights[name].to_float32().any():
            weights.remove(name)


def _from_gguf(file: GgufFile) -> Checkpoint:
    refuse_gguf_adapter(file)
    family = architecture_of_gguf(
        file.metadata.get("general.architecture"), f"{file.path}: general.architecture"
    )
    for key, value in file.metadata.items():
        if key.endswith(".block_count") and _is_absurd(value):
            _check_layers(value, len(file.tensors), file.path)
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    spec = family.spec_of_gguf(file.metadata, shapes, file.path)
    # Our writer's note that the head is there only for readers that demand one.
    says_tied = file.metadata.get("understudy.tied_embeddings") is True
    spec = spec.replace(tied_embeddings=says_tied or spec.tied_embeddings)
    factors = {name: file.tensors[name].to_float32() for name in TENSORS if name in file.tensors}
    arch = family.gguf_architecture or family.name
    if spec.rotary_dim:
        scaling = read_gguf_rope(arch, file.metadata, factors, spec, file.path)
        spec = spec.replace(rope_scaling=scaling)
    scales = matrix_scales(file.tensors)
    names = without_further_layers(list(shapes), file.metadata, spec.num_layers, file.path)
    stored = {
        name: file.tensors[name]
        for name in names
        if name not in {*TENSORS, *scales} and not name.endswith(IGNORED_SUFFIXES)
    }
    weights = from_file(spec, family.gguf_names, Weights(stored), file.path)
    if unknown := [name for name in weights if name in stored]:
        raise UnsupportedError("unknown tensor", where=file.path, found=unknown[0])
    apply_scales(spec, family.gguf_names, weights, scales)
    spec = settle_head(spec, weights, file.path)
    undo_gguf(family, spec, weights)
    source, bias = (
        gguf_tokenizer(file.metadata),
        gguf_token_bias(file.metadata, file.path, spec.vocab_size),
    )
    opened = _checked(spec, weights, source, file.path, file.metadata)
    return dataclasses.replace(opened, token_bias=bias)
