"""Errors of matrices as a map of kinds and layers."""

from __future__ import annotations

from understudy.compress.report import StageReport, document, error_map
from understudy.report.document import HeatMap

ROWS = [
    {"name": "model.layers.0.self_attn.q_proj.weight", "output_error": 0.1},
    {"name": "model.layers.1.self_attn.q_proj.weight", "output_error": 0.3},
    {"name": "model.layers.1.mlp.down_proj.weight", "output_error": 0.2},
    {"name": "model.embed_tokens.weight", "output_error": 0.9},
]


def test_kinds_and_layers():
    found = error_map(ROWS, "output_error", "Errors")
    assert found.rows == ["q", "down"]
    assert found.columns == ["0", "1"]
    assert found.values == [[0.1, 0.3], [None, 0.2]]
    assert error_map(ROWS[3:], "output_error", "Errors") is None


def test_the_page_of_a_stage_draws_it():
    report = StageReport("export", {}, {"quantized matrices": ROWS})
    assert any(isinstance(block, HeatMap) for block in document(report).blocks)
