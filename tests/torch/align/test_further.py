"""Runs over pairs, beginnings with an adapter, and the comparison of base and adapter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.byte_chat import byte_chat
from tests.support.checkpoints import SPECS, random_weights
from tests.torch.align.test_preference import pair
from understudy.adapters import Adapter
from understudy.align.compare import Paired, compare
from understudy.align.further import PairRun, PairSettings
from understudy.align.lora import LoraSettings, attach
from understudy.align.preference import PreferenceSettings
from understudy.align.rollouts import RolloutTask
from understudy.align.start import started
from understudy.compress.network import network_from_weights
from understudy.data.records import record_of
from understudy.errors import UsageError

SPEC = SPECS["llama"]


def run(folder: Path, epochs: float = 4) -> PairRun:
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    adapters = attach(network, LoraSettings(rank=4, seed=1))
    settings = PairSettings(epochs, pairs=2, learning_rate=5e-3, checkpoint_steps=2)
    pairs = [pair(seed)[0] for seed in range(5)]
    return PairRun(network, adapters, pairs, PreferenceSettings("dpo"), settings, folder)


def test_pairs_are_learnt(tmp_path: Path) -> None:
    losses = run(tmp_path).train()
    assert losses[0] == pytest.approx(np.log(2), rel=1e-4)  # tuned and base are the same at first
    assert losses[-1] < 0.6


def test_a_stopped_run_over_pairs_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    whole.train()
    torn = run(tmp_path / "torn")
    for step in range(4):
        loss, _ = torn.step(step)
        torn.folder.note(step, loss)
    torn.folder.save(4, torn.adapters, torn.optimizer)
    again = run(tmp_path / "torn")
    assert again.first_step == 4
    assert again.train() == whole.folder.losses()
    for name, (a, b) in whole.adapters.tensors().items():
        np.testing.assert_array_equal(again.adapters.tensors()[name][0], a)
        np.testing.assert_array_equal(again.adapters.tensors()[name][1], b)


def test_a_run_may_begin_with_an_adapter_of_its_shape(tmp_path: Path) -> None:
    first = run(tmp_path)
    first.train()
    tensors = first.adapters.tensors()
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    adapters = attach(network, LoraSettings(rank=4))
    started(adapters, Adapter("a", 4, 16.0, False, tensors), SPEC)
    for name, (a, _) in tensors.items():
        np.testing.assert_array_equal(adapters.tensors()[name][0], a)
    with pytest.raises(UsageError, match="another shape"):
        started(adapters, Adapter("a", 8, 16.0, False, tensors), SPEC)


class TwoAnswers:
    """A model that answers well with an adapter and badly without."""

    def __init__(self) -> None:
        self.tokenizer, self.chat_template = byte_chat()
        self.adapters = self
        self.loaded: list[str] = []

    def add(self, name: str, adapter: Adapter) -> None:
        self.loaded.append(name)

    def drop(self, name: str) -> None:
        self.loaded.remove(name)

    def generate(self, prompt: Sequence[int], *, adapter: str | None = None, **options: Any) -> Any:
        assert options["temperature"] == 0.0
        text = "The documents do not say." if adapter in self.loaded else "In 1812."
        return type("Reply", (), {"raw_text": text})()


def test_base_and_adapter_are_compared_on_the_same_prompts() -> None:
    record = record_of(
        {
            "kind": "no_answer",
            "contexts": [{"title": "t", "text": "A tower."}],
            "messages": [
                {"role": "user", "content": "When was it built?"},
                {"role": "assistant", "content": "The documents do not say."},
            ],
        },
        "x",
    )
    model = TwoAnswers()
    adapter = Adapter("a", 1, 1.0, False, {})
    found = compare(model, adapter, [RolloutTask(record, (1,))] * 12)  # type: ignore[arg-type]
    paired = found["no_answer"]
    assert (paired.base, paired.adapter, paired.count) == (0.0, 1.0, 12)
    assert paired.interval.low > 0.4
    assert paired.p_value < 0.001
    assert model.loaded == []
    assert paired.samples[0] == ("When was it built?", "In 1812.", "The documents do not say.")


def test_pairs_are_counted_to_the_side_that_was_right() -> None:
    paired = Paired()
    for base, adapter in (
        (True, True),
        (True, False),
        (False, True),
        (False, True),
        (False, False),
    ):
        paired.add(base, adapter)
    assert (paired.both, paired.only_base, paired.only_adapter, paired.neither) == (1, 1, 2, 1)
    assert paired.interval.value == pytest.approx(0.2)
