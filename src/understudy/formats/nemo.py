""".nemo archives: a tar of model_config.yaml, a SentencePiece model and the weights as zarr arrays;
or the same, unpacked.

Nothing is extracted: chunks are views of the mapped archive. Layers are stacked on axis 0 of an
array, and a layer may be cut into several chunks (one per tensor-parallel rank of the training
run). Layout: zarr version 2, without compression.
"""

from __future__ import annotations

import itertools
import json
import math
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from understudy.errors import CheckpointError, FormatError, MissingError, UnsupportedError
from understudy.formats.safetensors_folder import map_file

Bytes = NDArray[np.uint8]

_MAX_TEXT_BYTES = 4 << 20
_DTYPES = {"bfloat16": "BF16", "<V2": "BF16", "|V2": "BF16", "<f4": "F32", "<f2": "F16"}
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class ZarrArray:
    """One array: `shape` in chunks of `chunk_shape`; `chunks` name the member of each key, such as
    "3.0" for layer 3, rank 0.
    """

    name: str
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    format: str
    separator: str
    chunks: Mapping[str, str]
    members: Mapping[str, Bytes]

    def take(self, layer: int | None) -> Bytes:
        """Flat bytes of one layer (an index of axis 0), or of everything. A view where one chunk
        holds exactly that.

        Raises:
            MissingError: a chunk is not there.
            FormatError: a chunk has a wrong size.
        """
        begin = [0] * len(self.shape)
        extents = list(self.shape)
        if layer is not None:
            begin[0], extents[0] = layer, 1
        grid = [
            range(b // c, -(-(b + n) // c))
            for b, n, c in zip(begin, extents, self.chunk_shape, strict=True)
        ]
        item = np.dtype(np.uint32 if self.format == "F32" else np.uint16)
        keys = list(itertools.product(*grid))
        if len(keys) == 1 and self.chunk_shape == tuple(extents):
            return self._chunk(keys[0])
        self._chunk(
            keys[0]
        )  # of the right size, so that the memory taken below is at most that of the chunks
        out = np.empty(extents, item)
        for key in keys:
            chunk = self._chunk(key).view(item).reshape(self.chunk_shape)
            source, target = [], []
            for index, size, first, extent in zip(
                key, self.chunk_shape, begin, extents, strict=True
            ):
                start, end = max(index * size, first), min((index + 1) * size, first + extent)
                source.append(slice(start - index * size, end - index * size))
                target.append(slice(start - first, end - first))
            out[tuple(target)] = chunk[tuple(source)]
        return out.reshape(-1).view(np.uint8)

    def _chunk(self, key: tuple[int, ...]) -> Bytes:
        name = self.separator.join(map(str, key))
        if name not in self.chunks:
            raise MissingError(
                "a chunk of the array is missing",
                where=f"{self.name}/{name}",
                do="fetch the file again",
            )
        data, expected = (
            self.members[self.chunks[name]],
            math.prod(self.chunk_shape) * _ITEM_BYTES[self.format],
        )
        if data.size != expected:
            raise FormatError(
                "chunk has a wrong size",
                where=f"{self.name}/{name}",
                expected=expected,
                found=data.size,
            )
        return data


@dataclass(frozen=True, slots=True)
class NemoFile:
    """`config` is model_config.yaml, `tokenizer_model` the SentencePiece model that it names,
    `arrays` the weights by name.
    """

    path: Path
    config: dict[str, Any]
    tokenizer_model: bytes | None
    arrays: dict[str, ZarrArray]


def read_nemo(path: Path) -> NemoFile:
    """Opens a .nemo file or an unpacked folder; weights stay on disk, mapped.

    Raises:
        MissingError: no such file, no configuration, no weights.
        FormatError: truncated or mutated.
        UnsupportedError: weights in another layout than uncompressed zarr.
    """
    try:
        members = _Unpacked(path) if path.is_dir() else _archived(path)
        return _read_members(path, members)
    except CheckpointError:
        raise
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror or error}", where=path) from error
    except (
        Exception
    ) as error:  # a mutated tar or YAML can raise anything that their parsers can provoke
        raise FormatError(
            f"not a .nemo archive ({type(error).__name__}: {str(error)[:200]})", where=path
        ) from error


class _Unpacked(Mapping[str, Bytes]):
    """Files of a folder, mapped when asked for and not kept: thousands of chunks would use up the
    open files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = (p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
        self._names = dict.fromkeys(p.relative_to(folder).as_posix() for p in files)

    def __getitem__(self, name: str) -> Bytes:
        if name not in self._names:
            raise KeyError(name)
        return map_file(self._folder / name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _archived(path: Path) -> dict[str, Bytes]:
    mapped = map_file(path)
    if mapped[:2].tobytes() == b"\x1f\x8b":
        raise UnsupportedError(
            "compressed archive", where=path, do="unpack it (tar xzf) and give the folder"
        )
    members: dict[str, Bytes] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if not member.isfile() or member.issparse():
                continue
            end = member.offset_data + member.size
            if member.size < 0 or end > mapped.size:
                raise FormatError(
                    "file ends too early",
                    where=f"{path}: {member.name}",
                    expected=end,
                    found=mapped.size,
                )
            members[member.name.removeprefix("./")] = mapped[member.offset_data : end]
    return members


def _read_members(path: Path, members: Mapping[str, Bytes]) -> NemoFile:
    if "model_config.yaml" not in members:
        raise MissingError("no model_config.yaml", where=path)
    config = yaml.safe_load(_text(members["model_config.yaml"], "model_config.yaml"))
    if not isinstance(config, dict):
        raise FormatError(
            "not a mapping", where=f"{path}: model_config.yaml", found=type(config).__name__
        )
    if any(name.endswith(".distcp") for name in members):
        raise UnsupportedError(
            "weights are in the torch_dist layout",
            where=path,
            expected="zarr",
            do="take the Hugging Face folder of this model, or convert it with NeMo",
        )
    if any(name.endswith(".ckpt") for name in members):
        raise UnsupportedError(
            "weights are one PyTorch checkpoint",
            where=path,
            expected="zarr",
            do="take the Hugging Face folder of this model, or convert it with NeMo",
        )
    arrays = _arrays(members)
    if not arrays:
        raise MissingError("no weights", where=path, expected="zarr arrays below model_weights")
    return NemoFile(path, config, _tokenizer_model(config, members), arrays)


def _text(data: Bytes, where: str) -> str:
    if data.size > _MAX_TEXT_BYTES:
        raise FormatError(
            "file is too long", where=where, expected=f"at most {_MAX_TEXT_BYTES}", found=data.size
        )
    return data.tobytes().decode()


def _tokenizer_model(config: dict[str, Any], members: Mapping[str, Bytes]) -> bytes | None:
    """The file that tokenizer.model names as `nemo:<file>`, else the only *.model there is."""
    section = config.get("tokenizer")
    named = section.get("model") if isinstance(section, dict) else None
    name = named.removeprefix("nemo:") if isinstance(named, str) else ""
    candidates = [member for member in members if member.endswith(".model")]
    if name not in members and len(candidates) == 1:
        name = candidates[0]
    return members[name].tobytes() if name in members else None


def _arrays(members: Mapping[str, Bytes]) -> dict[str, ZarrArray]:
    chunks: dict[str, dict[str, str]] = {}
    for member in members:
        folder, _, key = member.rpartition("/")
        while folder and f"{folder}/.zarray" not in members:  # keys may be nested: separator "/"
            folder, _, head = folder.rpartition("/")
            key = f"{head}/{key}"
        if folder and not key.startswith("."):
            chunks.setdefault(folder, {})[key] = member
    found = (name.removesuffix("/.zarray") for name in members if name.endswith("/.zarray"))
    arrays = (_array(folder, chunks.get(folder, {}), members) for folder in found)
    return {array.name: array for array in arrays}


def _array(folder: str, chunks: dict[str, str], members: Mapping[str, Bytes]) -> ZarrArray:
    keys = json.loads(_text(members[f"{folder}/.zarray"], folder))
    if keys.get("zarr_format") != 2 or keys.get("order", "C") != "C":
        raise UnsupportedError(
            "zarr layout is not implemented", where=folder, expected="version 2 in C order"
        )
    if keys.get("compressor") is not None or keys.get("filters"):
        raise UnsupportedError(
            "compressed zarr chunks are not implemented", where=folder, found=keys.get("compressor")
        )
    shape, chunk_shape, dtype = tuple(keys["shape"]), tuple(keys["chunks"]), keys["dtype"]
    if len(shape) != len(chunk_shape) or not all(
        type(n) is int and 0 < n < 1 << 40 for n in (*shape, *chunk_shape)
    ):
        raise FormatError(
            "array has an impossible shape",
            where=folder,
            found=f"{shape} in chunks of {chunk_shape}",
        )
    if isinstance(dtype, list) or dtype not in _DTYPES:
        raise UnsupportedError(
            "data type is not implemented", where=folder, expected="bfloat16 <f4 <f2", found=dtype
        )
    num_chunks = math.prod(-(-n // c) for n, c in zip(shape, chunk_shape, strict=True))
    if num_chunks > len(chunks):
        raise MissingError(
            "chunks of the array are missing", where=folder, expected=num_chunks, found=len(chunks)
        )
    separator = keys.get("dimension_separator", ".")
    return ZarrArray(
        folder.rpartition("/")[2], shape, chunk_shape, _DTYPES[dtype], separator, chunks, members
    )
