"""What people bring to compression: padded vocabularies, batches with nothing to learn, records of
every usual form."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.torch.compress.support import random_rows, tiny_teacher
from tests.torch.compress.world import write_world
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.compress.data import Sequences, chat_document, read_sequences
from understudy.compress.distill import DistillSettings, distill
from understudy.compress.folder import open_source, save_network
from understudy.compress.network import network_from_weights
from understudy.compress.pipeline import Pipeline
from understudy.compress.recipe import parse_recipe
from understudy.compress.records import Chat, to_record
from understudy.compress.teacher import Labels, LiveTeacher
from understudy.compress.vocabulary import share_vocabulary
from understudy.errors import DocumentError, UsageError
from understudy.spec import QuantSpec


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


def padded(world: Path, folder: Path, rows: int) -> Path:
    """The teacher of the world with so many more rows that no token means."""
    source = open_source(world / "teacher")
    state = dict(source.network.state_dict())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in state:
            more = torch.randn(rows, state[name].shape[1])
            state[name] = torch.cat([state[name], more])
    spec = source.network.spec.replace(vocab_size=source.network.spec.vocab_size + rows)
    checkpoint = dataclasses.replace(source.checkpoint, spec=spec)
    save_network(network_from_weights(spec, state), checkpoint, folder, "f32")
    return folder


def raw_distill(world: Path, source: Path, student: Path, out: Path, **more) -> dict:
    return {
        "source": {"model": str(source), "student": str(student)},
        "data": {
            "train": [str(world / "text.txt")],
            "length": 32,
            "calibration_sequences": 4,
            "held_out_sequences": 4,
        },
        "distill": {"tokens": 2 * 4 * 32, "batch_size": 4, **more},
        "output": {"folder": str(out), "gguf": False},
    }


@pytest.mark.parametrize("teacher", ["cache", "live"])
@pytest.mark.parametrize("is_teacher_larger", [True, False])
def test_vocabularies_that_differ_by_padding_alone_are_cut_to_one(
    world: Path, tmp_path: Path, teacher: str, is_teacher_larger: bool
) -> None:
    sizes = (48, 16) if is_teacher_larger else (16, 48)
    first, second = (padded(world, tmp_path / str(n), n) for n in sizes)
    raw = raw_distill(world, first, second, tmp_path / "out", teacher=teacher)
    result = Pipeline(parse_recipe(raw)).run()
    spec = open_source(result.folder).network.spec
    assert spec.vocab_size == open_source(world / "teacher").encoder.tokenizer.vocab_size
    final = result.reports[-1].figures["final"]
    assert final["kl"] < 0.2  # both are the same model, but for what nobody means


@pytest.mark.parametrize("rows", [(48, 16), (16, 48)])
def test_the_padding_of_a_gguf_is_no_token(world: Path, tmp_path: Path, rows) -> None:
    folder, other = (padded(world, tmp_path / str(count), count) for count in rows)
    save_checkpoint(open_checkpoint(other), tmp_path / "m.gguf", QuantSpec("f32"))
    num_tokens = open_source(world / "teacher").encoder.tokenizer.vocab_size
    teacher, student = open_source(folder), open_source(tmp_path / "m.gguf")
    for pair in ((teacher, student), (student, teacher)):
        shared = share_vocabulary(*pair)
        assert [one.network.spec.vocab_size for one in shared] == [num_tokens, num_tokens]


def test_other_tokenizers_are_refused_and_the_token_is_named(world: Path, tmp_path: Path) -> None:
    source = open_source(world / "teacher")
    small = source.network.spec.vocab_size - 8
    weights = {
        name: value[:small] if value.shape[0] == small + 8 else value
        for name, value in source.network.state_dict().items()
    }
    network = network_from_weights(source.network.spec.replace(vocab_size=small), weights)
    cut = dataclasses.replace(source, network=network)
    with pytest.raises(UsageError, match="different vocabularies"):
        share_vocabulary(source, cut)


def test_a_batch_with_nothing_to_learn_is_passed_over(tmp_path: Path) -> None:
    teacher, student = tiny_teacher("llama"), tiny_teacher("llama", seed=5)
    rows = random_rows(teacher.spec, count=8)
    mask = rows.mask.copy()
    mask[::2] = 0
    settings = DistillSettings(tokens=8 * rows.mask.shape[1], batch_size=1, micro_batch_size=1)
    done = distill(student, LiveTeacher(teacher), Sequences(rows.tokens, mask), settings, tmp_path)
    assert (done.steps, done.passed_over, len(done.losses)) == (8, 4, 4)
    assert np.isfinite(done.losses).all()
    again = distill(student, LiveTeacher(teacher), Sequences(rows.tokens, mask), settings, tmp_path)
    assert again.losses == done.losses
    empty = Sequences(rows.tokens, np.zeros_like(mask))
    nothing = distill(student, Labels(), empty, settings, tmp_path / "empty")
    assert (nothing.passed_over, nothing.losses) == (8, [])


def test_sequences_in_which_nothing_is_learnt_are_neither_trained_on_nor_held_out() -> None:
    rows = random_rows(tiny_teacher("llama").spec, count=4)
    mask = rows.mask.copy()
    mask[1] = 0
    learnt = Sequences(rows.tokens, mask).learnt()
    assert np.array_equal(learnt.tokens, rows.tokens[[0, 2, 3]])


CALL = {"type": "function", "function": {"name": "price", "arguments": '{"of": "bread"}'}}
TOOL = {"type": "function", "function": {"name": "price", "parameters": {"type": "object"}}}
ASKED = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]


@pytest.mark.parametrize(
    ("record", "messages", "tools"),
    [
        ({"messages": ASKED}, ASKED, None),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hel"}, {"text": "lo"}]},
                    {"role": "assistant", "content": None, "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "1", "content": "2"},
                ],
                "tools": [TOOL],
            },
            [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "2", "tool_call_id": "1"},
            ],
            [TOOL],
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "Hello"},
                    {
                        "from": "function_call",
                        "value": '{"name": "price", "arguments": {"of": "bread"}}',
                    },
                    {"from": "observation", "value": "2"},
                    {"from": "gpt", "value": "Two."},
                ],
                "system": "Be kind.",
                "tools": json.dumps([TOOL["function"]]),
            },
            [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "2"},
                {"role": "assistant", "content": "Two."},
            ],
            [TOOL],
        ),
        ({"conversations": ASKED}, ASKED, None),
        ({"instruction": "Hello", "input": "", "output": "Good day"}, ASKED, None),
        (
            {"instruction": "Sum", "input": "1 2", "output": "3", "history": [["a", "b"]]},
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "Sum\n1 2"},
                {"role": "assistant", "content": "3"},
            ],
            None,
        ),
        (
            {
                "messages": [
                    *ASKED[:1],
                    {"role": "assistant", "content": "", "function_call": CALL["function"]},
                    {"role": "function", "name": "price", "content": "2"},
                    {"role": "assistant", "content": "1", "weight": 0, "reasoning_content": "hm"},
                    {"role": "assistant", "content": "2", "weight": 1},
                ]
            },
            [
                *ASKED[:1],
                {"role": "assistant", "content": "", "tool_calls": [CALL]},
                {"role": "tool", "content": "2", "name": "price"},
                {"role": "assistant", "content": "1", "reasoning_content": "hm", "weight": 0},
                {"role": "assistant", "content": "2"},
            ],
            None,
        ),
        ({"prompt": "Hello", "completion": "Good day"}, ASKED, None),
        ({"prompt": ASKED[:1], "completion": ASKED[1:]}, ASKED, None),
    ],
)
def test_chats_of_every_usual_form_are_read(record, messages, tools) -> None:
    assert to_record(record, "here") == Chat(messages, tools)


def test_an_answer_of_weight_0_is_seen_and_not_learnt(world: Path) -> None:
    encoder = open_source(world / "teacher").encoder
    turns = [*ASKED, *ASKED]
    both = chat_document(Chat(turns), encoder)
    last = chat_document(Chat([turns[0], {**turns[1], "weight": 0}, *turns[2:]]), encoder)
    assert last.ids == both.ids
    assert sum(last.is_learnt) * 2 == sum(both.is_learnt) > 0
    assert not any(last.is_learnt[: len(last.is_learnt) // 2])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": [{"role": "user"}]}, "here: message needs a role and a content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"conversations": [{"from": "function_call", "value": "no"}]}, "here: record is not JSON"),
        ({"conversations": []}, "neither text nor messages"),
        ({"instruction": "a"}, "neither text nor messages"),
        ({"messages": ASKED, "tools": 3}, "tools are no list"),
        (7, "neither text nor messages"),
    ],
)
def test_what_is_no_chat_is_refused_by_name(record, message) -> None:
    with pytest.raises(DocumentError, match=message):
        to_record(record, "here")


def test_arrays_marks_and_archives_are_read_alike(world: Path, tmp_path: Path) -> None:
    encoder = open_source(world / "teacher").encoder
    records = [{"text": "the dog runs home. " * 20}] * 3
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "marked.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    (tmp_path / "array.json").write_text(json.dumps(records, indent=1))
    (tmp_path / "array.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    found = [
        read_sequences([tmp_path / name], encoder, 16).tokens
        for name in ("a.jsonl", "marked.jsonl", "array.json", "array.json.gz")
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])
    (tmp_path / "bad.json").write_text('[{"text": "a"}, {"txt": "b"}]')
    with pytest.raises(DocumentError, match=r"bad\.json\[1\]: record has neither"):
        read_sequences([tmp_path / "bad.json"], encoder, 16)
