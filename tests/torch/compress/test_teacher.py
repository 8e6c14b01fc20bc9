"""The teacher cache: exact top-k, unbiased tail, small records, resumable."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.torch.compress.support import random_rows, tiny_teacher
from understudy.compress import teacher as module
from understudy.compress.losses import forward_kl
from understudy.compress.teacher import (
    CachedTeacher,
    CacheFormat,
    LiveTeacher,
    capture,
    sparse_target,
)
from understudy.errors import MissingError, UsageError


@pytest.mark.parametrize("vocab", [512, 49_152, 65_536, 256_000])
def test_a_token_fits_the_budget_and_survives_the_way_to_disk(vocab: int) -> None:
    form = CacheFormat.within(64, vocab)
    assert form.bytes_per_token <= 64
    ids, log_probs, entropy = sparse_target(
        torch.randn(5, vocab) * 3, form, torch.Generator().manual_seed(0)
    )
    records = form.encode(ids, log_probs, entropy)
    assert records.shape == (5, form.bytes_per_token)
    back = form.decode(records)
    assert torch.equal(back.ids, ids)
    torch.testing.assert_close(back.weights[:, : form.top_k], log_probs.exp(), rtol=5e-3, atol=1e-6)
    torch.testing.assert_close(back.weights.sum(1), torch.ones(5))
    torch.testing.assert_close(back.entropy, entropy, rtol=1e-3, atol=1e-3)


def test_the_tail_is_unbiased() -> None:
    """Averaged over many draws, the sparse distribution is the teacher's own; cutting the tail off
    would miss 30 %."""
    form = CacheFormat(64, top_k=4, num_samples=3)
    logits = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    p = logits.softmax(-1)[0]
    generator = torch.Generator().manual_seed(2)
    ids, log_probs, entropy = sparse_target(logits.expand(20_000, -1), form, generator)
    target = form.decode(form.encode(ids, log_probs, entropy))
    mean = torch.zeros(64).scatter_add_(0, target.ids.flatten(), target.weights.flatten()) / 20_000
    assert 1 - p.topk(4).values.sum() > 0.3
    torch.testing.assert_close(mean, p, rtol=0.1, atol=4e-4)


def test_a_budget_without_samples_is_refused() -> None:
    with pytest.raises(UsageError, match="no samples of the tail"):
        CacheFormat.within(34, 49_152)


def test_losses_from_the_cache_are_those_of_the_live_teacher(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    rows = random_rows(teacher.spec, count=24, length=32)
    cached = capture(teacher, rows, tmp_path, budget=400)
    tokens = torch.from_numpy(rows.tokens.astype(np.int64))
    hidden = torch.randn(24 * 32, 96, generator=torch.Generator().manual_seed(3)) * 0.3
    mask, numbers = torch.ones(24 * 32), np.arange(24)
    live = forward_kl(
        hidden, teacher.head_weight, LiveTeacher(teacher).target(numbers, tokens), mask
    )
    sparse = forward_kl(hidden, teacher.head_weight, cached.target(numbers, tokens), mask)
    assert sparse.item() == pytest.approx(live.item(), rel=0.01)


def test_a_teacher_asked_in_bfloat16_says_nearly_the_same(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    rows = random_rows(teacher.spec)
    exact = capture(teacher, rows, tmp_path / "exact").target(np.arange(16), torch.zeros(1))
    near = capture(teacher, rows, tmp_path / "near", precision="bfloat16").target(
        np.arange(16), torch.zeros(1)
    )
    assert not torch.equal(near.entropy, exact.entropy)
    torch.testing.assert_close(near.entropy, exact.entropy, rtol=0.02, atol=0.02)


def test_an_interrupted_capture_goes_on(tmp_path, monkeypatch) -> None:
    teacher = tiny_teacher("llama")
    rows = random_rows(teacher.spec)
    whole = capture(teacher, rows, tmp_path / "whole")
    real, calls = module._capture_batch, []

    def stop_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module, "_capture_batch", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        capture(teacher, rows, tmp_path / "cut")
    assert json.loads((tmp_path / "cut" / "cache.json").read_text())["finished"] == 8
    with pytest.raises(MissingError, match="unfinished"):
        CachedTeacher(tmp_path / "cut", rows)
    resumed = capture(teacher, rows, tmp_path / "cut")
    assert np.array_equal(whole.records, resumed.records)
    assert len(calls) == 5


def test_a_cache_of_other_rows_is_refused(tmp_path) -> None:
    teacher = tiny_teacher("llama")
    capture(teacher, random_rows(teacher.spec, seed=1), tmp_path)
    with pytest.raises(UsageError, match="made for other sequences"):
        CachedTeacher(tmp_path, random_rows(teacher.spec, seed=2))
    with pytest.raises(MissingError, match="no teacher cache"):
        CachedTeacher(tmp_path / "nowhere", random_rows(teacher.spec))
