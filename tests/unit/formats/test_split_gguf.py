"""A GGUF cut up by `llama-gguf-split`: opened from any part, every wrong part named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checkpoints import SPECS, random_weights, write_folder
from understudy.checkpoint.checkpoint import open_checkpoint
from understudy.checkpoint.convert import save_checkpoint
from understudy.checkpoint.pack import packed_fingerprint
from understudy.errors import FormatError, MissingError
from understudy.formats.gguf import read_gguf, write_gguf
from understudy.spec import QuantSpec


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    spec = SPECS["llama"]
    folder = write_folder(spec, random_weights(spec), tmp_path / "m")
    save_checkpoint(open_checkpoint(folder), tmp_path / "whole.gguf", QuantSpec("f32"))
    return tmp_path / "whole.gguf"


def _split(whole: Path, count: int = 3, first_is_empty: bool = False, **changes: Any) -> list[Path]:
    """As llama-gguf-split: the model's metadata in the first part alone, or it alone without
    tensors.
    """
    file = read_gguf(whole)
    names = list(file.tensors)
    shares = [names[part::count] for part in range(count)]
    if first_is_empty:
        shares = [[], *(names[part :: count - 1] for part in range(count - 1))]
    paths = []
    for number, share in enumerate(shares):
        keys: dict[str, Any] = {"split.no": number, "split.count": count}
        keys |= {"split.tensors.count": len(names)} | changes
        tensors = [file.tensors[name] for name in share]
        path = whole.with_name(f"model-{number + 1:05}-of-{count:05}.gguf")
        shapes = [(t.name, t.shape, t.format) for t in tensors]
        write_gguf(path, keys | (file.metadata if number == 0 else {}), shapes, tensors)
        paths.append(path)
    return paths


@pytest.mark.parametrize("first_is_empty", [False, True])
def test_any_part_opens_the_whole(whole: Path, first_is_empty: bool) -> None:
    right = open_checkpoint(whole)
    for path in _split(whole, first_is_empty=first_is_empty):
        found = open_checkpoint(path)
        assert found.spec == right.spec
        assert set(found.weights) == set(right.weights)
        for name in right.weights:
            assert np.array_equal(found.weights[name].data, right.weights[name].data)


def test_the_cache_notices_a_changed_part(whole: Path) -> None:
    paths = _split(whole)
    before = packed_fingerprint(open_checkpoint(paths[0]))
    paths[2].touch()
    assert packed_fingerprint(open_checkpoint(paths[0])) != before


def test_a_missing_part_is_named(whole: Path) -> None:
    paths = _split(whole)
    paths[1].unlink()
    with pytest.raises(MissingError, match="model-00002-of-00003"):
        open_checkpoint(paths[2])


def test_a_renamed_part_is_named_as_one(whole: Path) -> None:
    path = _split(whole)[0]
    with pytest.raises(FormatError, match="part 1 of a model split into 3"):
        open_checkpoint(path.rename(path.with_name("model.gguf")))


def test_parts_of_other_models_are_refused(whole: Path) -> None:
    paths = _split(whole)
    paths[1].write_bytes(paths[2].read_bytes())
    with pytest.raises(FormatError, match="not the part"):
        open_checkpoint(paths[0])


@pytest.mark.parametrize(
    "changes", [{"split.tensors.count": 7}, {"split.count": 100_000}, {"split.count": "3"}]
)
def test_contradictions_are_refused(whole: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        open_checkpoint(_split(whole, **changes)[0])
