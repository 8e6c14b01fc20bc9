"""Adapters of sessions, of characters and of the default model, and how commands name them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

import understudy
from tests.support.adapters import random_adapter
from tests.support.random_model import babbler
from understudy import hub
from understudy.adapters import peft
from understudy.chat.session import Session, SessionSettings
from understudy.cli.options import adapters_of, add_loading
from understudy.errors import UnderstudyWarning, UsageError
from understudy.model import RESIDENT
from understudy.report.provenance import adapted_sha256, describe_run
from understudy.roleplay.card import Card
from understudy.roleplay.npc import Npc, NpcSettings

SETTINGS = SessionSettings(reserve=40)
SAY: dict[str, Any] = {"max_tokens": 12, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with babbler(folder) as model:
        peft.write(random_adapter(model.spec, 5, strength=2.0), folder / "adapter")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    with understudy.load(folder, context=1024, use_cache=False) as loaded:
        for seed, name in enumerate("ab"):
            loaded.adapters.add(name, random_adapter(loaded.spec, seed, strength=2.0))
        yield loaded


def _card(**sampling: Any) -> Card:
    data = {"name": "Hilde", "description": "The miller.", "first_mes": "Good day."}
    data["extensions"] = {"understudy/sampling": sampling}  # type: ignore[assignment]
    return Card({"spec": "chara_card_v2", "spec_version": "2.0", "data": data})


def test_a_session_speaks_with_its_adapter(model: Any) -> None:
    said = [Session(model, settings=SETTINGS, adapter=a, **SAY).say("Hi").text for a in ("", "a")]
    assert said[0] != said[1]
    chat = Session(model, settings=SETTINGS, **SAY)
    assert [chat.say("Hi", adapter="a").text] == said[1:]


def test_a_saved_session_remembers_its_adapter_by_content(model: Any, tmp_path: Path) -> None:
    chat = Session(model, settings=SETTINGS, adapter="a:0.5", **SAY)
    chat.say("Hi")
    chat.save(tmp_path / "s")
    model.adapters.add("same", random_adapter(model.spec, 0, strength=2.0))
    again = Session(model, settings=SETTINGS, adapter="same:0.5", **SAY)
    again.resume(tmp_path / "s")
    assert again.messages == chat.messages
    other = Session(model, settings=SETTINGS, adapter="b", **SAY)
    with pytest.warns(UnderstudyWarning, match="under other adapters"):
        other.resume(tmp_path / "s")
    model.adapters.drop("same")


def test_a_card_names_an_adapter(model: Any) -> None:
    npc = Npc(model, _card(adapter="a:0.7"))
    assert npc.adapter == "a:0.7"
    assert npc.settings.draw(model.spec, 1, of_card=npc.card_samplers)["adapter"] == "a:0.7"
    assert Npc(model, _card(adapter="a"), settings=NpcSettings(adapter="b")).adapter == "b"
    absent = Npc(model, _card(adapter="nobody", top_k=3))
    assert absent.card_samplers == {"top_k": 3}
    assert "the adapter nobody is not loaded" in absent.warnings[-1]


def _tell(what: str) -> str:
    """Tells something."""
    return what


def test_the_adapter_that_ships_acts_by_itself(
    folder: Path, model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "resident_adapter", lambda path: folder / "adapter")
    options: dict[str, Any] = {"context": 256, "use_cache": False}
    plain = model.generate("Hi", adapter="", **SAY).text
    with understudy.load(folder, **options) as loaded:
        assert [(a.name, a.factor) for a in loaded.adapters.list()] == [(RESIDENT, 0.0)]
        assert loaded.limits.job_adapter == RESIDENT
        assert loaded.generate("Hi", **SAY).text == plain
        changed = loaded.generate("Hi", adapter=RESIDENT, **SAY).text
        assert changed != plain
        assert Session(loaded).adapter is None
        assert Session(loaded, tools=[_tell]).adapter is None
        assert Session(loaded, documents=["The gate is green."]).adapter == RESIDENT
        assert Npc(loaded, _card()).adapter == RESIDENT
        said = {}
        for choice in ("none", "required"):
            for adapter in (None, ""):
                own = {} if adapter is None else {"adapter": adapter}
                session = Session(loaded, tools=[_tell], **own)
                how = {**SAY, "max_tokens": 40, "tool_choice": choice}
                said[choice, adapter] = session.say("Hi", **how).raw_text
        assert said["none", None] == said["none", ""]  # no tool is wanted: the model itself answers
        assert said["required", None] != said["required", ""]
        session = Session(loaded, tools=[_tell])
        session.say("Hi", **{**SAY, "max_tokens": 40, "tool_choice": "required"})
        tokens, acted = session.computed  # its keys and values are saved under what made them
        assert acted == RESIDENT
        assert loaded.save_state(tmp_path / "s", tokens, acted) > len(tokens) // 2
        assert loaded.save_state(tmp_path / "s", tokens, session.adapter) < len(tokens) // 2
    with understudy.load(folder, adapter=None, **options) as loaded:
        assert loaded.adapters.list() == ()
        assert loaded.limits.job_adapter is None
        assert loaded.generate("Hi", **SAY).text == plain
    own = {"own": folder / "adapter"}
    with understudy.load(folder, adapters=own, adapter="own", **options) as loaded:
        assert [a.factor for a in loaded.adapters.list()] == [0.0, 1.0]
        assert loaded.generate("Hi", **SAY).text == changed
        assert loaded.limits.job_adapter is None


def test_only_the_default_model_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = tmp_path / "resident"
    monkeypatch.setattr(hub, "RESIDENT", resident)
    monkeypatch.setattr(hub, "_embedded_default", lambda: tmp_path / "m.gguf")
    assert hub.resident_adapter(tmp_path / "m.gguf") is None
    resident.mkdir()
    (resident / "adapter_config.json").write_text("{}")
    assert hub.resident_adapter(tmp_path / "m.gguf") == resident
    assert hub.resident_adapter(tmp_path / "other.gguf") is None


def _options(*words: str, scale: float = 1.0) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_loading(parser)
    return adapters_of(parser.parse_args(words), scale)


def test_commands_name_adapters_with_scales() -> None:
    assert _options() == {"adapters": {}, "adapter": RESIDENT}
    assert _options("--no-adapter")["adapter"] is None
    named = _options("--adapter", "a=x/y", "--adapter", "b=C:\\z.gguf:0.5")
    assert named == {
        "adapters": {"a": "x/y", "b": "C:\\z.gguf"},
        "adapter": {"a": 1.0, "b": 0.5},
    }
    assert _options("--adapter", "a=x:y")["adapters"] == {"a": "x:y"}
    waiting = _options("--adapter", "a=x", scale=0.0)
    assert waiting == {"adapters": {"a": "x"}, "adapter": RESIDENT}
    for words in (["x/y"], ["=x"], ["a="]):
        with pytest.raises(UsageError, match="name the adapter"):
            _options("--adapter", *words)
    with pytest.raises(UsageError, match="the same name"):
        _options("--adapter", "a=x", "--adapter", "a=y")


def test_records_of_runs_know_adapters_by_content(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"x")
    plain = describe_run(tmp_path / "m.gguf")
    adapter = {"name": "a", "sha256": "00ff", "scale": 0.5, "base": "org/m"}
    record = describe_run(tmp_path / "m.gguf", [adapter])
    assert "adapters" not in plain
    assert (record["model"], record["adapters"]) == ("m.gguf + a", [adapter])
    assert record["model_sha256"] == adapted_sha256(plain["model_sha256"], [adapter])
    weaker = adapted_sha256(plain["model_sha256"], [adapter | {"scale": 0.4}])
    assert len({plain["model_sha256"], record["model_sha256"], weaker}) == 3
