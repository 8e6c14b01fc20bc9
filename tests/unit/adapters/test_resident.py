"""The adapter that ships with the embedded model: small, readable, described by its content."""

from __future__ import annotations

import json

import pytest

from tests.support.adapters import random_adapter
from tests.support.checkpoints import SPECS
from understudy import hub
from understudy.adapters import peft

MAX_BYTES = 6_000_000
FOLDER = hub.RESIDENT
needs_one = pytest.mark.skipif(
    not (FOLDER / peft.CONFIG).is_file(), reason="no adapter ships with this version"
)


@needs_one
def test_it_is_small_and_its_card_names_its_content():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= MAX_BYTES
    adapter = peft.read(FOLDER)
    card = (FOLDER / "README.md").read_text("utf-8")
    assert adapter.sha256 in card
    lineage = json.loads((FOLDER / peft.OWN).read_text())["lineage"]
    assert lineage["base_sha256"] in card
    assert adapter.rank == 8


@pytest.mark.parametrize("format", ["BF16", "F16"])
def test_a_folder_may_hold_rounded_values(tmp_path, format):
    adapter = random_adapter(SPECS["llama"], rank=2)
    peft.write(adapter, tmp_path / "whole")
    peft.write(adapter, tmp_path / "rounded", format=format)
    whole, rounded = peft.read(tmp_path / "whole"), peft.read(tmp_path / "rounded")
    name = next(iter(adapter.tensors))
    for exact, near in zip(whole.tensors[name], rounded.tensors[name], strict=True):
        assert abs(exact - near).max() <= abs(exact).max() / 128
        assert (exact != near).any()
    sizes = [(tmp_path / n / peft.WEIGHTS[0]).stat().st_size for n in ("whole", "rounded")]
    assert sizes[1] < 0.7 * sizes[0]
