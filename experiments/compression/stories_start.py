"""A student of the Nemotron shape that begins as its Llama-shaped teacher, not from nothing.

What the two shapes share is copied: embedding, head, gains, query and output projections. What
differs is fitted to the teacher's own layers: each student layer learns to map the teacher's state
before a layer to its state behind it (squared error, some hundred steps a layer), after

- keys and values of each group of heads were averaged,
- the rotation was halved: half of a head's values rotate, and with head_dim d the student's pair i
  has exactly the teacher's frequency 2i, so these pairs keep their meaning and the odd ones stop
  rotating,
- relu² took the place of the gated SiLU: up from the strongest gate rows, down by ridge regression.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from understudy.compress.network import Network

RIDGE = 1e-3


def rotary_order(head_dim: int) -> Tensor:
    """Which of a teacher's head values stands where in the student: even pairs first (they rotate),
    odd pairs behind.
    """
    half = head_dim // 2
    even, odd = torch.arange(0, half, 2), torch.arange(1, half, 2)
    return torch.cat([even, even + half, odd, odd + half])


@torch.no_grad()
def copy_what_is_shared(teacher: Network, student: Network, kept: Tensor) -> None:
    """kept: (student vocabulary,) teacher ids. Hidden size, layers, query heads and head_dim must
    be equal.
    """
    student.model.embed_tokens.weight.copy_(teacher.model.embed_tokens.weight[kept])
    student.head_weight.copy_(teacher.head_weight[kept])
    copy_gain(teacher.model.norm, student.model.norm)
    spec = student.spec
    order = rotary_order(spec.head_dim)
    for theirs, ours in zip(teacher.model.layers, student.model.layers, strict=True):
        copy_gain(theirs.input_layernorm, ours.input_layernorm)
        copy_gain(theirs.post_attention_layernorm, ours.post_attention_layernorm)
        a, b = theirs.self_attn, ours.self_attn
        b.q_proj.weight.copy_(
            heads(a.q_proj.weight, spec.head_dim)[:, order].reshape_as(b.q_proj.weight)
        )
        grouped = (spec.num_kv_heads, -1, spec.head_dim, spec.hidden_size)
        keys = heads(a.k_proj.weight, spec.head_dim)[:, order].reshape(grouped).mean(1)
        b.k_proj.weight.copy_(keys.reshape_as(b.k_proj.weight))
        b.v_proj.weight.copy_(
            heads(a.v_proj.weight, spec.head_dim)
            .reshape(grouped)
            .mean(1)
            .reshape_as(b.v_proj.weight)
        )
        b.o_proj.weight.copy_(a.o_proj.weight)


def heads(weight: Tensor, head_dim: int) -> Tensor:
    return weight.view(-1, head_dim, weight.shape[1])


def copy_gain(theirs: torch.nn.Module, ours: torch.nn.Module) -> None:
    ours.weight.copy_(theirs.weight - 1)
    ours.bias.zero_()


@torch.no_grad()
def regress_mlp(theirs: torch.nn.Module, ours: torch.nn.Module, states: Tensor) -> None:
    """ours = down · relu²(up · norm(x)) ≈ theirs, for rows x of states: (n, hidden)."""
    target = theirs.mlp(theirs.post_attention_layernorm(states))
    normed = ours.post_attention_layernorm(states)
    gates = theirs.mlp.gate_proj.weight
    strength = theirs.mlp.inner(theirs.post_attention_layernorm(states)).square().mean(
        0
    ) * theirs.mlp.down_proj.weight.square().sum(0)
    picked = strength.topk(ours.mlp.up_proj.weight.shape[0]).indices
    up = gates[picked]
    up = up / (normed @ up.T).std(0)[:, None]  # relu² of values about 1
    ours.mlp.up_proj.weight.copy_(up)
    inner = ours.mlp.inner(normed)
    gram = inner.T @ inner
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    ours.mlp.down_proj.weight.copy_(torch.linalg.solve(gram, inner.T @ target).T)


def warm_start(
    teacher: Network, student: Network, kept: Tensor, rows: Tensor, *, steps: int, batch: int = 16
) -> None:
    """Makes the student begin as the teacher.

    Args:
        rows: (n, tokens) student ids of the teacher's own stories.
        steps: of regression for each layer.
    """
    copy_what_is_shared(teacher, student, kept)
    with torch.no_grad():
        states = teacher.states(kept[rows])
    rotation = student.rotation(rows.shape[1])
    picker = torch.Generator().manual_seed(3)
    for index, (theirs, ours) in enumerate(
        zip(teacher.model.layers, student.model.layers, strict=True)
    ):
        started, before, after = time.monotonic(), states[index], states[index + 1]
        with torch.no_grad():
            mixed = before[:64] + theirs.self_attn(
                theirs.input_layernorm(before[:64]), teacher.rotation(rows.shape[1])
            )
        regress_mlp(theirs, ours, mixed.flatten(0, 1))
        scale = (after - before).square().mean()
        optimizer = torch.optim.AdamW(
            ours.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01
        )
        losses = []
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps) + 1e-5
            picked = torch.randint(len(rows), (batch,), generator=picker)
            loss = (ours(before[picked], rotation) - after[picked]).square().mean() / scale
            loss.backward()
            torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        seconds = time.monotonic() - started
        print(
            f"layer {index}: {losses[0]:.3f} -> {sum(losses[-10:]) / len(losses[-10:]):.3f} of the change, {seconds:.0f} s",
            flush=True,
        )
