"""Tensors in a GGUF whose format ggml has no type for.

They lie there as I8, (…, rows, bytes of a row), and a metadata key names them as "tensor=format".
Other programs can list, copy and split such a file; none takes the bytes for weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, UnsupportedError
from understudy.formats import q3
from understudy.formats.tensor import OWN_FORMATS, StoredTensor, row_bytes

KEY = "understudy.tensor_formats"
CARRIER = "I8"


def metadata_of(shapes: Iterable[tuple[str, tuple[int, ...], str]]) -> dict[str, Any]:
    """What the file must say of tensors of these names, shapes and formats."""
    own = [f"{name}={format}" for name, _, format in shapes if format in OWN_FORMATS]
    return {KEY: own} if own else {}


def carried(shape: tuple[int, ...], format: str) -> tuple[tuple[int, ...], str]:
    """The shape and the ggml type that stand in the file."""
    return (
        ((*shape[:-1], row_bytes(format, shape[-1])), CARRIER)
        if format in OWN_FORMATS
        else (shape, format)
    )


def restored(
    tensors: Mapping[str, StoredTensor], metadata: Mapping[str, Any], path: Path
) -> dict[str, StoredTensor]:
    """All tensors, those that the metadata name as what they are.

    Raises:
        UnsupportedError: a format of a later version.
        FormatError: what is named is not there, or not whole rows.
    """
    named, where = metadata.get(KEY, []), f"{path}: {KEY}"
    if not isinstance(named, list) or not all(isinstance(entry, str) for entry in named):
        raise FormatError("not a list of tensors and formats", where=where)
    found = dict(tensors)
    for entry in named:
        name, _, format = entry.rpartition("=")
        if format not in OWN_FORMATS:
            raise UnsupportedError(
                "tensor format is not implemented",
                where=where,
                expected=" ".join(OWN_FORMATS),
                found=entry,
                do="use a newer version",
            )
        found[name] = _restored(name, format, tensors.get(name), path)
    return found


def _restored(name: str, format: str, raw: StoredTensor | None, path: Path) -> StoredTensor:
    has_rows = raw is not None and raw.format == CARRIER and len(raw.shape) > 1
    columns = q3.columns_of(raw.shape[-1]) if raw is not None and has_rows else None
    if raw is None or columns is None:
        raise FormatError(
            "not the bytes of whole rows",
            where=f"{path}: tensor {name}",
            expected=f"{CARRIER} rows of {format}",
            found="no such tensor" if raw is None else f"{raw.format} {raw.shape}",
            do="fetch the file again",
        )
    return StoredTensor(name, (*raw.shape[:-1], columns), format, raw.data)
