"""Hugging Face folders: config.json beside safetensors (one file or shards) or a pytorch_model.bin.

The header of a safetensors file is checked here before anything is mapped. Layout: the safetensors
format description.
"""

from __future__ import annotations

import itertools
import json
import mmap
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.tensor import RAW, StoredTensor, num_bytes
from understudy.formats.torch_pickle import read_torch_file

MAX_HEADER_BYTES = 100_000_000  # the limit of the reference implementation
_FORMATS = ("F32", "F16", "BF16", *RAW)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        MissingError: no such file.
        FormatError: not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror or error}", where=path) from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON ({error})", where=path) from error
    if not isinstance(value, dict):
        raise FormatError("not a JSON object", where=path, found=type(value).__name__)
    return value


def map_file(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped read-only.

    Raises:
        MissingError: it cannot be opened.
        FormatError: it is empty.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                raise FormatError("file is empty", where=path)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror or error}", where=path) from error


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Tensors of one safetensors file, mapped.

    Raises:
        FormatError: truncated or mutated.
        UnsupportedError: a data type other than floats and whole numbers of whole bytes.
    """
    data = map_file(path)
    if len(data) < 8:
        raise FormatError("file is too short for safetensors", where=path)
    (size,) = struct.unpack("<Q", data[:8].tobytes())
    if size > min(len(data) - 8, MAX_HEADER_BYTES):
        raise FormatError(
            "header is longer than the file", where=path, found=size, do="fetch the file again"
        )
    try:
        header = json.loads(data[8 : 8 + size].tobytes())
        entries = {str(k): v for k, v in header.items() if k != "__metadata__"}
    except (ValueError, AttributeError, RecursionError) as error:
        raise FormatError(
            f"header is not JSON ({error})", where=path, do="fetch the file again"
        ) from error
    body = data[8 + size :]
    tensors = {name: _tensor(name, entry, body, path) for name, entry in entries.items()}
    spans = sorted(
        (t.data.ctypes.data, t.data.ctypes.data + t.data.size, name) for name, t in tensors.items()
    )
    for (_, end, first), (begin, _, second) in itertools.pairwise(spans):
        if begin < end:
            raise FormatError("tensors overlap", where=path, found=f"{first} and {second}")
    return tensors


def _tensor(name: str, entry: Any, body: NDArray[np.uint8], path: Path) -> StoredTensor:
    where = f"{path}: tensor {name}"
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise FormatError("header entry is malformed", where=where) from error
    if not all(type(value) is int and value >= 0 for value in (*shape, begin, end)):
        raise FormatError("shape and offsets must be whole numbers", where=where)
    if dtype not in _FORMATS:
        raise UnsupportedError(
            "data type is not implemented", where=where, expected=" ".join(_FORMATS), found=dtype
        )
    expected = num_bytes(dtype, shape, where)
    if not begin <= end <= len(body) or end - begin != expected:
        raise FormatError(
            "tensor does not fit the file",
            where=where,
            expected=f"{expected} bytes",
            found=f"bytes {begin} to {end} of {len(body)}",
            do="fetch the file again",
        )
    return StoredTensor(name, shape, dtype, body[begin:end])


def read_folder_tensors(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a Hugging Face folder: safetensors before pickles, an index before a single
    file.

    Raises:
        MissingError: no weights, or a shard that the index names is not there.
    """
    for stem, suffix, read in (
        ("model", ".safetensors", read_safetensors),
        ("pytorch_model", ".bin", read_torch_file),
    ):
        index = folder / f"{stem}{suffix}.index.json"
        if index.exists():
            return _read_shards(folder, index, read)
        if (folder / f"{stem}{suffix}").exists():
            return read(folder / f"{stem}{suffix}")
    raise MissingError(
        "no weights",
        where=folder,
        expected="model.safetensors or pytorch_model.bin (or their index)",
    )


def _read_shards(folder: Path, index: Path, read: Any) -> dict[str, StoredTensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise FormatError("weight_map is not a mapping of names to files", where=index)
    tensors: dict[str, StoredTensor] = {}
    for shard in dict.fromkeys(weight_map.values()):
        if Path(shard).name != shard:
            raise FormatError("a shard lies outside the folder", where=index, found=shard)
        if not (folder / shard).exists():
            raise MissingError(
                "shard is missing",
                where=folder / shard,
                do=f"fetch it again; {index.name} names it",
            )
        tensors |= read(folder / shard)
    absent = [name for name in weight_map if name not in tensors]
    if absent:
        raise MissingError(
            "the index names tensors that no shard holds", where=index, found=", ".join(absent[:3])
        )
    return tensors


def write_safetensors(
    path: Path, tensors: Iterable[StoredTensor], shapes: dict[str, tuple[tuple[int, ...], str]]
) -> None:
    """Writes one safetensors file at `path`, streaming.

    Args:
        shapes: name -> (shape, format) of every tensor, in order, known before the data; formats
            F32, F16, BF16.
        tensors: in the same order.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, format) in shapes.items():
        size = num_bytes(format, shape, name)
        header[name] = {
            "dtype": format,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for (name, (shape, format)), tensor in zip(shapes.items(), tensors, strict=True):
            if (tensor.name, tensor.shape, tensor.format) != (name, shape, format):
                raise ValueError(
                    f"{tensor.name} {tensor.shape} {tensor.format} came where {name} was announced"
                )
            file.write(np.ascontiguousarray(tensor.data).data)
