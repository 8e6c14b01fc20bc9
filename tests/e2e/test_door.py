"""The door shaped like transformers: the usage snippets of Nemotron-Mini's card, with only the import line changed."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import understudy
from understudy import AutoModelForCausalLM, AutoTokenizer, TextStreamer, pipeline
from understudy.errors import UsageError

NAME = "smollm2-135m-instruct"
ROOT = Path(__file__).parents[2]
MESSAGES = [
    {
        "role": "system",
        "content": "You are a friendly chatbot who always responds in the style of a pirate",
    },
    {"role": "user", "content": "How many helicopters can a human eat in one sitting?"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(NAME)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(NAME)


@pytest.mark.parametrize("kind", ["np", "pt"])
def test_the_first_snippet(tokenizer, model, kind):
    if kind == "pt":
        pytest.importorskip("torch")
    tokenized = tokenizer.apply_chat_template(
        MESSAGES, tokenize=True, add_generation_prompt=True, return_tensors=kind
    )
    assert tokenized.ndim == 2
    assert tokenized.shape[0] == 1
    outputs = model.generate(
        tokenized, max_new_tokens=16, stop_strings=["<extra_id_1>"], tokenizer=tokenizer
    )
    assert type(outputs) is type(tokenized)
    assert outputs.shape == (1, tokenized.shape[1] + 16)
    assert (np.asarray(outputs[0][: tokenized.shape[1]]) == np.asarray(tokenized[0])).all()
    text = tokenizer.decode(outputs[0])
    assert text.startswith("<|im_start|>system\nYou are a friendly chatbot")
    assert "<|im_start|>" not in tokenizer.decode(outputs[0], skip_special_tokens=True)


def test_the_second_snippet(tokenizer):
    messages = [{"role": "user", "content": "Who are you?"}]
    pipe = pipeline("text-generation", model=NAME, tokenizer=tokenizer)
    (result,) = pipe(messages, max_new_tokens=12)
    assert result["generated_text"][:1] == messages
    assert result["generated_text"][1]["role"] == "assistant"
    assert result["generated_text"][1]["content"]
    (text,) = pipe("The capital of France is", max_new_tokens=2, return_full_text=False)
    assert "Paris" in text["generated_text"]


def test_a_streamer_prints_what_is_made(tokenizer, model):
    out = io.StringIO()
    inputs = tokenizer("The capital of France is", return_tensors="np")
    ids = model.generate(
        **inputs, max_new_tokens=3, streamer=TextStreamer(tokenizer, skip_prompt=True, file=out)
    )
    assert out.getvalue().rstrip("\n") == tokenizer.decode(
        ids[0][inputs.input_ids.shape[1] :]
    ).rstrip("\n")


def test_sampling_with_a_seed_and_several_answers(tokenizer, model):
    inputs = tokenizer("Once upon a time", return_tensors="np")
    settings = {
        "do_sample": True,
        "temperature": 0.9,
        "top_p": 0.9,
        "num_return_sequences": 3,
        "max_new_tokens": 8,
        "seed": 4,
    }
    first, second = model.generate(**inputs, **settings), model.generate(**inputs, **settings)
    assert first.shape[0] == 3
    assert (first == second).all()
    assert len({tuple(row) for row in first.tolist()}) > 1


def test_a_padded_batch_equals_single_prompts(tokenizer, model):
    texts = ["The capital of France is", "Two and two make"]
    inputs = tokenizer(texts, return_tensors="np", padding=True)
    both = tokenizer.batch_decode(
        model.generate(**inputs, max_new_tokens=4), skip_special_tokens=True
    )
    for text, together in zip(texts, both, strict=True):
        alone = model.generate(**tokenizer(text, return_tensors="np"), max_new_tokens=4)
        assert together.endswith(tokenizer.decode(alone[0], skip_special_tokens=True)[len(text) :])


@pytest.mark.parametrize(
    "call",
    [
        lambda t, m: m.generate(t("x", return_tensors="np").input_ids, num_beams=4),
        lambda t, m: t("x", truncation=True),
        lambda t, m: t.apply_chat_template(MESSAGES, continue_final_message=True),
        lambda t, m: AutoModelForCausalLM.from_pretrained(NAME, load_in_4bit=True),
        lambda t, m: AutoTokenizer.from_pretrained(NAME, subfolder="x"),
        lambda t, m: pipeline("summarization"),
        lambda t, m: m.to("cuda"),
        lambda t, m: m.generate(),
        lambda t, m: t(["a", "longer text here"], return_tensors="np"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(tokenizer, model, call):
    with pytest.raises(UsageError):
        call(tokenizer, model)


def test_every_public_name_resolves():
    for name in understudy.__all__:
        assert getattr(understudy, name) is not None
    importlib.import_module("understudy.judge.benchmark.perplexity")  # a room must not hide a name

    assert callable(understudy.load)
    with pytest.raises(AttributeError):
        _ = understudy.no_such_name


LIGHT = """
    import importlib.abc, sys, time
    class Forbidden(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("torch", "transformers"):
                raise ImportError(name + " is not part of the run-time install")
    sys.meta_path.insert(0, Forbidden())
    start = time.perf_counter()
    import understudy
    took = time.perf_counter() - start
    model = understudy.load("smollm2-135m-instruct", context=128)
    print(model.generate("The capital of France is", max_tokens=2).text)
    print(took)
"""


def test_the_run_time_needs_no_torch_and_imports_fast():
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIGHT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    answer, took = done.stdout.strip().splitlines()
    assert "Paris" in answer
    assert float(took) < 1.0
    assert time.perf_counter() - start < 120
