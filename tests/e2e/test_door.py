"""The door shaped like transformers: the usage snippets of Nemotron-Mini's card, with only the
import line changed.
"""

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
    """As version 5 has it: a dict that goes into `generate` whole, and as version 4 had it: ids."""
    if kind == "pt":
        pytest.importorskip("torch")
    tokenized = tokenizer.apply_chat_template(
        MESSAGES, tokenize=True, add_generation_prompt=True, return_tensors=kind
    )
    assert set(tokenized) == {"input_ids", "attention_mask"}
    ids = tokenized["input_ids"]
    assert ids.ndim == 2
    assert ids.shape[0] == 1
    outputs = model.generate(
        **tokenized, max_new_tokens=16, stop_strings=["<extra_id_1>"], tokenizer=tokenizer
    )
    assert type(outputs) is type(ids)
    assert outputs.shape == (1, ids.shape[1] + 16)
    assert (np.asarray(outputs[0][: ids.shape[1]]) == np.asarray(ids[0])).all()
    text = tokenizer.decode(outputs[0])
    assert text.startswith("<|im_start|>system\nYou are a friendly chatbot")
    assert "<|im_start|>" not in tokenizer.decode(outputs[0], skip_special_tokens=True)
    for old in (tokenized, ids):
        again = model.generate(old, max_new_tokens=16)
        assert (np.asarray(again) == np.asarray(outputs)).all()
    assert (tokenized.shape, len(tokenized[0])) == (ids.shape, ids.shape[1])
    assert tokenizer.decode(tokenized) == [tokenizer.decode(ids[0])]


def test_conversations_as_ids_and_in_batches(tokenizer):
    whole = tokenizer.apply_chat_template(MESSAGES)["input_ids"]
    assert tokenizer.apply_chat_template(MESSAGES, return_dict=False) == whole
    both = tokenizer.apply_chat_template(
        [MESSAGES, MESSAGES[:1]], padding=True, padding_side="right", return_tensors="np"
    )
    assert both["input_ids"].shape == (2, len(whole))
    assert both["attention_mask"].sum(axis=1).tolist() == [
        len(whole),
        both["attention_mask"][1].sum(),
    ]
    assert tokenizer.decode(both["input_ids"][1], skip_special_tokens=True).startswith("system")
    texts = tokenizer.apply_chat_template([MESSAGES, MESSAGES[:1]], tokenize=False)
    assert texts[0] == tokenizer.decode(whole)
    cut = tokenizer.apply_chat_template(MESSAGES, truncation=True, max_length=5)
    assert cut["input_ids"] == whole[:5]


def test_a_final_message_is_gone_on_with(tokenizer, model):
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Thy qu"}]
    text = tokenizer.apply_chat_template(said, continue_final_message=True, tokenize=False)
    assert text.endswith("<|im_start|>assistant\nThy qu")
    (answer,) = pipeline("text-generation", model, tokenizer)(said, max_new_tokens=2)
    assert answer["generated_text"][1]["content"].startswith("Thy qu")
    assert len(answer["generated_text"]) == 2


def test_functions_templates_and_documents(tokenizer):
    def look_up(word: str):
        """Looks a word up.

        Args:
            word: The word.
        """

    prompt = tokenizer.apply_chat_template(MESSAGES, tools=[look_up], tokenize=False)
    assert '"look_up"' in prompt
    assert "The word." in prompt
    template = "{% for d in documents %}{{ d.title }}: {{ d.text }}; {{ mood }}{% endfor %}"
    found = tokenizer.apply_chat_template(
        MESSAGES,
        documents=[{"title": "Island", "text": "granite"}],
        chat_template=template,
        mood="calm",
        tokenize=False,
    )
    assert found == "Island: granite; calm"


def test_names_and_ids_of_tokens(tokenizer):
    end = tokenizer.eos_token
    assert tokenizer.convert_tokens_to_ids(end) == tokenizer.eos_token_id
    assert tokenizer.convert_tokens_to_ids([end, "no such piece"])[0] == tokenizer.eos_token_id
    assert tokenizer.decode([[1], [2]]) == tokenizer.batch_decode([[1], [2]])
    tokenizer.pad_token = tokenizer.eos_token
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert tokenizer.special_tokens_map["eos_token"] == end
    assert end in tokenizer.all_special_tokens


def test_settings_come_from_the_checkpoint_then_a_config_then_arguments(model, monkeypatch):
    monkeypatch.setattr(model.generation_config, "max_new_tokens", 3)
    prompt = np.asarray([[1, 2, 3]])

    def length(**settings):
        return model.generate(prompt, eos_token_id=None, **settings).shape[1] - 3

    assert length() == 3
    assert length(generation_config={"max_new_tokens": 2}) == 2
    assert length(generation_config={"max_new_tokens": 2}, max_new_tokens=1) == 1
    assert length(max_length=7) == 4
    first = model.generate(prompt, max_new_tokens=1)[0, -1]
    monkeypatch.setattr(model.generation_config, "suppress_tokens", [int(first)])
    assert model.generate(prompt, max_new_tokens=1)[0, -1] != first
    with pytest.raises(UsageError, match="no room"):
        length(max_length=3)


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
        lambda t, m: t("x", stride=2),
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
