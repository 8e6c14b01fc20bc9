"""From the tensors of a file to those of a spec, and back: names, fused rows, shapes with idle
axes, and GGUF's own conventions (norm gains with their offset, interleaved q and k rows, Mamba's
-exp(A_log), the order of value heads)."""

from __future__ import annotations

import functools
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.architecture import Architecture, interleaved_order
from understudy.checkpoint.naming import Naming, file_tensors
from understudy.checkpoint.tiled_heads import reordering, written_format
from understudy.checkpoint.weights import Weights
from understudy.errors import CheckpointWarning, FormatError
from understudy.experts import expert_number
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec, has_centred_gain, is_convolution, tensor_shapes

Change = Callable[[StoredTensor], StoredTensor]
Plan = dict[str, tuple[tuple[int, ...], str]]  # canonical name -> shape, format
# A file's name -> the canonical ones whose rows it holds, shape, format.
FilePlan = dict[str, tuple[tuple[str, ...], tuple[int, ...], str]]
Read = Callable[[str], StoredTensor]  # by canonical name
Factors = NDArray[np.float32]


def from_file(spec: ModelSpec, naming: Naming, weights: Weights, where: object) -> Weights:
    """The tensors of a file under canonical names and in the spec's shapes; a name that is not the
    family's is kept, to be refused by whoever counts them.

    Raises:
        FormatError: a fused tensor has another number of rows than its parts.
    """
    table, shapes = file_tensors(spec, naming), tensor_shapes(spec)
    found = Weights({})
    for name in weights:
        parts = table.get(naming.settle(name)) or (naming.back(name),)
        tensor = weights.stored(name)
        if len(parts) > 1:
            _split(found, weights, name, {part: shapes[part] for part in parts}, where)
        elif parts[0] in shapes:
            found.take_over(weights, name, _reshaped(tensor.renamed(parts[0]), shapes[parts[0]]))
        else:
            found.take_over(weights, name, tensor.renamed(parts[0]))
    return found


def _reshaped(tensor: StoredTensor, shape: tuple[int, ...]) -> StoredTensor:
    """The same values where only axes of 1, or the cut into norm groups, are another."""
    if len(tensor.shape) == len(shape) or math.prod(tensor.shape) != math.prod(shape):
        return tensor
    return StoredTensor(tensor.name, shape, tensor.format, tensor.data)


def _split(
    found: Weights,
    weights: Weights,
    name: str,
    parts: Mapping[str, tuple[int, ...]],
    where: object,
) -> None:
    tensor, rows = _flat(weights.stored(name)), sum(shape[0] for shape in parts.values())
    if tensor.shape[0] != rows:
        raise FormatError(
            "tensor has the wrong shape",
            where=f"{where}: {name}",
            expected=(rows, *next(iter(parts.values()))[1:]),
            found=tensor.shape,
        )
    at = 0
    for part, shape in parts.items():
        found.put(_rows(tensor, part, at, shape[0]))
        if weights.is_changed(name):
            found.change(part, _rows_of_changed(weights, name, at, shape[0]))
        at += shape[0]


def _rows(tensor: StoredTensor, name: str, begin: int, count: int) -> StoredTensor:
    """Consecutive rows, as a view."""
    row_bytes = tensor.data.size // tensor.shape[0]
    data = tensor.data[begin * row_bytes : (begin + count) * row_bytes]
    return StoredTensor(name, (count, *tensor.shape[1:]), tensor.format, data)


def _rows_of_changed(weights: Weights, name: str, begin: int, count: int) -> Change:
    return lambda part: _rows(_flat(weights[name]), part.name, begin, count)


def _flat(tensor: StoredTensor) -> StoredTensor:
    """Matrices of all experts one below the other."""
    if len(tensor.shape) != 3:
        return tensor
    shape = (tensor.shape[0] * tensor.shape[1], tensor.shape[2])
    return StoredTensor(tensor.name, shape, tensor.format, tensor.data)


def joined(name: str, tensors: list[StoredTensor]) -> StoredTensor:
    """One tensor of the rows of several, all in the format of the first."""
    first = tensors[0]
    if len(tensors) == 1:
        return first.renamed(name)
    same = [tensor.to_format(first.format) for tensor in tensors]
    shape = (sum(tensor.shape[0] for tensor in same), *first.shape[1:])
    return StoredTensor(name, shape, first.format, np.concatenate([t.data for t in same]))


def without_further_layers(
    names: list[str], metadata: Mapping[str, Any], num_layers: int, where: object
) -> list[str]:
    """The tensors of a GGUF but for the layers behind the last, which predict further tokens
    (`nextn_predict_layers`)."""
    if not any(key.endswith(".nextn_predict_layers") and metadata[key] for key in metadata):
        return names
    kept = [name for name in names if _layer_of(name) < num_layers]
    if len(kept) < len(names):
        warnings.warn(
            f"{where}: {len(names) - len(kept)} tensors of layers that predict further tokens are "
            "left out",
            CheckpointWarning,
            stacklevel=3,
        )
    return kept


def _layer_of(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1


def matrix_scales(tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[str, Factors]]:
    """Factors beside matrices of a GGUF: `NAME.scale`, which llama.cpp's converter writes
    beside NVFP4. By their own name: that of the matrix, and one factor or one for each expert."""
    scales: dict[str, tuple[str, Factors]] = {}
    for name, tensor in tensors.items():
        matrix = tensors.get(name.removesuffix(".scale") + ".weight")
        if not name.endswith(".scale") or matrix is None or len(tensor.shape) != 1:
            continue
        of_experts = len(matrix.shape) == 3 and tensor.shape[0] == matrix.shape[0]
        if tensor.shape == (1,) or of_experts:
            scales[name] = (matrix.name, tensor.to_float32())
    return scales


def apply_scales(
    spec: ModelSpec, naming: Naming, weights: Weights, scales: Mapping[str, tuple[str, Factors]]
) -> None:
    """Each matrix times its factor, when it is asked for."""
    table = file_tensors(spec, naming)
    for matrix, factors in scales.values():
        for part in table.get(matrix, ()):
            number = expert_number(part) if len(factors) > 1 else 0
            if part in weights and number is not None:
                weights.change(part, functools.partial(_times, factors[number]))


def _times(factor: np.float32, tensor: StoredTensor) -> StoredTensor:
    return StoredTensor.of(tensor.name, tensor.to_float32() * factor)


def undo_gguf(family: Architecture, spec: ModelSpec, weights: Weights) -> None:
    """GGUF's own conventions back into Hugging Face's."""
    for name in weights:
        change = _gguf_change(family, spec, name, is_reading=True)
        if change is not None:
            weights.change(name, change)


def to_gguf(family: Architecture, spec: ModelSpec, tensor: StoredTensor) -> StoredTensor:
    """The inverse of `undo_gguf`, of one tensor."""
    change = _gguf_change(family, spec, tensor.name, is_reading=False)
    return tensor if change is None else change(tensor)


def _gguf_change(
    family: Architecture, spec: ModelSpec, name: str, *, is_reading: bool
) -> Change | None:
    values = _value_change(family, spec, name, is_reading=is_reading)
    order = reordering(spec, name, is_reading=is_reading)
    if values is None or order is None:
        return values or order
    return lambda tensor: order(values(tensor))


def _value_change(
    family: Architecture, spec: ModelSpec, name: str, *, is_reading: bool
) -> Change | None:
    if name.endswith(".A_log"):
        return _log_of_decay if is_reading else _decay_of_log
    if family.norm_offset and has_centred_gain(spec, name):
        offset = np.float32(-family.norm_offset if is_reading else family.norm_offset)
        return lambda t: StoredTensor.of(t.name, t.to_float32() + offset)
    is_permuted = family.permutes_rope and spec.head_dim % 2 == 0
    if is_permuted and (".q_proj." in name or ".k_proj." in name):
        order = interleaved_order(
            spec.num_heads if ".q_proj." in name else spec.num_kv_heads, spec.head_dim
        )
        order = np.argsort(order) if is_reading else order
        return lambda t: t.take_rows(order) if t.shape[0] == order.size else t
    return None


def _log_of_decay(tensor: StoredTensor) -> StoredTensor:
    return StoredTensor.of(tensor.name, np.log(-tensor.to_float32()))


def _decay_of_log(tensor: StoredTensor) -> StoredTensor:
    return StoredTensor.of(tensor.name, -np.exp(tensor.to_float32()))


def gguf_format(spec: ModelSpec, name: str, wanted: str) -> str:
    """The format in which a GGUF can hold a tensor: blocks do not span heads that change places."""
    return written_format(spec, name, wanted)


def gguf_shape(spec: ModelSpec, name: str) -> tuple[int, ...]:
    """The shape in which llama.cpp wants a tensor."""
    shape = tensor_shapes(spec)[name]
    if name.endswith((".mamba.A_log", ".mamba.D")):
        return (*shape, 1)
    if name.endswith(".mamba.norm.weight") and spec.mamba2 is not None:
        return (spec.mamba2.norm_groups, shape[0] // spec.mamba2.norm_groups)
    return shape


def folder_shape(spec: ModelSpec, name: str) -> tuple[int, ...]:
    """The shape in which transformers wants a tensor: a convolution has one input a group."""
    shape = tensor_shapes(spec)[name]
    return (shape[0], 1, shape[1]) if is_convolution(name) else shape


def plan_file(
    spec: ModelSpec,
    naming: Naming,
    plan: Plan,
    shape_of: Callable[[ModelSpec, str], tuple[int, ...]],
) -> FilePlan:
    """What a file will hold under its own names; fused ones in their first part's format."""
    table, known = file_tensors(spec, naming), tensor_shapes(spec)
    for name in plan:  # a copied head that the spec does not have
        table.setdefault(naming.of(name), (name,))
    made: FilePlan = {}
    for name, parts in table.items():
        shapes = [shape_of(spec, part) if part in known else plan[part][0] for part in parts]
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        if spec.experts is not None and naming.stacks(parts[0]):
            whole = (spec.experts.count, whole[0] // spec.experts.count, *whole[1:])
        made[name] = (parts, whole, plan[parts[0]][1])
    return made


def gguf_tensors(
    family: Architecture, spec: ModelSpec, plan: FilePlan, read: Read
) -> Iterator[StoredTensor]:
    """In GGUF's own conventions; a head that is only copied is read from the embedding."""

    def part_of(name: str) -> StoredTensor:
        is_copied_head = name == "lm_head.weight" and spec.tied_embeddings
        return to_gguf(family, spec, read("model.embed_tokens.weight" if is_copied_head else name))

    return folder_tensors(plan, part_of)


def folder_tensors(plan: FilePlan, read: Read) -> Iterator[StoredTensor]:
    """The tensors of a file, one at a time."""
    for name, (parts, shape, format) in plan.items():
        tensor = joined(name, [read(part).to_format(format) for part in parts])
        yield StoredTensor(name, shape, format, tensor.data)
