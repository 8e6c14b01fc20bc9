"""Distillation losses. The logit losses never hold a [tokens, vocab] float tensor: they go over the
tokens in chunks.

Forward KL per token, τ = 1 (Minitron: the best of all losses tried, alone):
    KL(p ‖ q) = Σ_v p_v (log p_v - log q_v),   ∂/∂logits_q = q - p
The gradients with respect to the student's hidden states and head are formed chunk by chunk in the
forward pass, in the place of the logits, so that what lives at once is [chunk, vocab] once, twice
with a live teacher. `LOSSES` are the names that recipes use for losses on states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ELEMENTS = (
    48 << 20
)  # logits of one chunk: 96 MiB of bfloat16; smaller ones add to the head's gradient too often
GPU_CHUNK_ELEMENTS = (
    128 << 20
)  # about 2 GB of a GPU's memory at the peak; smaller ones only launch more often
BLOCK_ELEMENTS = 1 << 20  # logits whose softmax is taken at once on a CPU


@dataclass(frozen=True)
class LiveTarget:
    """The teacher's answer as states: hidden (tokens, width), already normed, and its head (vocab,
    width)."""

    hidden: Tensor
    head: Tensor


@dataclass(frozen=True)
class SparseTarget:
    """The teacher's answer as weighted ids: Σ_j weights[t, j] = 1; entropy (tokens,) makes the loss
    a KL, not a CE."""

    ids: Tensor  # (tokens, entries) int64
    weights: Tensor  # (tokens, entries) float32
    entropy: Tensor  # (tokens,) float32

    def to(self, device: torch.device) -> SparseTarget:
        return SparseTarget(self.ids.to(device), self.weights.to(device), self.entropy.to(device))


Target = LiveTarget | SparseTarget


def forward_kl(hidden: Tensor, head: Tensor, target: Target, mask: Tensor) -> Tensor:
    """Σ over tokens of mask · KL(teacher ‖ student), a scalar in nats.

    Args:
        hidden: (tokens, width), what the student's head reads; its type is that of the products.
        head: (vocab, width); its gradient is summed in float32.
        target: the teacher's distribution of the same tokens.
        mask: (tokens,) float; 0 leaves a token out.
    """
    return _ChunkedKl.apply(hidden, head, target, mask, torch.is_grad_enabled())


def cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Σ over tokens of mask · (-log q[label]), a scalar in nats, in the same chunks."""
    one = torch.ones(len(labels), 1, device=labels.device)
    return forward_kl(
        hidden, head, SparseTarget(labels[:, None], one, torch.zeros_like(one[:, 0])), mask
    )


class _ChunkedKl(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, target: Target, mask: Tensor, needs_grad: bool
    ) -> Tensor:
        total = torch.zeros(
            (),
            dtype=torch.float64 if hidden.device.type == "cpu" else torch.float32,
            device=mask.device,
        )
        grad_hidden = torch.zeros_like(hidden) if needs_grad else None
        grad_head = (
            torch.zeros(head.shape, dtype=torch.float32, device=head.device)
            if needs_grad and ctx.needs_input_grad[1]
            else None
        )
        narrow = head.to(hidden.dtype)
        for rows in chunks(hidden, head):
            logits = functional.linear(
                hidden[rows], narrow
            )  # turns into its own gradient, block by block
            theirs = (
                functional.linear(target.hidden[rows], target.head)
                if isinstance(target, LiveTarget)
                else None
            )
            for block, place in blocks(rows, logits):
                log_q = logits[block].float().log_softmax(-1)
                if theirs is not None:
                    loss, grad = _live_terms(log_q, theirs[block], needs_grad)
                else:
                    loss, grad = _sparse_terms(log_q, target, place, needs_grad)
                total += (loss * mask[place]).sum()
                if needs_grad:
                    logits[block] = grad.mul_(mask[place, None])
            if grad_hidden is not None:
                grad_hidden[rows] = logits @ narrow
            if grad_head is not None:
                grad_head += logits.T @ hidden[rows]
        ctx.grads, ctx.head_dtype = (grad_hidden, grad_head), head.dtype
        return total.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        grad_hidden, grad_head = ctx.grads
        return (
            grad_hidden * grads[0].to(grad_hidden.dtype),
            None if grad_head is None else grad_head.mul_(grads[0]).to(ctx.head_dtype),
            None,
            None,
            None,
        )


def chunks(hidden: Tensor, head: Tensor) -> Iterator[slice]:
    """Slices of the tokens whose logits are as many as memory bears, for the products."""
    most = CHUNK_ELEMENTS if hidden.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    step = max(1, most // head.shape[0])
    return (slice(start, min(start + step, len(hidden))) for start in range(0, len(hidden), step))


def blocks(rows: slice, logits: Tensor) -> Iterator[tuple[slice, slice]]:
    """A chunk in parts that a CPU's second-level cache holds as float32: (place in the chunk, place
    among all tokens)."""
    step = max(1, BLOCK_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    for start in range(0, len(logits), step):
        stop = min(start + step, len(logits))
        yield slice(start, stop), slice(rows.start + start, rows.start + stop)


def _live_terms(log_q: Tensor, theirs: Tensor, needs_grad: bool) -> tuple[Tensor, Tensor]:
    log_p = theirs.float().log_softmax(-1)
    p = log_p.exp()
    loss = log_p.sub_(log_q).mul_(p).sum(-1)
    return loss, log_q.exp_().sub_(p) if needs_grad else loss


def _sparse_terms(
    log_q: Tensor, target: Any, place: slice, needs_grad: bool
) -> tuple[Tensor, Tensor]:
    ids, weights = target.ids[place], target.weights[place]
    loss = -(weights * log_q.gather(-1, ids)).sum(-1) - target.entropy[place]
    if not needs_grad:
        return loss, loss
    return loss, log_q.exp_().scatter_add_(-1, ids, -weights)


def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos per token: (tokens, width) twice -> (tokens,). What Minitron uses on normed hidden
    states."""
    return 1 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1)


def mean_squared(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference per token, relative to the teacher's own mean square."""
    wide = teacher.float()
    return (student.float() - wide).square().mean(-1) / wide.square().mean(-1).clamp_min(1e-12)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cosine": cosine, "mse": mean_squared}


def dynamic_weight(logit_loss: Tensor, state_loss: Tensor) -> Tensor:
    """α = L_logits / L_states, a constant for the gradient: both terms weigh the same at every step
    (Minitron §1.5)."""
    return (logit_loss / state_loss.clamp_min(1e-12)).detach()


def token_statistics(
    hidden: Tensor, head: Tensor, target: LiveTarget, labels: Tensor
) -> dict[str, Tensor]:
    """Per token, for evaluation: `kl` to the teacher, `nll` of both, and `agree` (same top-1), each
    (tokens,)."""
    parts: dict[str, list[Tensor]] = {"kl": [], "nll": [], "teacher_nll": [], "agree": []}
    for rows in chunks(hidden, head):
        ours = functional.linear(hidden[rows], head)
        theirs = functional.linear(target.hidden[rows], target.head)
        for block, place in blocks(rows, ours):
            log_q, log_p = (
                ours[block].float().log_softmax(-1),
                theirs[block].float().log_softmax(-1),
            )
            own = labels[place, None]
            parts["nll"].append(-log_q.gather(-1, own)[:, 0])
            parts["teacher_nll"].append(-log_p.gather(-1, own)[:, 0])
            parts["agree"].append((log_q.argmax(-1) == log_p.argmax(-1)).float())
            parts["kl"].append(log_q.neg_().add_(log_p).mul_(log_p.exp_()).sum(-1))
    return {name: torch.cat(values) for name, values in parts.items()}
