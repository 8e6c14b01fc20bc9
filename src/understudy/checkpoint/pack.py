"""From a checkpoint to what the core computes on: panels of 16 rows, effective norm gains, one
mapped file in the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.finite import check_finite
from understudy.core import PackedTensor
from understudy.errors import MemoryBudgetError, UnderstudyError, UnderstudyWarning
from understudy.experts import is_router
from understudy.formats.block_formats import LAYOUTS
from understudy.formats.cache_files import apply_limit
from understudy.formats.gguf import shard_paths
from understudy.formats.packed import LAYOUT, PackedEntry, cache_folder, read_packed, write_packed
from understudy.spec import (
    ModelSpec,
    PackedFormat,
    QuantSpec,
    has_centred_gain,
    is_convolution,
    part_of,
)

Progress = Callable[[int, int], None]

# What a file format becomes where nothing else is asked for. K blocks of five and six bits are
# rounded anew to 8 bits.
_NATURAL: dict[str, PackedFormat] = {
    "F32": "f32",
    "F16": "f32",
    "BF16": "bf16",
    "Q8_0": "q8",
    "Q4_0": "q4",
    "Q4_1": "q4_1",
    "Q4_K": "q4_1",
    "Q5_0": "q8",
    "Q5_1": "q8",
    "Q5_K": "q8",
    "Q6_K": "q8",
    "Q3_U": "q3",
    **dict.fromkeys(LAYOUTS, "q8"),
}


def natural_format(stored: str) -> PackedFormat:
    """What a file format is packed into when nothing else is asked for."""
    return _NATURAL[stored]


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A spec and its packed tensors; `fingerprint` changes with the weights and their formats."""

    spec: ModelSpec
    tensors: Mapping[str, PackedTensor]
    fingerprint: str

    def num_bytes(self) -> int:
        return sum(t.data.size for t in self.tensors.values())


def packed_format(name: str, stored: str, quant: QuantSpec | None) -> PackedFormat:
    """The format in which a matrix is packed."""
    if is_router(name):
        return "f32"
    chosen: str | None = None
    if quant is not None:
        chosen = quant.weights
        if name == "model.embed_tokens.weight" and quant.embedding is not None:
            chosen = quant.embedding
        if name == "lm_head.weight" and quant.head is not None:
            chosen = quant.head
    if chosen is None:
        return _NATURAL[stored]
    if chosen == "q4" and _NATURAL[stored] == "q4_1":
        return "q4_1"  # the file's own 4-bit grid; another one would only lose
    return chosen  # type: ignore[return-value]


def packed_layout(spec: ModelSpec, name: str, format: PackedFormat) -> PackedFormat:
    """Another order of the same values where it pays: behind a squared ReLU most inputs are zero,
    and in `q4_sparse` what they would meet is not read."""
    is_sparse = spec.activation == "relu2" and name.endswith("down_proj.weight")
    return "q4_sparse" if format == "q4" and is_sparse else format


def packed_sizes(checkpoint: Checkpoint, quant: QuantSpec | None = None) -> dict[str, int]:
    """Bytes of each tensor once packed, without packing anything."""
    sizes = {}
    for name in checkpoint.weights:
        tensor = checkpoint.weights.stored(name)
        if len(tensor.shape) == 1 or is_convolution(name):
            sizes[name] = 4 * math.prod(tensor.shape)
        else:
            format = packed_layout(checkpoint.spec, name, packed_format(name, tensor.format, quant))
            sizes[name] = core.packed_bytes(format, *tensor.shape)
    return sizes


def bytes_per_token(spec: ModelSpec, sizes: Mapping[str, int]) -> dict[str, int]:
    """What one decoded token reads of tensors of these packed sizes, by part and in total: all of
    them once, of the embedding one row, and again the whole where it is the head too, and of a
    mixture the experts that a token meets."""
    parts: dict[str, int] = {}
    for name, size in sizes.items():
        part = part_of(name)
        if part == "embedding":
            parts[part] = size // spec.vocab_size
            if spec.tied_embeddings:
                parts["head"] = size
        else:
            parts[part] = parts.get(part, 0) + size
    if spec.experts is not None and "experts" in parts:
        parts["experts"] = parts["experts"] * spec.experts.used // spec.experts.count
    return parts | {"total": sum(parts.values())}


def pack(
    checkpoint: Checkpoint,
    quant: QuantSpec | None = None,
    *,
    use_cache: bool = True,
    progress: Progress | None = None,
) -> PackedModel:
    """Packs a checkpoint, or maps the file of an earlier time.

    Args:
        quant: formats to pack into; default what the file holds.
        use_cache: keep the result in the cache folder; else, and where that cannot be written, it
            lives in memory.
        progress: called with (tensors done, tensors in all).

    Raises:
        FormatError: weights that are not finite numbers.
        MemoryBudgetError: it would not fit into this machine's memory; said before any work.
    """
    key, fingerprint = _key(checkpoint, quant), packed_fingerprint(checkpoint, quant)
    path = cache_folder() / f"{checkpoint.path.stem}-{fingerprint}.pack"
    if use_cache and (tensors := read_packed(path, key)) is not None:
        return PackedModel(checkpoint.spec, tensors, fingerprint)
    sizes = packed_sizes(checkpoint, quant)
    check_memory(sum(sizes.values()), f"the weights of {checkpoint.path.name}")
    entries = [_entry(checkpoint, name, quant, sizes[name]) for name in checkpoint.weights]
    packed = _kept(path, key, entries, progress) if use_cache else None
    if packed is None:
        packed = _in_memory(entries, progress)
    return PackedModel(checkpoint.spec, packed, fingerprint)


def _kept(
    path: Path, key: dict[str, Any], entries: list[PackedEntry], progress: Progress | None
) -> dict[str, PackedTensor] | None:
    """Packed into the cache folder; None, with a warning, where nothing can be kept there."""
    if path.is_file():
        note = f"{path}: the packed weights were damaged; they are packed anew"
        warnings.warn(note, UnderstudyWarning, stacklevel=2)
    try:
        write_packed(path, key, entries, progress)
    except UnderstudyError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        warnings.warn(
            f"{error}. The weights are packed in memory, at every start anew; UNDERSTUDY_CACHE "
            "names another folder, `understudy cache` lists and clears this one",
            UnderstudyWarning,
            stacklevel=2,
        )
        return None
    apply_limit(keep=path)
    return read_packed(path, key)


def _in_memory(entries: list[PackedEntry], progress: Progress | None) -> dict[str, PackedTensor]:
    packed: dict[str, PackedTensor] = {}
    for done, entry in enumerate(entries):
        data = np.empty(entry.num_bytes, np.uint8)
        entry.fill(data)
        shape = entry.rows, entry.columns
        packed[entry.name] = PackedTensor(entry.format, *shape, data)  # type: ignore[arg-type]
        if progress is not None:
            progress(done + 1, len(entries))
    return packed


def packed_fingerprint(checkpoint: Checkpoint, quant: QuantSpec | None = None) -> str:
    """`PackedModel.fingerprint` without packing: of the files' place, sizes and times of change,
    and of the formats.
    """
    return hashlib.sha256(json.dumps(_key(checkpoint, quant), sort_keys=True).encode()).hexdigest()[
        :24
    ]


def available_memory() -> int | None:
    """Bytes that the system could give now; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration, ValueError):
        return None


def check_memory(needed: int, what: str) -> None:
    """MemoryBudgetError when `needed` bytes are more than the machine can give."""
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryBudgetError(
            "not enough memory",
            where=what,
            expected=f"{needed / 1e9:.2f} GB free",
            found=f"{available / 1e9:.2f} GB",
            do="choose a smaller format (--weights q4), a shorter context or an int8 cache, or "
            "close other programs",
        )


def _key(checkpoint: Checkpoint, quant: QuantSpec | None) -> dict[str, Any]:
    path = checkpoint.path.resolve()
    files = (
        sorted(p for p in path.iterdir() if p.is_file())
        if path.is_dir()
        else shard_paths(checkpoint.path)  # by its own name: the hub links it to another
    )
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()]
    formats = asdict(quant) if quant is not None else None
    key = {"layout": LAYOUT, "path": os.fspath(path), "files": stats, "formats": formats}
    return json.loads(json.dumps(key))  # type: ignore[no-any-return]


def _entry(
    checkpoint: Checkpoint, name: str, quant: QuantSpec | None, num_bytes: int
) -> PackedEntry:
    stored = checkpoint.weights.stored(name)
    where = f"{checkpoint.path}: {name}"
    if len(stored.shape) == 1 or is_convolution(name):
        is_offset = has_centred_gain(checkpoint.spec, name)

        def fill_vector(out: NDArray[np.uint8]) -> None:
            check_finite(checkpoint.weights[name], where)
            values = checkpoint.weights[name].to_float32()
            out[:] = (values + np.float32(is_offset)).reshape(-1).view(np.uint8)

        return PackedEntry(name, "f32", 1, math.prod(stored.shape), num_bytes, fill_vector)
    target = packed_layout(checkpoint.spec, name, packed_format(name, stored.format, quant))
    rows, columns = stored.shape

    def fill_matrix(out: NDArray[np.uint8]) -> None:
        tensor = checkpoint.weights[name]
        check_finite(tensor, where)
        if tensor.format in LAYOUTS:  # the core does not read these
            tensor = tensor.to_format("Q8_0" if target == "q8" else "F32")
        core.pack_into(tensor.format, tensor.data, rows, columns, target, out)

    return PackedEntry(name, target, rows, columns, num_bytes, fill_matrix)
