"""Trim a network to a smaller shape: any combination of width, heads, key/value groups, stream and
depth.

    shape = Shape(intermediate_size=896, num_heads=6)          # what is not named stays
    selection = select(network, shape, importance, kept_layers)
    student = trim(network, selection)      # weights sliced; nothing reconstructed: see reconstruct

Query heads are ranked inside their group and every group keeps the same number; key/value groups
are ranked by the sum of their heads. `residual_heads` adds back what pruned heads differ by
(Minitron §2.2). One channel order serves the whole residual stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from understudy.compress.importance import Importance
from understudy.compress.network import Network, network_from_weights
from understudy.errors import UsageError
from understudy.spec import ModelSpec


@dataclass(frozen=True)
class Shape:
    """The target; None keeps what the source has."""

    num_layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_heads: int | None = None
    num_kv_heads: int | None = None

    def apply(self, spec: ModelSpec) -> ModelSpec:
        """The student's spec.

        Raises:
            UsageError: a size is larger than the source's, not positive, or the heads do not divide
            into the groups.
        """
        changes = {
            f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None
        }
        for name, value in changes.items():
            if not 1 <= value <= getattr(spec, name):
                raise UsageError(
                    f"target {name} is impossible",
                    expected=f"1 to {getattr(spec, name)}",
                    found=value,
                )
        student = spec.replace(**changes)
        if student.num_heads % student.num_kv_heads:
            raise UsageError(
                "query heads do not divide into the key/value groups",
                expected=f"a multiple of {student.num_kv_heads}",
                found=student.num_heads,
            )
        if student.group_size > spec.group_size:
            raise UsageError(
                "a key/value group would need more query heads than it has",
                expected=f"at most {spec.group_size * student.num_kv_heads} heads "
                f"for {student.num_kv_heads} groups",
                found=student.num_heads,
                do="name num_heads as well",
            )
        return student


@dataclass(frozen=True)
class Selection:
    """Which units of the source stay, as sorted indices: heads and groups and inner per kept
    layer."""

    spec: ModelSpec  # of the student
    layers: tuple[int, ...]
    hidden: Tensor  # (hidden,)
    inner: tuple[Tensor, ...]  # per kept layer (intermediate,)
    heads: tuple[Tensor, ...]  # per kept layer (num_heads,)
    groups: tuple[Tensor, ...]  # per kept layer (num_kv_heads,)


def everything(spec: ModelSpec) -> Selection:
    """The selection that leaves nothing out."""
    layers, every = spec.num_layers, torch.arange
    return Selection(
        spec,
        tuple(range(layers)),
        every(spec.hidden_size),
        (every(spec.intermediate_size),) * layers,
        (every(spec.num_heads),) * layers,
        (every(spec.num_kv_heads),) * layers,
    )


def select(
    network: Network, shape: Shape, importance: Importance, kept_layers: Sequence[int] | None = None
) -> Selection:
    """The best-scored units of each axis. `kept_layers` comes from `depth.choose_layers` when depth
    is cut."""
    source, student = network.spec, shape.apply(network.spec)
    layers = tuple(sorted(kept_layers if kept_layers is not None else range(source.num_layers)))
    if len(set(layers)) != student.num_layers:
        raise UsageError(
            "kept layers do not match the target depth",
            expected=student.num_layers,
            found=list(layers),
        )
    heads, groups = zip(
        *(_choose_heads(importance.heads[i], source, student) for i in layers), strict=True
    )
    inner = tuple(best(importance.inner[i], student.intermediate_size) for i in layers)
    if source.blocks:
        student = student.replace(blocks=tuple(source.blocks[i] for i in layers))
    return Selection(
        student, layers, best(importance.hidden, student.hidden_size), inner, heads, groups
    )


def best(scores: Tensor, count: int) -> Tensor:
    """(n,) -> the indices of the `count` highest, sorted by index."""
    return scores.topk(count).indices.sort().values


def _choose_heads(scores: Tensor, source: ModelSpec, student: ModelSpec) -> tuple[Tensor, Tensor]:
    by_group = scores.view(source.num_kv_heads, source.group_size)
    groups = best(by_group.topk(student.group_size, dim=1).values.sum(1), student.num_kv_heads)
    heads = [
        group * source.group_size + best(by_group[group], student.group_size)
        for group in groups.tolist()
    ]
    return torch.cat(heads), groups


@torch.no_grad()
def trim(
    network: Network, selection: Selection, residual_heads: Importance | None = None
) -> Network:
    """The student: the selected rows and columns of the source's weights, copied.

    With `residual_heads`, the scores by which the pruned heads are paired with kept ones
    (Minitron's residual).
    """
    source, spec, hidden = network.state_dict(), selection.spec, selection.hidden
    weights: dict[str, Tensor] = {}
    for name, value in source.items():
        if not name.startswith("model.layers."):
            weights[name] = value[:, hidden] if value.dim() == 2 else value[hidden]
    for target, index in enumerate(selection.layers):
        rows = _rows_and_columns(network.spec, selection, target)
        prefix, new = f"model.layers.{index}.", f"model.layers.{target}."
        for name in (n for n in source if n.startswith(prefix)):
            value, part = source[name], name.removeprefix(prefix).rsplit(".", 1)[0]
            if residual_heads is not None and part.endswith("q_proj"):
                value = _with_residuals(
                    value, network.spec, selection.spec, residual_heads.heads[index]
                )
            out, into = rows.get(part, (hidden, None))
            kept = value[out]
            weights[new + name.removeprefix(prefix)] = (
                kept if into is None or value.dim() == 1 else kept[:, into]
            )
    return network_from_weights(spec, weights, network.head_weight.dtype)


def _rows_and_columns(
    source: ModelSpec, selection: Selection, target: int
) -> dict[str, tuple[Tensor, Tensor]]:
    hidden, inner = selection.hidden, selection.inner[target]
    every = torch.arange(source.head_dim)
    queries = spread(selection.heads[target], source.head_dim)
    values = spread(selection.groups[target], source.head_dim)
    return {
        "self_attn.q_norm": (every, None),
        "self_attn.k_norm": (every, None),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (values, hidden),
        "self_attn.v_proj": (values, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.up_proj": (inner, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def spread(heads: Tensor, head_dim: int) -> Tensor:
    """Head indices -> the indices of all their values."""
    return (heads[:, None] * head_dim + torch.arange(head_dim)).flatten()


def _with_residuals(value: Tensor, source: ModelSpec, student: ModelSpec, scores: Tensor) -> Tensor:
    """head_i += head_i - head_{2K-i+1}, for the kept ranks i (from 1) whose mirror in K was pruned;
    in each group."""
    heads = value.unflatten(0, (source.num_kv_heads, source.group_size, source.head_dim)).clone()
    keep, total = student.group_size, source.group_size
    order = scores.view(source.num_kv_heads, total).argsort(dim=1, descending=True)
    for group in range(source.num_kv_heads):
        for rank in range(max(keep - (total - keep) + 1, 1), keep + 1):
            kept, gone = order[group, rank - 1], order[group, 2 * keep - rank]
            heads[group, kept] = 2 * heads[group, kept] - heads[group, gone]
    return heads.flatten(0, 2)
