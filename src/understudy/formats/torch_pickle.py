"""PyTorch's zip files (pytorch_model.bin) without PyTorch: a pickle machine that admits the few
globals that tensors need and nothing else, so a file cannot run code. Tensor data are mapped, not
read.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.tensor import BLOCKS, StoredTensor

MAX_PICKLE_BYTES = 64 << 20
_STORAGES = {"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}


@dataclass(frozen=True, slots=True)
class _StorageType:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    format: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class _Lazy:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Lazy:
    values = (offset, *shape, *strides)
    if (
        not isinstance(storage, _Storage)
        or len(shape) != len(strides)
        or not all(type(v) is int and v >= 0 for v in values)
    ):
        raise pickle.UnpicklingError("malformed tensor record")
    return _Lazy(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


_GLOBALS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _GLOBALS:
            return _GLOBALS[module, name]
        if module == "torch" and name.endswith("Storage"):
            return _StorageType(name)
        raise UnsupportedError(
            "pickle asks for a global that tensors do not need",
            found=f"{module}.{name}",
            do="do not load this file elsewhere either: such a pickle can run code",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        try:
            kind, storage_type, key, _, count = pid
        except (TypeError, ValueError) as error:
            raise pickle.UnpicklingError("malformed storage record") from error
        if (
            kind != "storage"
            or not isinstance(storage_type, _StorageType)
            or not isinstance(key, str)
            or type(count) is not int
        ):
            raise pickle.UnpicklingError("malformed storage record")
        if storage_type.name not in _STORAGES:
            raise UnsupportedError(
                "storage type is not implemented",
                expected=" ".join(_STORAGES),
                found=storage_type.name,
            )
        return _Storage(_STORAGES[storage_type.name], key, count)


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """Tensors of a state dict saved by `torch.save` (zip format).

    Raises:
        FormatError: truncated, mutated, compressed or not a state dict.
        UnsupportedError: foreign globals, other data types, the old format before PyTorch 1.6.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path)
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror or error}", where=path) from error
    except UnsupportedError as error:
        raise UnsupportedError(
            error.what, where=path, expected=error.expected, found=error.found, do=error.do
        ) from error
    except (FormatError, MissingError):
        raise
    except zipfile.BadZipFile as error:
        raise FormatError(
            f"not a PyTorch zip file ({error})",
            where=path,
            do="save it again with PyTorch 1.6 or later",
        ) from error
    except Exception as error:  # a mutated pickle can raise anything its opcodes can provoke
        raise FormatError(
            f"cannot be unpickled ({type(error).__name__}: {str(error)[:200]})", where=path
        ) from error


def _read_archive(archive: zipfile.ZipFile, path: Path) -> dict[str, StoredTensor]:
    names = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise FormatError("archive holds no single data.pkl", where=path, found=len(pickles))
    root = pickles[0][: -len("data.pkl")]
    if names[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise FormatError("pickle is too long", where=path, found=names[pickles[0]].file_size)
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
        raise UnsupportedError("only little-endian files are read")
    state = _Unpickler(io.BytesIO(archive.read(pickles[0]))).load()
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise FormatError("not a state dict", where=path, found=type(state).__name__)
    mapped = np.memmap(path, np.uint8, "r")
    return {
        str(name): _stored(str(name), lazy, names, root, mapped, path)
        for name, lazy in state.items()
    }


def _stored(
    name: str,
    lazy: Any,
    names: Mapping[str, zipfile.ZipInfo],
    root: str,
    mapped: NDArray[np.uint8],
    path: Path,
) -> StoredTensor:
    where = f"{path}: tensor {name}"
    if not isinstance(lazy, _Lazy):
        raise FormatError("entry is not a tensor", where=where, found=type(lazy).__name__)
    info = names.get(f"{root}data/{lazy.storage.key}")
    if info is None:
        raise MissingError("tensor's data are not in the file", where=where)
    item = BLOCKS[lazy.storage.format][1]
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != lazy.storage.count * item:
        raise FormatError(
            "tensor's data have a wrong size",
            where=where,
            expected=lazy.storage.count * item,
            found=info.file_size,
        )
    begin = _data_offset(mapped, info, where)
    values = mapped[begin : begin + info.file_size].view(np.uint32 if item == 4 else np.uint16)
    last = lazy.offset + sum((n - 1) * s for n, s in zip(lazy.shape, lazy.strides, strict=True))
    if 0 in lazy.shape or last >= values.size:
        raise FormatError(
            "tensor reaches beyond its data",
            where=where,
            expected=f"at most {values.size}",
            found=last,
        )
    strides = tuple(stride * item for stride in lazy.strides)
    view = np.lib.stride_tricks.as_strided(
        values[lazy.offset :], lazy.shape, strides, writeable=False
    )
    flat = (
        np.ascontiguousarray(view).reshape(-1).view(np.uint8)
    )  # a copy only where the tensor was a transposed view
    return StoredTensor(name, lazy.shape, lazy.storage.format, flat)


def _data_offset(mapped: NDArray[np.uint8], info: zipfile.ZipInfo, where: str) -> int:
    """Where a member's bytes start: behind its local header, whose name and extra field have their
    own lengths.
    """
    head = mapped[info.header_offset : info.header_offset + 30].tobytes()
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise FormatError("zip member has no header", where=where)
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    begin: int = info.header_offset + 30 + name_length + extra_length
    if begin + info.file_size > mapped.size:
        raise FormatError("tensor lies outside the file", where=where)
    return begin
