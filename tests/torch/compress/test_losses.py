"""Distillation losses against torch's own, whole tensors at once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from understudy.compress import losses
from understudy.compress.losses import LOSSES, LiveTarget, SparseTarget, cross_entropy, forward_kl


def _inputs(tokens: int = 23, vocab: int = 101) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, 16, generator=g).requires_grad_()
    head = torch.randn(vocab, 16, generator=g).requires_grad_()
    teacher = LiveTarget(torch.randn(tokens, 24, generator=g), torch.randn(vocab, 24, generator=g))
    mask = (torch.rand(tokens, generator=g) > 0.3).float()
    return hidden, head, teacher, mask


def _whole_kl(hidden, head, teacher, mask):
    log_q = (hidden @ head.T).log_softmax(-1)
    log_p = (teacher.hidden @ teacher.head.T).log_softmax(-1)
    return (functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1) * mask).sum()


@pytest.mark.parametrize(
    ("chunk", "block"), [(1, 1), (101 * 4, 101 * 3), (101 * 8, 1 << 20), (1 << 25, 101 * 5)]
)
def test_chunked_kl_and_its_gradients_equal_torch(chunk: int, block: int, monkeypatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", chunk)
    monkeypatch.setattr(losses, "BLOCK_ELEMENTS", block)
    hidden, head, teacher, mask = _inputs()
    expected = torch.autograd.grad(_whole_kl(hidden, head, teacher, mask) * 0.5, (hidden, head))
    ours = forward_kl(hidden, head, teacher, mask)
    torch.testing.assert_close(ours, _whole_kl(hidden, head, teacher, mask), rtol=1e-5, atol=1e-5)
    for a, b in zip(torch.autograd.grad(ours * 0.5, (hidden, head)), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_kl_is_zero_and_still_when_the_student_is_the_teacher() -> None:
    hidden, head, _, mask = _inputs()
    loss = forward_kl(hidden, head, LiveTarget(hidden.detach(), head.detach()), mask)
    assert loss.abs() < 1e-5
    assert all(g.abs().max() < 1e-5 for g in torch.autograd.grad(loss, (hidden, head)))


def test_a_sparse_target_that_holds_everything_is_the_live_one() -> None:
    hidden, head, teacher, mask = _inputs()
    p = (teacher.hidden @ teacher.head.T).softmax(-1)
    ids = torch.arange(p.shape[1]).expand_as(p)
    sparse = SparseTarget(ids, p, -(p * p.log()).sum(-1))
    a, b = forward_kl(hidden, head, sparse, mask), forward_kl(hidden, head, teacher, mask)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for x, y in zip(
        torch.autograd.grad(a, (hidden, head)), torch.autograd.grad(b, (hidden, head)), strict=True
    ):
        torch.testing.assert_close(x, y, rtol=1e-3, atol=1e-5)


def test_repeated_ids_in_a_sparse_target_add_up() -> None:
    hidden, head, _, mask = _inputs()
    tokens = len(hidden)
    twice = SparseTarget(
        torch.full((tokens, 2), 7), torch.full((tokens, 2), 0.5), torch.zeros(tokens)
    )
    a = forward_kl(hidden, head, twice, mask)
    b = cross_entropy(hidden, head, torch.full((tokens,), 7), mask)
    torch.testing.assert_close(a, b)
    for x, y in zip(
        torch.autograd.grad(a, (hidden, head)), torch.autograd.grad(b, (hidden, head)), strict=True
    ):
        torch.testing.assert_close(x, y)


def test_cross_entropy_equals_torch() -> None:
    hidden, head, _, mask = _inputs()
    labels = torch.arange(len(hidden))
    expected = (functional.cross_entropy(hidden @ head.T, labels, reduction="none") * mask).sum()
    torch.testing.assert_close(cross_entropy(hidden, head, labels, mask), expected)


def test_no_tensor_of_tokens_times_vocabulary_is_made(monkeypatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 8 * 5000)
    made: list[int] = []
    real = functional.linear
    monkeypatch.setattr(
        functional, "linear", lambda *a: (lambda y: made.append(y.numel()) or y)(real(*a))
    )
    hidden, head, teacher, mask = _inputs(tokens=64, vocab=5000)
    forward_kl(hidden, head, teacher, mask).backward()
    assert max(made) == 8 * 5000


@pytest.mark.parametrize("name", LOSSES)
def test_state_losses_vanish_when_equal_and_grow_when_not(name: str) -> None:
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(1))
    assert LOSSES[name](x, x).abs().max() < 1e-6
    assert LOSSES[name](x, -x).min() > 0.5


def test_the_dynamic_weight_makes_both_terms_equal() -> None:
    logit, state = torch.tensor(3.0), torch.tensor(0.2, requires_grad=True)
    weighted = losses.dynamic_weight(logit, state) * state
    torch.testing.assert_close(weighted, logit)
    weighted.backward()
    torch.testing.assert_close(state.grad, torch.tensor(15.0))  # the weight itself has no gradient


def test_statistics_of_blocks_are_those_of_the_whole(monkeypatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 101 * 7)
    monkeypatch.setattr(losses, "BLOCK_ELEMENTS", 101 * 2)
    hidden, head, teacher, _ = _inputs()
    labels = torch.arange(len(hidden))
    found = losses.token_statistics(hidden.detach(), head.detach(), teacher, labels)
    log_q, log_p = (
        (hidden @ head.T).log_softmax(-1),
        (teacher.hidden @ teacher.head.T).log_softmax(-1),
    )
    torch.testing.assert_close(
        found["kl"], functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    )
    torch.testing.assert_close(found["nll"], functional.nll_loss(log_q, labels, reduction="none"))
    torch.testing.assert_close(
        found["teacher_nll"], functional.nll_loss(log_p, labels, reduction="none")
    )
    assert torch.equal(found["agree"], (log_q.argmax(-1) == log_p.argmax(-1)).float())


def test_the_head_learns_in_float32_from_products_in_bfloat16() -> None:
    hidden, head, teacher, mask = _inputs()
    expected = torch.autograd.grad(_whole_kl(hidden, head, teacher, mask), head)[0]
    found = torch.autograd.grad(forward_kl(hidden.bfloat16(), head, teacher, mask), head)[0]
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()
