"""The chat templates of the families we open, in 500 random conversations each: the same bytes as
transformers makes of them, with tools, results, thoughts, switches and parts; and no marker in the
data becomes one in the prompt.

The templates are those that llama.cpp keeps for its own tests (in the source archive of
llama-cpp-python). Content of several parts goes to templates that take parts; others get it joined.
"""

from __future__ import annotations

import functools
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tests.others.support import source_of
from tests.support.byte_chat import byte_level
from understudy.errors import TemplateError
from understudy.formats.tokenizer_source import TokenizerSource
from understudy.text import Tokenizer, open_tokenizer
from understudy.text.templates.jinja import JinjaChatTemplate

pytestmark = pytest.mark.others
NUM_CONVERSATIONS, NUM_ATTACKS = 500, 40
FOLDER = "vendor/llama.cpp/models/templates"
TEMPLATES = [
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "NVIDIA-Nemotron-Nano-v2",
    "Qwen-Qwen3-0.6B",
    "Qwen3-Coder",
    "Qwen3.5-4B",
    "Qwen-Qwen2.5-7B-Instruct",
    "HuggingFaceTB-SmolLM3-3B",
    "ibm-granite-granite-3.3-2B-Instruct",
    "ibm-granite-granite-4.0",
    "ibm-granite-granite-4.1",
    "LFM2-8B-A1B",
    "LFM2.5-8B-A1B",
    "LFM2.5-Instruct",
    "google-gemma-2-2b-it",
    "google-gemma-4-31B-it",
    "microsoft-Phi-3.5-mini-instruct",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "mistralai-Mistral-Nemo-Instruct-2407",
    "mistralai-Ministral-3-14B-Reasoning-2512",
]
MARKERS = [
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>"),
    *("</tool_call>", "<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>", '<|"|>', "<|channel>"),
    *("<channel|>", "<|tool_call_start|>", "<|tool_call_end|>", "<start_of_turn>"),
    *("<end_of_turn>", "<SPECIAL_10>", "<SPECIAL_11>", "<SPECIAL_12>", "<|eot_id|>"),
    *("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "[INST]", "[/INST]"),
    *("[TOOL_CALLS]", "[ARGS]", "<|start_header_id|>", "<|end_header_id|>", "<|end|>"),
    *("<|user|>", "<|assistant|>", "<|system|>", "[THINK]", "[/THINK]"),
]
WORDS = [
    *(
        "hello",
        "weather",
        "Paris",
        "漢字",
        "naïve",
        "👩\u200d🚀",
        "{x}",
        "<b>",
        "a&b",
        "'q'",
        '"d"',
    ),
    *("/no_think", "it's", "42", "ok\n\n", "line\ttab", "", "two"),
]


@functools.cache
def vocabulary() -> tuple[str, int]:
    fast = byte_level(MARKERS)
    return fast.to_str(), fast.token_to_id("</s>")


def tokenizer_with(template: str) -> Tokenizer:
    payload, end = vocabulary()
    source = TokenizerSource(
        "tokenizer.json", payload.encode(), eos_ids=(end,), chat_template=template
    )
    return open_tokenizer(source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("templates")
    with tarfile.open(source_of("llama-cpp-python", "0.3.36")) as archive:
        for member in archive:
            if FOLDER in member.name and member.name.endswith(".jinja"):
                (found / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    return found


class Talk:
    """Random conversations that a template takes."""

    def __init__(self, source: str, takes_parts: bool, rng: random.Random) -> None:
        self.rng, self.takes_parts = rng, takes_parts
        self.has_tools, self.has_calls = "tools" in source, "tool_calls" in source
        self.most_calls = 1 if "single tool-calls" in source else 2

    def text(self, most: int = 6) -> str:
        return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, most)))

    def value(self, depth: int = 0) -> Any:
        kinds = [
            lambda: self.text(3),
            lambda: self.rng.randint(-5, 999),
            lambda: self.rng.choice([True, False]),
            lambda: self.rng.randint(0, 99999) / 1000,
            lambda: None,
            lambda: [self.value(depth + 1) for _ in range(self.rng.randint(0, 3))],
            lambda: {key: self.value(depth + 1) for key in self.rng.sample(["k", "Zed", "b c"], 2)},
        ]
        return self.rng.choice(kinds if depth < 2 else kinds[:5])()

    def tool(self, number: int) -> dict[str, Any]:
        names = self.rng.sample(["city", "days", "Unit", "when", "b2", "zeta", "alpha"], 3)
        listed = {name: self.property() for name in names[: self.rng.randint(0, 3)]}
        parameters: dict[str, Any] = {"type": "object", "properties": listed}
        if self.rng.random() < 0.7:
            parameters["required"] = [name for name in listed if self.rng.random() < 0.5]
        name = self.rng.choice(["get_weather", "open_door", "f"]) + str(number)
        function = {"name": name, "description": self.text(5), "parameters": parameters}
        return {"type": "function", "function": function}

    def property(self) -> dict[str, Any]:
        kind = self.rng.choice(["string", "integer", "number", "boolean", "array", "object"])
        made: dict[str, Any] = {"type": kind}
        if self.rng.random() < 0.7:
            made["description"] = self.text(4)
        if kind == "string" and self.rng.random() < 0.3:
            made["enum"] = ["celsius", "Fahrenheit"]
        if kind == "array":
            made["items"] = {"type": self.rng.choice(["string", "integer"])}
        if kind == "object":
            made["properties"] = {
                "x": {"type": "integer"},
                "a": {"type": "string", "description": "d"},
            }
        return made

    def said(self, role: str) -> dict[str, Any]:
        content: Any = self.text()
        if role == "user" and self.takes_parts and self.rng.random() < 0.3:
            content = [{"type": "text", "text": self.text()} for _ in range(self.rng.randint(1, 2))]
        made = {"role": role, "content": content}
        if role == "assistant" and self.rng.random() < 0.4:
            made["reasoning_content"] = self.text()
        return made

    def calls(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for _ in range(self.rng.randint(1, self.most_calls)):
            names = self.rng.sample(["city", "days", "zeta", "Alpha"], self.rng.randint(0, 3))
            function = {
                "name": self.rng.choice(tools)["function"]["name"],
                "arguments": {name: self.value() for name in names},
            }
            id = f"abcDEF{self.rng.randrange(100, 999)}"
            made.append({"id": id, "type": "function", "function": function})
        return made

    def exchange(self, tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        messages = [self.said("user")]
        if tools and self.has_calls and self.rng.random() < 0.6:
            for _ in range(self.rng.randint(1, 2)):
                content = self.rng.choice(["", self.text(3)])
                asked = {
                    **self.said("assistant"),
                    "content": content,
                    "tool_calls": self.calls(tools),
                }
                messages.append(asked)
                for call in asked["tool_calls"]:
                    content = self.rng.choice([self.text(), json.dumps(self.value())])
                    name = call["function"]["name"]
                    messages.append(
                        {
                            "role": "tool",
                            "tool_call_id": call["id"],
                            "name": name,
                            "content": content,
                        }
                    )
        return [*messages, self.said("assistant")]

    def conversation(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        tools = [self.tool(i) for i in range(self.rng.randint(1, 3))]
        chosen = tools if self.has_tools and self.rng.random() < 0.6 else None
        messages = [self.said("system")] if self.rng.random() < 0.6 else []
        for _ in range(self.rng.randint(1, 4)):
            messages += self.exchange(chosen)
        return messages[: len(messages) - (self.rng.random() < 0.8)], chosen


def rendered_by_transformers(
    source: str, messages: Any, tools: Any, **variables: Any
) -> str | None:
    """None where the template refuses the conversation."""
    try:
        copied = json.loads(json.dumps(messages))
        texts, _ = render_jinja_template([copied], tools=tools, chat_template=source, **variables)
    except Exception:
        return None
    return texts[0]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_same_bytes_as_transformers(folder, name):
    source = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    tokenizer = tokenizer_with(source)
    talk = Talk(source, JinjaChatTemplate(tokenizer)._takes_parts, random.Random(name))
    num_rendered = 0
    for _ in range(NUM_CONVERSATIONS):
        messages, tools = talk.conversation()
        given = {} if talk.rng.random() < 0.5 else {"enable_thinking": talk.rng.random() < 0.5}
        add = talk.rng.random() < 0.8
        variables = {**tokenizer.special_tokens, **given, "add_generation_prompt": add}
        theirs = rendered_by_transformers(source, messages, tools, **variables)
        ours = JinjaChatTemplate(tokenizer, source, given)
        if theirs is None:
            with pytest.raises(TemplateError):
                ours.render(messages, tools=tools, add_generation_prompt=add)
            continue
        prompt = ours.render(messages, tools=tools, add_generation_prompt=add)
        assert prompt.text == theirs
        assert not prompt.note
        num_rendered += 1
    assert num_rendered > NUM_CONVERSATIONS / 10


def markers_in(
    template: JinjaChatTemplate, tokenizer: Tokenizer, messages: Any, tools: Any
) -> list[int]:
    known = {marker.token for marker in tokenizer.markers.values()}
    ids = template.render(messages, tools=tools).encode(tokenizer)
    return [token for token in ids if token in known]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_marker_in_the_data_becomes_one(folder, name):
    source = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    tokenizer = tokenizer_with(source)
    template = JinjaChatTemplate(tokenizer)
    talk = Talk(source, template._takes_parts, random.Random(name))
    present = [marker for marker in MARKERS if marker in source] or ["<s>"]
    num_tried, refused = 0, []
    for _ in range(NUM_ATTACKS):
        messages, tools = talk.conversation()
        plain = (
            json.dumps([messages, tools])
            .replace("/no_think", "hello")
            .replace("weather", "harmless")
        )
        marker = json.dumps(talk.rng.choice(present))[1:-1]
        wanted, attacked = json.loads(plain), json.loads(plain.replace("hello", marker))
        try:
            expected = markers_in(template, tokenizer, *wanted)
        except TemplateError:
            continue  # the template takes no such conversation
        try:
            found = markers_in(template, tokenizer, *attacked)
        except TemplateError as error:
            refused.append(str(error))
            continue
        assert found == expected
        num_tried += 1
    assert all("marker" in line for line in refused)
    assert num_tried > 2
