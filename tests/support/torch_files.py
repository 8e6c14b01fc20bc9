"""A pytorch_model.bin made by hand: the pickle that torch.save writes, spelled out, so that tests
need no torch.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# values, storage class, shape, strides, offset
Record = tuple[NDArray[Any], str, tuple[int, ...], tuple[int, ...], int]


def state_dict_bytes(records: Mapping[str, Record], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The zip file of an OrderedDict of tensors; each has a storage of its own."""
    out = bytearray(b"\x80\x02ccollections\nOrderedDict\n)R(")
    storages = []
    for name, (values, storage, shape, strides, offset) in records.items():
        key = str(len(storages))
        storages.append(np.ascontiguousarray(values).tobytes())
        out += _object(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += _object("storage") + b"ctorch\n" + storage.encode() + b"\n"
        out += _object(key) + _object("cpu") + _object(values.size) + b"tQ"
        out += (
            _object(offset)
            + _object(shape)
            + _object(strides)
            + b"\x89"
            + b"ccollections\nOrderedDict\n)RtR"
        )
    out += b"u."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", bytes(out))
        archive.writestr("archive/byteorder", "little")
        for key, data in enumerate(storages):
            archive.writestr(f"archive/data/{key}", data)
    return buffer.getvalue()


def _object(value: Any) -> bytes:
    """Opcodes that push one plain value (the body of its own pickle, without memo entries)."""
    import pickletools

    return pickletools.optimize(pickle.dumps(value, protocol=2))[2:-1]
