"""The tokens that end an answer: from every file that names one, and none at all without harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import understudy
from tests.support.byte_tokenizer import write_tokenizer
from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.chat.session import Session
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.end_tokens import folder_ends, gguf_ends
from understudy.errors import CheckpointWarning
from understudy.serve.app import create_app
from understudy.serve.settings import Settings
from understudy.spec import QuantSpec
from understudy.text.grammar import Grammar

TOKENIZER = {
    "added_tokens": [
        {"id": 5, "content": "<|endoftext|>", "special": True},
        {"id": 6, "content": "<|turn_over|>", "special": True},
    ],
    "model": {"type": "BPE", "vocab": {"a": 0, "ł": 4}, "merges": []},
}


def _folder(path: Path, **files: Any) -> Path:
    path.mkdir(exist_ok=True)
    for name, content in {"tokenizer": TOKENIZER, **files}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("config", "files", "ends"),
    [
        ({"eos_token_id": 5}, {}, (5,)),
        ({"eos_token_id": [5, 6]}, {}, (5, 6)),
        ({"eos_token_id": None}, {"generation_config": {"eos_token_id": [6, 5]}}, (6, 5)),
        ({"eos_token_id": 5}, {"generation_config": {"eos_token_id": 5}}, (5,)),
        ({"eos_token_id": 5}, {"tokenizer_config": {"eos_token": "<|turn_over|>"}}, (5, 6)),
        ({}, {"tokenizer_config": {"eos_token": {"content": "<|turn_over|>"}}}, (6,)),
        ({}, {"special_tokens_map": {"eos_token": "<|turn_over|>"}}, (6,)),
        (
            {},
            {
                "tokenizer_config": {"eos_token": "<|turn_over|>"},
                "special_tokens_map": {"eos_token": "<|endoftext|>"},
            },
            (6,),
        ),
        ({}, {"tokenizer_config": {"eos_token": "ł"}}, (4,)),
        ({}, {"tokenizer_config": {"eos_token": "<absent>"}}, ()),
        (
            {},
            {
                "tokenizer_config": {
                    "eos_token": "<new>",
                    "added_tokens_decoder": {"7": {"content": "<new>"}},
                }
            },
            (7,),
        ),
        ({}, {"tokenizer_config": {"eos_token": "<new>"}, "added_tokens": {"<new>": 8}}, (8,)),
        ({}, {}, ()),
    ],
)
def test_every_file_of_a_folder_is_heard(
    config: dict[str, Any], files: dict[str, Any], ends: tuple[int, ...], tmp_path: Path
) -> None:
    assert folder_ends(_folder(tmp_path, **files), config) == ends


@pytest.mark.parametrize(
    ("value", "named"),
    [("5", "'5'"), (5.0, "5.0"), ([5, "</s>"], "'</s>'"), ([[6]], "6"), (True, "True"), (-7, "-7")],
)
def test_what_is_no_token_id_is_named(value: Any, named: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path, generation_config={"eos_token_id": value})
    with pytest.warns(CheckpointWarning, match=f"generation_config.*eos_token_id.*{named}"):
        assert folder_ends(folder, {"eos_token_id": None}) in ((), (5,))


def test_no_end_may_be_written_as_null_or_minus_one(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    folder = _folder(tmp_path, generation_config={"eos_token_id": None})
    assert folder_ends(folder, {"eos_token_id": -1}) == ()
    assert not recwarn.list


@pytest.mark.parametrize(
    ("config", "is_special", "ends"),
    [
        ({"model_type": "llama"}, True, (2,)),
        ({"model_type": "llama"}, False, ()),
        ({"model_type": "llama", "eos_token_id": None}, True, ()),
        ({"model_type": "llama", "eos_token_id": 7}, True, (7,)),
        ({"model_type": "qwen2"}, True, ()),
    ],
)
def test_a_missing_key_means_the_end_of_the_class(
    config: dict[str, Any], is_special: bool, ends: tuple[int, ...], tmp_path: Path
) -> None:
    added = [{"id": 2, "content": "#", "lstrip": False, "special": is_special}]
    assert folder_ends(_folder(tmp_path, tokenizer={"added_tokens": added}), config) == ends


@pytest.mark.parametrize(
    ("named", "tokens", "ends"),
    [
        ((1, None, None), ("a", "<e>"), (1,)),
        ((1, 2, 0), ("<eom>", "<e>", "<t>"), (1, 2, 0)),
        ((None, None, None), ("a", "<|im_end|>", "<|endoftext|>"), (1, 2)),
        ((2, None, None), ("a", "<|im_end|>", "<|endoftext|>"), (2, 1)),
        ((0, None, None), ("<|return|>", "<|call|>", "<|end|>"), (0, 1)),
        ((None, None, None), ("<turn|>", "<|tool_response>", "</s>"), (0, 1)),
        ((None, None, None), ("a", "b"), ()),
    ],
)
def test_ends_of_a_gguf_are_those_of_llama_cpp(
    named: tuple[int | None, ...], tokens: tuple[str, ...], ends: tuple[int, ...]
) -> None:
    assert gguf_ends(named, tokens) == ends


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose files name no end, and whose vocabulary (373 tokens) is not whole words of
    a mask.
    """
    spec = SPECS["llama"].replace(vocab_size=517, max_positions=2048)
    folder = tmp_path_factory.mktemp("endless")
    none = {"eos_token_id": None, "bos_token_id": None}
    write_folder(spec, random_weights(spec, seed=1), folder, config=none)
    write_tokenizer(folder, 517)
    text = (folder / "tokenizer.json").read_text().replace("</s>", "<end>").replace("<s>", "<one>")
    (folder / "tokenizer.json").write_text(text)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    return folder


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_without_an_end_grammars_still_end(endless: Path) -> None:
    with understudy.load(endless, use_cache=False) as model:
        assert model.tokenizer.eos_ids == ()
        mask = Grammar(model.tokenizer).json_schema(SCHEMA)
        reply = model.generate("Give", make_mask=mask, max_tokens=40, temperature=0)
        assert set(json.loads(reply.text)) == {"n"}
        assert reply.finish_reason == "stop"
        free = Grammar(model.tokenizer).lark("start: /(.|\\n)*/")
        assert model.generate("Give", make_mask=free, max_tokens=9).finish_reason == "length"
        allowed = free().allowed([])
        assert not int(allowed[-1]) >> (373 % 32)


def test_without_an_end_a_session_calls_and_answers(endless: Path) -> None:
    def toll(port: str) -> str:
        """The toll of a port.

        Args:
            port: its name.
        """
        return f"{port}: 4 pence"

    with understudy.load(endless, use_cache=False) as model:
        session = Session(model, tools=[toll])
        reply = session.say("What is the toll at Ely?", max_tokens=12)
        assert reply.finish_reason in ("length", "stop")


def test_without_an_end_the_server_answers(endless: Path, tmp_path: Path) -> None:
    with understudy.load(endless, use_cache=False) as model:
        app = create_app({"endless": model}, Settings(log=False, state_folder=tmp_path))
        with TestClient(app, base_url="http://127.0.0.1") as client:
            body = {
                "model": "endless",
                "messages": [{"role": "user", "content": "Give"}],
                "max_tokens": 40,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA},
                },
            }
            answer = client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
            assert set(json.loads(answer.json()["choices"][0]["message"]["content"])) == {"n"}
            assert client.get("/props").status_code == 200
            assert client.post("/tokenize", json={"content": "a"}).status_code == 200


def test_ends_survive_conversion(endless: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for file in endless.iterdir():
        (tmp_path / "m" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "m" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    checkpoint = open_checkpoint(tmp_path / "m")
    assert checkpoint.tokenizer_source is not None
    assert checkpoint.tokenizer_source.eos_ids == (2,)
    save_checkpoint(checkpoint, tmp_path / "m.gguf", QuantSpec("f32"))
    source = open_checkpoint(tmp_path / "m.gguf").tokenizer_source
    assert source is not None
    assert source.eos_ids == (2,)
