"""The README's Python runs as it stands, from top to bottom, on the embedded model."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_readme_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    code = "\n".join(blocks)
    source = tmp_path / "readme.py"  # a tool's parameters are read from its source
    source.write_text(code, encoding="utf-8")
    exec(compile(code, source, "exec"), names)
    assert names["turn"].say  # type: ignore[attr-defined]
    assert names["reply"].tool_calls  # type: ignore[attr-defined]


def test_the_pages_that_the_readme_names_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing
