"""The stories model: a real, trained network of the Nemotron shape (see
tests/data/stories-nemotron/README.md if present).

What made-up weights cannot show: words that follow each other, true zero rates, pruning that has
something to lose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from understudy.checkpoint import reference
from understudy.compress.calibrate import calibrate
from understudy.compress.data import pack
from understudy.compress.evaluate import compare, perplexity
from understudy.compress.folder import Source, open_source, save_network, save_quantized
from understudy.compress.importance import CRITERIA
from understudy.compress.prune import Shape, select, trim
from understudy.compress.quantize import QuantizeSettings, quantize
from understudy.compress.reconstruct import reconstruct
from understudy.compress.sparsity import thresholds, zero_rates

FOLDER = Path(__file__).parents[2] / "data" / "stories-nemotron"
pytestmark = pytest.mark.skipif(
    not (FOLDER / "model.safetensors").exists(), reason="the stories model is not here"
)

# Written for these tests, in the manner of what the model was trained on.
STORIES = [
    "Once upon a time, there was a little boy named Tom. Tom had a red ball. One day, he went to the park with his mom. "
    "He saw a big dog. The dog wanted to play with the ball. Tom was happy and threw the ball. The dog ran fast.",
    "One day, a girl named Lily found a small bird in the garden. The bird was sad because it could not fly. Lily said, "
    '"Do not worry, I will help you." She took the bird to her mom. Her mom smiled and gave the bird some water.',
    "Once upon a time, there was a cat who liked to sleep in the sun. A little mouse came out of the house. The mouse was "
    "scared of the cat, but the cat was kind. They became good friends and played together every day.",
    "Ben and Sue went to the beach. They made a big castle out of sand. Then a wave came and the castle was gone. Sue was "
    'sad, but Ben said, "We can make a new one." They worked together and the new castle was even bigger.',
]


@pytest.fixture(scope="module")
def source() -> Source:
    return open_source(FOLDER)


@pytest.fixture(scope="module")
def rows(source: Source):
    from understudy.compress.data import TokenizedDocument

    ids = [[1, *source.encoder.text(story)] for story in STORIES * 2]
    documents = (TokenizedDocument(i, [True] * len(i)) for i in ids)
    return pack(documents, 48, source.encoder.end_id)


def test_its_logits_are_those_of_transformers_and_the_reference(source: Source) -> None:
    ids = np.array([1, *source.encoder.text(STORIES[0])])
    with torch.no_grad():
        ours = source.network(torch.from_numpy(ids)[None])[0].numpy()
        model = transformers.AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32)
        theirs = model(torch.from_numpy(ids)[None]).logits[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    weights = {name: value.numpy() for name, value in source.network.state_dict().items()}
    np.testing.assert_allclose(
        ours, reference.forward(source.network.spec, weights, ids), atol=2e-4
    )


def test_it_has_learnt_stories(source: Source, rows) -> None:
    assert (
        perplexity(source.network, rows) < 25
    )  # a uniform guess has the vocabulary's size, thousands


def test_it_tells_one(source: Source) -> None:
    ids = [1, *source.encoder.text("Once upon a time")]
    with torch.no_grad():
        for _ in range(60):
            ids.append(int(source.network(torch.tensor([ids]))[0, -1].argmax()))
    text = source.encoder.tokenizer.decode(ids, skip_special=True)
    words = [word.strip('.,!?"').lower() for word in text.split()]
    assert len(words) > 30
    assert {"a", "was", "the"} <= set(words)


def test_its_zeros_are_many_and_some_more_cost_nothing(source: Source, rows, tmp_path) -> None:
    rates = zero_rates(calibrate(source.network, rows, tmp_path))
    assert all(0.4 < rate < 0.999 for rate in rates)
    found = thresholds(source.network, rows, max_kl=0.02)
    assert sum(found.rates) > sum(rates)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(intermediate_size=384),
        Shape(num_heads=3),
        Shape(num_kv_heads=2, num_heads=4),
        Shape(hidden_size=240),
        Shape(num_layers=5),
    ],
    ids=["mlp", "heads", "groups", "hidden", "depth"],
)
def test_every_axis_can_be_cut_and_healed(shape: Shape, source: Source, rows, tmp_path) -> None:
    teacher = source.network
    statistics = calibrate(teacher, rows, tmp_path)
    kept = (
        None
        if shape.num_layers is None
        else tuple(i for i in range(teacher.spec.num_layers) if i != 2)
    )
    selection = select(teacher, shape, CRITERIA["reconstruction"](teacher, statistics, 0), kept)
    student = trim(teacher, selection).requires_grad_(False)
    before = compare(student, teacher, rows).kl
    reconstruct(teacher, student, selection, rows)
    assert compare(student, teacher, rows).kl < 0.8 * before


def test_four_bits_by_calibration_beat_plain_rounding(source: Source, rows, tmp_path) -> None:
    """Weights that were never on a 4-bit grid."""
    statistics = calibrate(source.network, rows, tmp_path / "c")
    kl = {}
    for method in ("round_to_nearest", "gptq"):
        result = quantize(source.network, statistics, QuantizeSettings(method=method))
        kl[method] = compare(result.network, source.network, rows).kl
    path = save_quantized(result.tensors, result.network, source.checkpoint, tmp_path / "m.gguf")
    assert compare(open_source(path).network, result.network, rows).kl < 1e-6
    assert kl["gptq"] < 0.75 * kl["round_to_nearest"]


def test_its_gguf_is_the_same_network(source: Source, rows, tmp_path) -> None:
    path = save_network(source.network, source.checkpoint, tmp_path / "m.gguf", "bf16")
    back = open_source(path)
    assert compare(back.network, source.network, rows).kl < 1e-6
    assert back.encoder.text(STORIES[1]) == source.encoder.text(STORIES[1])
