"""The context that nobody asked for: the model's own, within memory."""

from __future__ import annotations

import pytest

import understudy
from understudy.engine.loading import default_context, kv_bytes_per_token
from understudy.spec import ModelSpec


def spec_of(max_positions: int) -> ModelSpec:
    with understudy.load("tests/data/stories-nemotron", num_threads=1, context=64) as model:
        return model.spec.replace(max_positions=max_positions)


@pytest.mark.parametrize(
    ("trained", "fitting", "context"),
    [
        (2048, 1 << 20, 2048),  # what the model knows is the end
        (8192, 1 << 20, 8192),
        (131_072, 1 << 20, 32_768),
        (131_072, 16_384, 16_384),  # memory is
        (131_072, 16_383, 8192),
        (131_072, 100, 4096),  # never less than was always there; loading says if it is too much
        (10_000, 1 << 20, 10_000),
    ],
)
def test_the_context_is_the_models_within_memory(trained, fitting, context):
    spec = spec_of(trained)
    free = 4 * fitting * kv_bytes_per_token(spec, "f16")
    assert default_context(spec, "f16", free) == context


def test_the_cache_holds_contexts_as_far_as_they_fit(monkeypatch):
    def held(**options) -> int:
        with understudy.load("tests/data/stories-nemotron", num_threads=1, **options) as model:
            return model.engine.pool.num_pages * 32

    assert held(context=64) == 64
    assert held(context=64, cache_contexts=4) == 256
    assert held(context=64, cache_contexts=4, cache_tokens=96) == 96
