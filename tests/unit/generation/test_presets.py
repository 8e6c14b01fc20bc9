"""Presets: found by shape and by size, of settings that exist; what nobody set is theirs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.support.random_model import babbler
from understudy.checkpoint.registry import ARCHITECTURES
from understudy.generation import presets
from understudy.generation.intent import CallSettings, policy_of
from understudy.generation.presets import preset_of, preset_of_size
from understudy.rag.settings import AnswerSettings
from understudy.roleplay.npc import NpcSettings
from understudy.spec import ModelSpec

FIELDS = {"calls": CallSettings, "documents": AnswerSettings, "characters": NpcSettings}


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    with babbler(tmp_path_factory.mktemp("model")) as model:
        yield model.spec


def test_every_preset_holds_settings_that_exist():
    entries = presets._entries()
    for entry in (*entries["sizes"], *entries["models"]):
        for job, kind in FIELDS.items():
            kind(**entry.get(job, {}))
    for entry in entries["models"]:
        assert entry["shape"]["architecture"] in ARCHITECTURES, entry["name"]
        assert set(entry["shape"]) <= {field.name for field in dataclasses.fields(ModelSpec)}
    assert [entry["below"] for entry in entries["sizes"]] == [4e8, 1e9, None]


@pytest.mark.parametrize(
    ("num_parameters", "name"),
    [
        (1, "below 400M parameters"),
        (399e6, "below 400M parameters"),
        (4e8, "below 1B parameters"),
        (999e6, "below 1B parameters"),
        (1e9, "from 1B parameters on"),
        (8e9, "from 1B parameters on"),
    ],
)
def test_by_size(num_parameters, name):
    assert preset_of_size(num_parameters).name == name


def test_by_shape_before_size(spec, monkeypatch):
    shape = {"architecture": spec.architecture, "num_layers": spec.num_layers}
    own = {"name": "Mine", "shape": shape, "calls": {"gate": False}, "is_measured": True}
    entries = {**presets._entries(), "models": [own]}
    monkeypatch.setattr(presets, "_entries", lambda: entries)
    preset = preset_of(spec)
    assert (preset.name, preset.is_measured) == ("Mine", True)
    by_size = {"copy_values": True, "hide_tools": True, "chain": False}
    assert preset.calls == {**by_size, "gate": False}
    assert not policy_of(spec).settings.gate
    assert preset.documents == preset_of_size(1).documents
    assert json.loads(json.dumps(preset.to_document()))["calls"]["gate"] is False
    shape["num_layers"] += 1
    assert preset_of(spec).name == "below 400M parameters"


def test_what_is_set_comes_before_the_preset(spec):
    settings = AnswerSettings(excerpts=False).for_model(spec)
    assert (settings.excerpts, settings.may_abstain) == (False, False)
    assert dataclasses.replace(settings, excerpts=None).for_model(spec).excerpts
    assert NpcSettings().draw(spec, 0)["temperature"] == 0.4
    assert NpcSettings(temperature=1.1).draw(spec, 0)["temperature"] == 1.1
    assert NpcSettings().draw(spec, 0, of_card={"temperature": 0.9})["temperature"] == 0.9
    assert not NpcSettings().keeps_memory(spec)
    assert NpcSettings(remembers=True).keeps_memory(spec)
