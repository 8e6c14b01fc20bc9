"""The packed cache: what is written comes back mapped; another key, damage or a half-written file
is as if there were none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy import core
from understudy.formats.packed import MAGIC, PackedEntry, cache_folder, read_packed, write_packed

KEY = {"layout": 1, "path": "x"}


def _entry(name: str, num_bytes: int) -> PackedEntry:
    def fill(out: NDArray[np.uint8]) -> None:
        out[:] = np.arange(num_bytes, dtype=np.uint8)

    return PackedEntry(name, "f32", 1, num_bytes // 4, num_bytes, fill)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    write_packed(tmp_path / "p", KEY, [_entry("a", 40), _entry("b", 8000)])
    return tmp_path / "p"


def test_what_is_written_comes_back(packed: Path) -> None:
    found = read_packed(packed, KEY)
    assert found is not None
    assert [(t.format, t.rows, t.columns, t.data.size) for t in found.values()] == [
        ("f32", 1, 10, 40),
        ("f32", 1, 2000, 8000),
    ]
    np.testing.assert_array_equal(found["b"].data, np.arange(8000).astype(np.uint8))
    assert found["b"].data.ctypes.data % 4096 == 0


def test_another_key_or_no_file_is_none(packed: Path) -> None:
    assert read_packed(packed, {"layout": 2}) is None
    assert read_packed(packed.with_name("none"), KEY) is None


@pytest.mark.parametrize(
    "change",
    [lambda raw: raw[:30], lambda raw: b"X" + raw[1:], lambda raw: raw[:9000], lambda raw: b""],
)
def test_a_damaged_file_is_none(packed: Path, change: object) -> None:
    packed.write_bytes(change(packed.read_bytes()))  # type: ignore[operator]
    assert read_packed(packed, KEY) is None


@pytest.mark.parametrize("place", [20, 40, 100, 4096 + 3, 4096 * 2 + 7999])
def test_one_flipped_bit_anywhere_is_found(packed: Path, place: int) -> None:
    raw = bytearray(packed.read_bytes())
    raw[place] ^= 4
    packed.write_bytes(raw)
    assert read_packed(packed, KEY) is None


def test_pages_that_changed_places_are_found(packed: Path) -> None:
    raw = packed.read_bytes()
    packed.write_bytes(raw[: 4096 * 2] + raw[4096 * 3 :] + raw[4096 * 2 : 4096 * 3])
    assert len(raw) == 4096 * 4
    assert read_packed(packed, KEY) is None


def test_a_failing_tensor_leaves_no_file(tmp_path: Path) -> None:
    def fail(out: NDArray[np.uint8]) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write_packed(tmp_path / "p", KEY, [PackedEntry("a", "f32", 1, 1, 4, fail)])
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert MAGIC.endswith(b"\n")


CUT = """
import os, sys
from pathlib import Path
from understudy import core
path = Path(sys.argv[1])
path.write_bytes(bytes([7]) * 40_000)
with path.open("rb") as file:
    data = core.map_file(file.fileno())
whole = data[:].copy()
os.truncate(path, 5000)
print(len(data), int(data[4000]), int(data[39_999]), int(whole.sum()), data.flags.writeable)
"""
FOREIGN = """
import mmap, os, sys
from understudy import core
with open(sys.argv[1], "wb") as file:
    file.write(bytes(40_000))
with open(sys.argv[1], "rb") as file:
    data, ours = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), core.map_file(file.fileno())
os.truncate(sys.argv[1], 100)
print(data[39_999])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_file_that_is_cut_reads_as_zeros_from_there_on(tmp_path: Path) -> None:
    run = _run(CUT, tmp_path / "file")
    assert run.stdout.split() == ["40000", "7", "0", "280000", "False"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_signal_of_another_map_is_left_to_others(tmp_path: Path) -> None:
    assert _run(FOREIGN, tmp_path / "file").returncode == -signal.SIGBUS


def _run(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", program, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_an_empty_file_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file, pytest.raises(ValueError, match="empty"):
        core.map_file(file.fileno())
