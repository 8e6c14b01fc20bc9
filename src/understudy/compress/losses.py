"""Distillation losses. The logit losses never hold a [tokens, vocab] float tensor: they go over the tokens in chunks.

Forward KL per token, τ = 1 (Minitron: the best of all losses tried, alone):
    KL(p ‖ q) = Σ_v p_v (log p_v - log q_v),   ∂/∂logits_q = q - p
The gradients with respect to the student's hidden states and head are formed chunk by chunk in the forward pass, so
that what lives at once is [chunk, vocab] twice. `LOSSES` are the names that recipes use for losses on states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ELEMENTS = 24 << 20  # logits of one chunk: 96 MiB of float32; smaller ones add to the head's gradient too often


@dataclass(frozen=True)
class LiveTarget:
    """The teacher's answer as states: hidden (tokens, width), already normed, and its head (vocab, width)."""

    hidden: Tensor
    head: Tensor


@dataclass(frozen=True)
class SparseTarget:
    """The teacher's answer as weighted ids: Σ_j weights[t, j] = 1; entropy (tokens,) makes the loss a KL, not a CE."""

    ids: Tensor  # (tokens, entries) int64
    weights: Tensor  # (tokens, entries) float32
    entropy: Tensor  # (tokens,) float32


Target = LiveTarget | SparseTarget


def forward_kl(hidden: Tensor, head: Tensor, target: Target, mask: Tensor) -> Tensor:
    """Σ over tokens of mask · KL(teacher ‖ student), a scalar in nats.

    Args:
        hidden: (tokens, width), what the student's head reads.
        head: (vocab, width).
        target: the teacher's distribution of the same tokens.
        mask: (tokens,) float; 0 leaves a token out.
    """
    return _ChunkedKl.apply(hidden, head, target, mask, torch.is_grad_enabled())


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Σ over tokens of mask · (-log q[label]), a scalar in nats, in the same chunks."""
    one = torch.ones(len(labels), 1, device=labels.device)
    return forward_kl(hidden, head, SparseTarget(labels[:, None], one, torch.zeros_like(one[:, 0])), mask)


class _ChunkedKl(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, target: Target, mask: Tensor, needs_grad: bool) -> Tensor:
        step = max(1, CHUNK_ELEMENTS // head.shape[0])
        total = torch.zeros((), dtype=torch.float64 if hidden.device.type == "cpu" else torch.float32, device=mask.device)
        grad_hidden = torch.zeros_like(hidden) if needs_grad else None
        grad_head = torch.zeros(head.shape, dtype=torch.float32, device=head.device) if needs_grad else None
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            logits = functional.linear(hidden[rows], head).float()
            log_q = logits.log_softmax(-1)
            loss, grad = _TERMS[type(target)](log_q, target, rows, needs_grad)
            total += (loss * mask[rows]).sum()
            if grad_hidden is None or grad_head is None:
                continue
            grad = (grad * mask[rows, None]).to(hidden.dtype)
            grad_hidden[rows] = grad @ head
            grad_head += grad.T @ hidden[rows]
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_head.to(head.dtype))  # type: ignore[union-attr]
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        scale = grads[0]
        return grad_hidden * scale.to(grad_hidden.dtype), grad_head * scale.to(grad_head.dtype), None, None, None


def _live_terms(log_q: Tensor, target: LiveTarget, rows: slice, needs_grad: bool) -> tuple[Tensor, Tensor]:
    log_p = functional.linear(target.hidden[rows], target.head).float().log_softmax(-1)
    p = log_p.exp()
    loss = (p * (log_p - log_q)).sum(-1)
    return loss, log_q.exp_().sub_(p) if needs_grad else loss


def _sparse_terms(log_q: Tensor, target: SparseTarget, rows: slice, needs_grad: bool) -> tuple[Tensor, Tensor]:
    ids, weights = target.ids[rows], target.weights[rows]
    loss = -(weights * log_q.gather(-1, ids)).sum(-1) - target.entropy[rows]
    if not needs_grad:
        return loss, loss
    return loss, log_q.exp_().scatter_add_(-1, ids, -weights)


_TERMS: dict[type, Callable[..., tuple[Tensor, Tensor]]] = {LiveTarget: _live_terms, SparseTarget: _sparse_terms}


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos per token: (tokens, width) twice -> (tokens,). What Minitron uses on normed hidden states."""
    return 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)


def mean_squared(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference per token, relative to the teacher's own mean square."""
    wide = teacher.float()
    return (student.float() - wide).square().mean(-1) / wide.square().mean(-1).clamp_min(1e-12)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": cosine, "mse": mean_squared}


def dynamic_weight(logit_loss: Tensor, state_loss: Tensor) -> Tensor:
    """α = L_logits / L_states, a constant for the gradient: both terms weigh the same at every step (Minitron §1.5)."""
    return (logit_loss / state_loss.clamp_min(1e-12)).detach()


def token_statistics(hidden: Tensor, head: Tensor, target: LiveTarget, labels: Tensor) -> dict[str, Tensor]:
    """Per token, for evaluation: `kl` to the teacher, `nll` of both, and `agree` (same top-1), each (tokens,)."""
    step = max(1, CHUNK_ELEMENTS // head.shape[0])
    parts: dict[str, list[Tensor]] = {"kl": [], "nll": [], "teacher_nll": [], "agree": []}
    for start in range(0, len(hidden), step):
        rows = slice(start, start + step)
        log_q = functional.linear(hidden[rows], head).float().log_softmax(-1)
        log_p = functional.linear(target.hidden[rows], target.head).float().log_softmax(-1)
        parts["kl"].append((log_p.exp() * (log_p - log_q)).sum(-1))
        parts["nll"].append(-log_q.gather(-1, labels[rows, None])[:, 0])
        parts["teacher_nll"].append(-log_p.gather(-1, labels[rows, None])[:, 0])
        parts["agree"].append((log_q.argmax(-1) == log_p.argmax(-1)).float())
    return {name: torch.cat(values) for name, values in parts.items()}
