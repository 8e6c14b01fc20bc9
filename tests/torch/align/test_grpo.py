"""Reinforcement: what is rewarded is learnt, a run goes on bit for bit, rewards are verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.byte_chat import byte_chat
from tests.support.checkpoints import SPECS, random_weights
from understudy.align.grpo import GrpoRun, GrpoSettings
from understudy.align.lora import Adapters, LoraSettings, attach
from understudy.align.rewards import matched, reward_of
from understudy.align.rollouts import Draw, Rollout, RolloutTask
from understudy.compress.network import Network, network_from_weights
from understudy.data.records import Record, record_of
from understudy.errors import UsageError

SPEC = SPECS["llama"]
WORDS = ("hello there", "I am an AI language model")


class TorchRollouts:
    """Draws one of two replies by the network's own probability of its first token."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def sample(
        self, tasks: Sequence[RolloutTask], adapters: Adapters, draw: Draw
    ) -> list[list[Rollout]]:
        chance = np.random.default_rng(draw.seed)
        groups = []
        for task in tasks:
            with torch.no_grad():
                logits = self.network(torch.tensor([task.prompt]))[0, -1, [5, 9]]
            share = float(logits.softmax(-1)[0])
            picks = (chance.random(draw.group) > share).astype(int)
            groups.append([Rollout(((5, 9)[i], 3), WORDS[i]) for i in picks])
        return groups


def character() -> Record:
    return record_of(
        {
            "kind": "character",
            "messages": [
                {"role": "system", "content": "You are Hild. A fisher."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hello."},
            ],
        },
        "x",
    )


def run(folder: Path, steps: int = 12) -> GrpoRun:
    network = network_from_weights(SPEC, random_weights(SPEC, seed=2))
    adapters = attach(network, LoraSettings(rank=4, seed=1))
    tasks = [RolloutTask(character(), (1, 2, 4, number)) for number in range(6)]
    settings = GrpoSettings(
        steps=steps, prompts=4, group=6, learning_rate=2e-3, checkpoint_steps=3, kl=0.01
    )
    return GrpoRun(
        network, adapters, tasks, TorchRollouts(network), byte_chat()[1], settings, folder
    )


def test_what_is_rewarded_becomes_likelier(tmp_path: Path) -> None:
    figures = run(tmp_path).train()
    first, last = (np.mean([f.reward for f in part]) for part in (figures[:2], figures[-4:]))
    assert last > first + 0.1
    assert figures[-1].kl > figures[0].kl == 0


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", steps=6)
    whole.train()
    run(tmp_path / "torn", steps=3).train()
    again = run(tmp_path / "torn", steps=6)
    assert again.first_step == 3
    again.train()
    for name, (a, b) in whole.adapters.tensors().items():
        np.testing.assert_array_equal(again.adapters.tensors()[name][0], a)
        np.testing.assert_array_equal(again.adapters.tensors()[name][1], b)


def test_wrong_settings_are_said(tmp_path: Path) -> None:
    good = run(tmp_path)
    for changes, told in (({"group": 1}, "at least two"), ({"prompts": 9}, "fewer prompts")):
        with pytest.raises(UsageError, match=told):
            GrpoRun(
                good.network,
                good.adapters,
                good.tasks,
                good.rollouts,
                None,
                GrpoSettings(**changes),
                tmp_path,
            )


TOOL = {
    "name": "f",
    "description": "F",
    "parameters": {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "string"}},
        "required": ["x"],
    },
}


def reward(kind: str, answer: dict, **more):
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", **answer}]
    record = record_of({"kind": kind, "messages": messages, **more}, "x")
    return reward_of(record, byte_chat()[1])


def call(arguments: str, name: str = "f") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (call('{"x": 1, "y": "A b"}'), 1.0),
        (call('{"x": 1, "y": "a  B"}'), 1.0),
        (call('{"x": 1}'), 0.65),
        (call('{"x": 2, "y": "z"}'), 0.3),
        (call('{"x": "one"}'), 0.0),
        (call("{}", "g"), 0.0),
        ("I would call f.", 0.0),
        (call('{"x": 1, "y": "A b"}') + "\n" + call('{"x": 5}'), 0.5),
    ],
)
def test_calls_are_held_to_schema_and_answer(text: str, expected: float) -> None:
    calls = [{"name": "f", "arguments": {"x": 1, "y": "A b"}}]
    assert reward("calls", {"tool_calls": calls}, tools=[TOOL])(text) == pytest.approx(expected)


def test_words_are_right_where_no_call_is() -> None:
    judge = reward("no_call", {"content": "No."}, tools=[TOOL])
    assert (judge("I cannot do that."), judge(call('{"x": 1}')), judge("  ")) == (1.0, 0.0, 0.0)


def test_documents_reward_abstaining_just_where_they_do_not_say() -> None:
    contexts = [{"title": "t", "text": "The tower was built in 1812 by Anders Holm."}]
    answered = reward("rag", {"content": "Anders Holm"}, contexts=contexts)
    assert answered("Anders Holm") == 1.0
    assert answered("The documents do not say.") == 0.0
    assert answered("Anders Holm in 1812") > answered("Peter Smith of Boston")
    silent = reward("no_answer", {"content": "The documents do not say."}, contexts=contexts)
    assert (silent("The documents do not say."), silent("In 1812")) == (1.0, 0.0)


def test_characters_reward_one_voice() -> None:
    judge = reward_of(character(), byte_chat()[1])
    assert judge("I am a fisher.") > judge("Good day.") > judge("Bob: hello\nHild: hi")
    assert judge("As an AI I cannot fish.") == judge("") == judge("word " * 99) == 0.0


def test_matching_counts_what_is_too_much() -> None:
    wanted = [("f", {"x": 1}), ("f", {"x": 2})]
    assert matched(wanted, list(reversed(wanted))) == 1.0
    assert matched(wanted, wanted[:1]) == 0.5
    assert matched([("f", {"x": True})], [("f", {"x": 1})]) == 0.3


def test_a_kind_that_cannot_be_verified_is_said() -> None:
    with pytest.raises(UsageError, match="nothing of this kind can be verified"):
        reward("chat", {"content": "a"})
