"""The cache folder: what is kept is listed, cleared and held under a limit; a folder that cannot be
written stops nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import understudy
from understudy.atomic import written_aside
from understudy.cli import main
from understudy.cli.cache import parse_size
from understudy.errors import UnderstudyWarning, UsageError
from understudy.formats.packed import PackedEntry, write_packed

STORIES = "tests/data/stories-nemotron"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    for age, name in enumerate(["new", "middle", "old"]):
        path = tmp_path / f"{name}.pack"
        write_packed(
            path, {"path": f"/m/{name}.gguf"}, [PackedEntry("a", "f32", 1, 1, 4, _nothing)]
        )
        os.utime(path, (10_000 - age, 10_000 - age))
    return tmp_path


def _nothing(out: object) -> None:
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.pack"))


def test_the_list_tells_sources_and_sizes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.pack").write_bytes(b"x" * 10)
    assert main(["cache", "list", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    by_name = {model["name"]: model for model in shown["models"]}
    assert by_name["old"]["source"] == "/m/old.gguf"
    assert by_name["broken"]["source"] is None
    assert shown["bytes"] == 3 * 8192 + 10
    assert main(["cache", "list"]) == 0
    assert "4 packed models, 0.0 MB, no limit" in capsys.readouterr().out


def test_a_limit_removes_the_longest_unused_now_and_later(folder: Path) -> None:
    assert main(["cache", "limit", "17kB"]) == 0
    assert names(folder) == ["middle", "new"]
    with understudy.load(STORIES):
        kept = names(folder)
    assert len(kept) == 1
    assert kept[0].startswith("stories-nemotron")


def test_clear_takes_those_that_are_named(folder: Path) -> None:
    assert main(["cache", "clear", "mid"]) == 0
    assert names(folder) == ["new", "old"]
    assert main(["cache", "clear", "none"]) == 2
    assert main(["cache", "clear"]) == 0
    assert names(folder) == []


@pytest.mark.parametrize(("text", "size"), [("5GB", 5 * 10**9), ("1.5 m", 1_500_000), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "5XB", "many"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path / "file"))
    with pytest.warns(UnderstudyWarning, match="cannot write.*packed in memory"):
        model = understudy.load(STORIES)
    with model:
        assert model.generate("Once", max_tokens=2).text


def test_damage_is_said_and_packed_anew_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    with understudy.load(STORIES) as model:
        said = model.generate("Once upon", max_tokens=8).text
    (path,) = tmp_path.glob("*.pack")
    raw = bytearray(path.read_bytes())
    raw[-5000:-3000] = b"\xff" * 2000
    path.unlink()  # the pages of the old file are still mapped
    path.write_bytes(raw)
    with (
        pytest.warns(UnderstudyWarning, match="damaged"),
        understudy.load(STORIES) as model,
    ):
        assert model.generate("Once upon", max_tokens=8).text == said
    recwarn.clear()
    understudy.load(STORIES).close()
    assert not recwarn.list


def test_what_a_killed_writer_left_goes_at_the_next_writing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from understudy.atomic import written_aside\n"
        "with written_aside(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    (left,) = tmp_path.glob(".*.part")
    with written_aside(tmp_path / "b") as aside:
        assert not left.exists()
        aside.write_text("whole")
        with written_aside(tmp_path / "c") as other:  # the writer beside it lives
            other.write_text("whole")
        assert aside.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
