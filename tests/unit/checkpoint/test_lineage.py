"""Terms and lineage go along when a checkpoint is written as another kind of file."""

from __future__ import annotations

import dataclasses

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.lineage import CARRIED, KEY, gguf_entries, lineage_of
from understudy.spec import QuantSpec

BLOCK = {"teacher": "big.gguf", "stages": [{"stage": "prune", "quality": {"kl": 0.5}}]}


def test_lineage_and_licence_survive_folder_to_gguf_to_gguf_to_folder(tmp_path):
    write_folder(SPECS["nemotron"], random_weights(SPECS["nemotron"], seed=1), tmp_path / "a")
    opened = open_checkpoint(tmp_path / "a")
    assert lineage_of(opened.metadata) == {}
    made = dataclasses.replace(
        opened, metadata={**opened.metadata, "understudy": BLOCK, "general.license": "apache-2.0"}
    )
    save_checkpoint(made, tmp_path / "b.gguf", QuantSpec(weights="bf16"))
    save_checkpoint(
        open_checkpoint(tmp_path / "b.gguf"), tmp_path / "c.gguf", QuantSpec(weights="q8")
    )
    save_checkpoint(open_checkpoint(tmp_path / "c.gguf"), tmp_path / "d", QuantSpec(weights="bf16"))
    for name in ("b.gguf", "c.gguf", "d"):
        assert lineage_of(open_checkpoint(tmp_path / name).metadata) == BLOCK
    assert open_checkpoint(tmp_path / "c.gguf").metadata["general.license"] == "apache-2.0"


def test_a_block_that_is_no_object_stays_text():
    assert lineage_of({KEY: "made by hand"}) == {"note": "made by hand"}
    assert lineage_of({KEY: "[" * 100_000}) == {"note": "[" * 100_000}
    assert lineage_of({"understudy": ["x"]}) == {}
    assert gguf_entries(dict.fromkeys(CARRIED, "x") | {"general.name": "n"}) == dict.fromkeys(
        CARRIED, "x"
    )
